//! The directory of the images: what is made once, by one of several who want it, and is there as a whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, flock, syncfs};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{ImageError, Unpacked};

/// The directory, and the images that this process keeps from being cleaned away.
///
/// ```text
/// KEY/root/        an image
/// KEY/image.json   what is known about it
/// KEY.lock         held by all who use it; by one alone while it makes or removes it
/// making/KEY/      one that is being made
/// ```
#[derive(Debug)]
pub(super) struct Cache {
    directory: PathBuf,
    held: Mutex<BTreeMap<String, File>>,
}

/// What is known about an image beside its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// What it is, `sha256:` and hexadecimal digits.
    pub(super) digest: String,
    /// Variables that the image sets.
    pub(super) environment: Vec<(String, String)>,
}

impl Cache {
    pub(super) fn open(directory: &Path) -> Result<Self, ImageError> {
        let making = directory.join(MAKING);
        DirBuilder::new().recursive(true).mode(0o700).create(&making).map_err(failed("make", &making))?;
        let directory = fs::canonicalize(directory).map_err(failed("find", directory))?;
        Ok(Self { directory, held: Mutex::default() })
    }

    /// What is there under this key, made by `make` in an empty directory if it is not: its `root` there is the image.
    pub(super) fn entry(
        &self,
        key: &str,
        on_progress: &dyn Fn(String),
        make: impl FnOnce(&Path) -> Result<Record, ImageError>,
    ) -> Result<Unpacked, ImageError> {
        let mut make = Some(make);
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.find(key)? {
                return Ok(found);
            }
            if let Some(lock) = self.lock(key, FlockOperation::NonBlockingLockExclusive)? {
                // Somebody may have finished it between the look and the lock.
                if !self.directory.join(key).exists()
                    && let Some(make) = make.take()
                {
                    self.make(key, make)?;
                }
                drop(lock);
                continue;
            }
            if Instant::now() > until {
                let minutes = PATIENCE.as_secs() / 60;
                return Err(ImageError::Unable(format!(
                    "another process has been making the image for {minutes} minutes"
                )));
            }
            on_progress("waiting for the image, which is being made for another instance".to_owned());
            std::thread::sleep(PAUSE);
        }
    }

    /// The names of all that is there.
    pub(super) fn images(&self) -> Result<Vec<String>, ImageError> {
        let mut names = names(&self.directory)?;
        names.retain(|name| name != MAKING && name.strip_suffix(".lock").is_none());
        Ok(names)
    }

    /// Removes what nobody has used for so long, and what was begun and cut off. Names what is gone.
    pub(super) fn clean(&self, unused_for: Duration) -> Result<Vec<String>, ImageError> {
        let mut gone = Vec::new();
        for key in names(&self.directory.join(MAKING))? {
            if let Some(_lock) = self.lock(&key, FlockOperation::NonBlockingLockExclusive)? {
                remove(&self.directory.join(MAKING).join(&key))?;
            }
        }
        for name in names(&self.directory)? {
            let Some(key) = name.strip_suffix(".lock") else { continue };
            let used = fs::metadata(self.lock_path(key)).and_then(|lock| lock.modified());
            let is_old =
                used.ok().and_then(|at| SystemTime::now().duration_since(at).ok()).is_some_and(|age| age > unused_for);
            if is_old && let Some(_lock) = self.lock(key, FlockOperation::NonBlockingLockExclusive)? {
                // Out of sight at once; what a crash leaves of it is cut-off work like any other.
                let condemned = self.directory.join(MAKING).join(key);
                remove(&condemned)?;
                match fs::rename(self.directory.join(key), &condemned) {
                    Ok(()) => {
                        remove(&condemned)?;
                        gone.push(key.to_owned());
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(failed("remove", &condemned)(error)),
                }
            }
        }
        Ok(gone)
    }

    /// An image that is there, held from now on.
    pub(super) fn find(&self, key: &str) -> Result<Option<Unpacked>, ImageError> {
        let directory = self.directory.join(key);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if !directory.exists() {
            // Somebody has removed it by hand. Held on, nobody could make it again.
            held.remove(key);
            return Ok(None);
        }
        if !held.contains_key(key) {
            let Some(lock) = self.lock(key, FlockOperation::NonBlockingLockShared)? else { return Ok(None) };
            if !directory.exists() {
                return Ok(None);
            }
            held.insert(key.to_owned(), lock);
        }
        if let Some(lock) = held.get(key) {
            lock.set_modified(SystemTime::now()).map_err(failed("mark as used", &self.lock_path(key)))?;
        }
        let path = directory.join(RECORD);
        let text = fs::read(&path).map_err(failed("read", &path))?;
        let record: Record = serde_json::from_slice(&text).map_err(|error| {
            ImageError::Unable(format!("{} cannot be read: {error}. Remove its directory", path.display()))
        })?;
        Ok(Some(Unpacked { root: directory.join(ROOT), digest: record.digest, environment: record.environment }))
    }

    fn make(&self, key: &str, make: impl FnOnce(&Path) -> Result<Record, ImageError>) -> Result<(), ImageError> {
        let staging = self.directory.join(MAKING).join(key);
        remove(&staging)?;
        DirBuilder::new().mode(0o700).create(&staging).map_err(failed("make", &staging))?;
        let made = make(&staging).and_then(|record| self.publish(key, &staging, &record));
        if made.is_err()
            && let Err(error) = remove(&staging)
        {
            tracing::warn!("{error}");
        }
        made
    }

    fn publish(&self, key: &str, staging: &Path, record: &Record) -> Result<(), ImageError> {
        let path = staging.join(RECORD);
        let text = serde_json::to_vec_pretty(record).map_err(|error| ImageError::Unable(error.to_string()))?;
        fs::write(&path, text).map_err(failed("write", &path))?;
        // All of it before its name: a crash leaves an image or none.
        let disk = File::open(staging).map_err(failed("open", staging))?;
        syncfs(&disk).map_err(|error| failed("write", staging)(error.into()))?;
        let to = self.directory.join(key);
        fs::rename(staging, &to).map_err(failed("name", &to))
    }

    /// None when somebody else has it.
    fn lock(&self, key: &str, how: FlockOperation) -> Result<Option<File>, ImageError> {
        let path = self.lock_path(key);
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed("open", &path))?;
        match flock(&file, how) {
            Ok(()) => Ok(Some(file)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(failed("lock", &path)(error.into())),
        }
    }

    fn lock_path(&self, key: &str) -> PathBuf {
        self.directory.join(format!("{key}.lock"))
    }
}

