//! Which image of a kind is the one of the day: the newest that there is. One that has grown old is made anew beside it, in
//! the background, so that the distribution's security fixes reach the computes that are made from then on. What lies over
//! an older one keeps it: a layer fits the image that it was begun over, and no other.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::cache::{Cache, Record};
use super::{ImageError, Unpacked};

/// Makes an image in an empty directory, and says how far it is.
pub(super) type Make = Arc<dyn Fn(&Path, &dyn Fn(String)) -> Result<Record, ImageError> + Send + Sync>;

/// The images of one kind, `KIND.DAY` in the cache, where a day is one since 1970.
pub(super) struct Generations {
    cache: Arc<Cache>,
    kind: String,
    make: Make,
    /// The last day on which it was tried to make a newer one.
    tried: Mutex<Option<u64>>,
}

impl Generations {
    pub(super) fn new(cache: Arc<Cache>, kind: String, make: Make) -> Self {
        Self { cache, kind, make, tried: Mutex::default() }
    }

    /// The newest, or the first if there is none yet, for which the caller waits.
    pub(super) fn image(&self, today: u64, on_progress: &dyn Fn(String)) -> Result<Unpacked, ImageError> {
        let Some(newest) = self.newest()? else { return self.make(today, on_progress) };
        if today.saturating_sub(newest) > OLD_AFTER_DAYS {
            self.renew(today);
        }
        // Somebody may have removed it meanwhile.
        match self.cache.find(&self.key(newest))? {
            Some(found) => Ok(found),
            None => self.make(today, on_progress),
        }
    }

    fn newest(&self) -> Result<Option<u64>, ImageError> {
        let day = |name: &String| name.strip_prefix(&self.kind)?.strip_prefix('.')?.parse().ok();
        Ok(self.cache.images()?.iter().filter_map(day).max())
    }

    fn make(&self, day: u64, on_progress: &dyn Fn(String)) -> Result<Unpacked, ImageError> {
        self.cache.entry(&self.key(day), on_progress, |directory| (self.make)(directory, on_progress))
    }

    /// Makes a newer one in the background; once a day, if that fails.
    fn renew(&self, today: u64) {
        let tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner).replace(today);
        if tried == Some(today) {
            return;
        }
        let (cache, key, make) = (Arc::clone(&self.cache), self.key(today), Arc::clone(&self.make));
        let body = move || {
            tracing::info!("the image {key} is made, because the last one of its kind is old");
            if let Err(error) = cache.entry(&key, &|_| {}, |directory| make(directory, &|_| {})) {
                tracing::warn!("computes are made of an old image, because there is no newer one: {error}");
            }
        };
        if let Err(error) = std::thread::Builder::new().name("image".to_owned()).spawn(body) {
            tracing::warn!("no thread to make a newer image: {error}");
        }
    }

    fn key(&self, day: u64) -> String {
        format!("{}.{day}", self.kind)
    }
}

impl fmt::Debug for Generations {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Generations").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// About as often as a distribution makes a point release of its fixes.
const OLD_AFTER_DAYS: u64 = 30;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    use super::super::cache::ROOT;
    use super::*;

    #[test]
    fn an_old_image_is_used_until_there_is_a_newer_one_and_then_kept() {
        let (directory, made) = (tempfile::tempdir().unwrap(), Arc::new(AtomicU64::new(0)));
        let generations = generations(directory.path(), &made, |_| true);
        let first = generations.image(100, &|_| {}).unwrap();
        assert_eq!(generations.image(130, &|_| {}).unwrap(), first);
        assert_eq!(made.load(Ordering::SeqCst), 1);
        assert_eq!(generations.image(131, &|_| {}).unwrap(), first);
        until(|| directory.path().join("base-1.131").exists());
        let second = generations.image(131, &|_| {}).unwrap();
        assert_ne!(second.root, first.root);
        assert!(first.root.exists());
        assert_eq!(made.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn one_that_cannot_be_made_is_tried_once_a_day() {
        let (directory, made) = (tempfile::tempdir().unwrap(), Arc::new(AtomicU64::new(0)));
        let generations = generations(directory.path(), &made, |number| number == 1);
        let first = generations.image(100, &|_| {}).unwrap();
        for (day, tries) in [(140, 2), (140, 2), (141, 3)] {
            assert_eq!(generations.image(day, &|_| {}).unwrap(), first);
            until(|| made.load(Ordering::SeqCst) == tries);
        }
    }

    #[test]
    fn another_kind_is_none_of_its_own() {
        let (directory, made) = (tempfile::tempdir().unwrap(), Arc::new(AtomicU64::new(0)));
        for name in ["base-10.500", "base-1.x", "base-1", "base-1.900.lock"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let image = generations(directory.path(), &made, |_| true).image(100, &|_| {}).unwrap();
        assert!(image.root.ends_with("base-1.100/root"), "{image:?}");
    }

    /// Images that are made when their number admits it.
    fn generations(directory: &Path, made: &Arc<AtomicU64>, admits: fn(u64) -> bool) -> Generations {
        let made = Arc::clone(made);
        let make = move |staging: &Path, _: &dyn Fn(String)| {
            let number = made.fetch_add(1, Ordering::SeqCst) + 1;
            fs::create_dir(staging.join(ROOT)).unwrap();
            let record = Record { digest: format!("sha256:{number}"), environment: Vec::new() };
            admits(number).then_some(record).ok_or_else(|| ImageError::Unable("no packages".to_owned()))
        };
        Generations::new(Arc::new(Cache::open(directory).unwrap()), "base-1".to_owned(), Arc::new(make))
    }

    fn until(holds: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !holds() {
            assert!(Instant::now() < deadline, "not in time");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
