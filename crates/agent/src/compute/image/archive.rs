//! Images that somebody else has made, in archives of this node. This process does not read a byte of one, but to know it
//! again: that is done by a process that sees nothing but the archive and the directory that it fills.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use serde::Deserialize;

use super::base::hexadecimal;
use super::cache::{Cache, ROOT, Record, failed};
use super::child::{Program, run};
use super::identity::Identity;
use super::{ImageError, Unpacked};

/// The archives that this node's administrator admits.
#[derive(Debug)]
pub(super) struct Archives {
    directory: PathBuf,
    /// The program that reads one, and its first arguments.
    reader: Vec<String>,
    /// What was last found out of files, by what changes with them.
    known: Mutex<Vec<(Stamp, String)>>,
}

/// Device, inode, size and times of a file.
type Stamp = [i64; 6];

/// What the reader says at its end.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Said {
    digest: String,
    environment: Vec<(String, String)>,
    left_out: u64,
}

impl Archives {
    pub(super) fn new(directory: PathBuf, reader: Vec<String>) -> Self {
        Self { directory, reader, known: Mutex::default() }
    }

    /// The image of an archive, by the name of its file.
    pub(super) fn image(
        &self,
        name: &str,
        cache: &Cache,
        on_progress: &dyn Fn(String),
    ) -> Result<Unpacked, ImageError> {
        let file = self.open(name)?;
        let key = self.key(&file, name)?;
        cache.entry(&key, on_progress, |directory| {
            on_progress(format!("unpacking {name}"));
            self.unpack(&file, directory)
        })
    }

    /// A file in the directory, and over no link out of it.
    fn open(&self, name: &str) -> Result<File, ImageError> {
        let refused = || {
            let directory = self.directory.display();
            ImageError::Unable(format!(
                "the archive '{name}' is not in {directory}: copy it there, as a file of root's"
            ))
        };
        let inside = Path::new(name).strip_prefix(&self.directory).unwrap_or(Path::new(name));
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let directory =
            openat(CWD, &self.directory, OFlags::DIRECTORY | flags, Mode::empty()).map_err(|_| refused())?;
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let file = File::from(openat2(&directory, inside, flags, Mode::empty(), how).map_err(|_| refused())?);
        // What another user could change while it is read is not what was admitted.
        let found = file.metadata().map_err(failed("look at", inside))?;
        if !found.is_file() || found.uid() != 0 || found.mode() & 0o022 != 0 {
            return Err(refused());
        }
        Ok(file)
    }

    /// What an archive is called in the cache: what it holds.
    fn key(&self, file: &File, name: &str) -> Result<String, ImageError> {
        let broken = || failed("read", Path::new(name));
        let found = file.metadata().map_err(broken())?;
        let number = |number: u64| number.cast_signed();
        let stamp = [
            number(found.dev()),
            number(found.ino()),
            number(found.size()),
            found.mtime(),
            found.mtime_nsec(),
            found.ctime(),
        ];
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, key)) = known.iter().find(|(of, _)| *of == stamp) {
            return Ok(key.clone());
        }
        let mut context = Context::new(&SHA256);
        let mut buffer = vec![0; 1 << 20];
        let mut from = file;
        loop {
            match from.read(&mut buffer).map_err(broken())? {
                0 => break,
                length => context.update(buffer.get(..length).unwrap_or_default()),
            }
        }
        let key = format!("archive-{}", hexadecimal(context.finish().as_ref()));
        known.push((stamp, key.clone()));
        Ok(key)
    }

    /// Has an archive read into a directory.
    pub(super) fn unpack(&self, file: &File, directory: &Path) -> Result<Record, ImageError> {
        let root = directory.join(ROOT);
        std::fs::create_dir(&root).map_err(failed("make", &root))?;
        let identity = Identity::make().map_err(|error| {
            ImageError::Unable(format!("images are unpacked in a user namespace, which this node refuses: {error}"))
        })?;
        let (program, arguments) =
            self.reader.split_first().ok_or_else(|| ImageError::Unable("no reader of images".to_owned()))?;
        let mut command = Command::new(program);
        command.args(arguments).arg("--root").arg(&root).env_clear().current_dir("/");
        let mut archive = file.try_clone().map_err(failed("read", directory))?;
        std::io::Seek::rewind(&mut archive).map_err(failed("read", directory))?;
        command.stdin(archive);
        identity.enclose(&mut command).map_err(|error| ImageError::Unable(error.to_string()))?;
        let mut said = None;
        run(READER, command, |line| said = line.strip_prefix("unpacked ").map(str::to_owned).or(said.take()))?;
        let said = said.ok_or_else(|| ImageError::Unable("the reader of images said nothing".to_owned()))?;
        let said: Said = serde_json::from_str(&said).map_err(|error| ImageError::Unable(error.to_string()))?;
        if said.left_out > 0 {
            tracing::info!(
                digest = said.digest,
                devices = said.left_out,
                "an image has devices, which instances do not get"
            );
        }
        Ok(Record { digest: said.digest, environment: said.environment })
    }
}

const READER: Program = Program { name: "the reader of images", package: "bastide", patience: Duration::from_mins(15) };

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_files_in_the_admitted_directory_are_opened() {
        let directory = tempfile::tempdir().unwrap();
        let admitted = directory.path().join("archives");
        fs::create_dir(&admitted).unwrap();
        fs::write(directory.path().join("secret"), "").unwrap();
        fs::write(admitted.join("open"), "").unwrap();
        fs::set_permissions(admitted.join("open"), std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        symlink("../secret", admitted.join("link")).unwrap();
        let archives = Archives::new(admitted.clone(), Vec::new());
        for refused in ["../secret", "link", "open", "none", "/etc/passwd", "."] {
            let error = archives.open(refused).unwrap_err().to_string();
            assert!(error.contains("copy it there"), "{refused}: {error}");
        }
        fs::write(admitted.join("image.tar"), "").unwrap();
        // As root only: what belongs to others is not admitted.
        if rustix::process::geteuid().is_root() {
            archives.open("image.tar").unwrap();
            archives.open(admitted.join("image.tar").to_str().unwrap()).unwrap();
        }
    }
}