fn names(directory: &Path) -> Result<Vec<String>, ImageError> {
    let entries = fs::read_dir(directory).map_err(failed("list", directory))?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}

fn remove(path: &Path) -> Result<(), ImageError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// For `map_err`: what was attempted at which file.
pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ImageError {
    let path = path.to_owned();
    move |source| ImageError::File { action, path, source }
}

/// The image's own directory.
pub(super) const ROOT: &str = "root";

const RECORD: &str = "image.json";
const MAKING: &str = "making";

/// How long somebody else may take who makes what we want.
const PATIENCE: Duration = Duration::from_mins(30);

const PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn ten_who_want_the_same_make_it_once() {
        let directory = tempfile::tempdir().unwrap();
        let made = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    // Each like a process of its own.
                    let cache = Cache::open(directory.path()).unwrap();
                    let found = cache.entry("base-1", &|_| {}, |staging| {
                        made.fetch_add(1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(100));
                        image(staging)
                    });
                    assert_eq!(fs::read(found.unwrap().root.join("file")).unwrap(), b"content");
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
    }

    #[test]
    fn what_fails_leaves_nothing_and_is_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        let fails = cache.entry("base-1", &|_| {}, |staging| {
            image(staging)?;
            Err(ImageError::Unable("no".to_owned()))
        });
        assert_eq!(fails.unwrap_err().to_string(), "no");
        assert_eq!(names(&directory.path().join(MAKING)).unwrap(), Vec::<String>::new());
        assert_eq!(cache.entry("base-1", &|_| {}, image).unwrap().digest, "sha256:00");
    }

    #[test]
    fn what_was_cut_off_is_begun_anew() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        fs::create_dir(directory.path().join("making/base-1")).unwrap();
        fs::write(directory.path().join("making/base-1/half"), "").unwrap();
        let found = cache.entry("base-1", &|_| {}, image).unwrap();
        assert!(!found.root.with_file_name("half").exists());
    }

    #[test]
    fn only_what_nobody_uses_is_cleaned_away() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        let root = cache.entry("base-1", &|_| {}, image).unwrap().root;
        assert_eq!(Cache::open(directory.path()).unwrap().clean(Duration::ZERO).unwrap(), Vec::<String>::new());
        assert!(root.exists());
        drop(cache);
        let later = Cache::open(directory.path()).unwrap();
        assert_eq!(later.clean(Duration::from_hours(1)).unwrap(), Vec::<String>::new());
        assert_eq!(later.clean(Duration::ZERO).unwrap(), ["base-1"]);
        assert!(!root.exists());
        later.entry("base-1", &|_| {}, image).unwrap();
    }

    #[test]
    fn what_somebody_removes_by_hand_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        cache.entry("base-1", &|_| {}, image).unwrap();
        fs::remove_dir_all(directory.path().join("base-1")).unwrap();
        assert!(cache.entry("base-1", &|_| {}, image).unwrap().root.exists());
    }

    #[test]
    fn what_an_instance_was_made_of_before_is_held_too() {
        let directory = tempfile::tempdir().unwrap();
        let root = Cache::open(directory.path()).unwrap().entry("base-1", &|_| {}, image).unwrap().root;
        let images = super::super::Images::open(directory.path()).unwrap();
        images.hold(&root).unwrap();
        images.hold(Path::new("/nowhere/at/all")).unwrap();
        assert_eq!(Cache::open(directory.path()).unwrap().clean(Duration::ZERO).unwrap(), Vec::<String>::new());
        drop(images);
        assert_eq!(Cache::open(directory.path()).unwrap().clean(Duration::ZERO).unwrap(), ["base-1"]);
    }

    #[allow(clippy::unnecessary_wraps, reason = "it stands for what can fail")]
    fn image(staging: &Path) -> Result<Record, ImageError> {
        fs::create_dir(staging.join(ROOT)).unwrap();
        fs::write(staging.join("root/file"), "content").unwrap();
        Ok(Record { digest: "sha256:00".to_owned(), environment: Vec::new() })
    }
}
