//! Whether the data directory's file system keeps what it acknowledges.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Finding, Status};

/// Writes and syncs in the directory, or in the nearest one above it that exists.
pub(super) fn finding(directory: &Path) -> Finding {
    let Some(existing) = directory.ancestors().find(|directory| directory.is_dir()) else {
        return Finding::fault(
            NAME,
            true,
            Status::Missing,
            "there is no such directory",
            "name another with --data-dir",
        );
    };
    let sync = match time_to_sync(existing) {
        Ok(sync) => sync,
        Err(error) => {
            let detail = format!("{} cannot be written: {error}", existing.display());
            return Finding::fault(
                NAME,
                true,
                Status::Missing,
                detail,
                "name another with --data-dir, or run as its owner",
            );
        }
    };
    let kind = rustix::fs::statfs(existing).map(|system| system.f_type).ok();
    let detail = format!("{}: a synced write takes {:.1} ms", existing.display(), sync.as_secs_f64() * 1000.0);
    match kind.and_then(|kind| DOUBTFUL.iter().find(|(magic, ..)| *magic == kind)) {
        Some((_, name, advice)) => Finding::fault(NAME, true, Status::Warn, format!("{detail}, on {name}"), *advice),
        None => Finding::ok(NAME, true, detail),
    }
}

/// Whether images of computes can be kept, in the directory or where it would be made.
pub(super) fn image_cache(directory: &Path) -> Finding {
    let name = "image cache";
    let existing = directory.ancestors().find(|directory| directory.is_dir()).unwrap_or(Path::new("/"));
    let space = rustix::fs::statvfs(existing).map(|system| system.f_bavail.saturating_mul(system.f_frsize));
    let advice = "make room, or name another directory in BASTIDE_IMAGES";
    match (time_to_sync(existing), space) {
        (Err(error), _) => {
            let detail = format!("{} cannot be written: {error}", existing.display());
            Finding::fault(name, false, Status::Warn, detail, advice)
        }
        (Ok(_), Ok(space)) if space < BASE_IMAGE => {
            let detail =
                format!("{}: {} MB are free, the base image takes {}", existing.display(), mb(space), mb(BASE_IMAGE));
            Finding::fault(name, false, Status::Warn, detail, advice)
        }
        (Ok(_), space) => {
            let free = space.map_or_else(|_| "writable".to_owned(), |space| format!("{} MB are free", mb(space)));
            Finding::ok(name, false, format!("{}: {free}", directory.display()))
        }
    }
}

fn mb(bytes: u64) -> u64 {
    bytes / 1_000_000
}

/// The median of a few writes of one database page, each followed by fsync(2).
fn time_to_sync(directory: &Path) -> io::Result<Duration> {
    let path = directory.join(format!(".bastide-doctor-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let mut measure = || {
        let mut times = Vec::new();
        for _ in 0..5 {
            let began = Instant::now();
            file.write_all(&[0; 4096])?;
            file.sync_all()?;
            times.push(began.elapsed());
        }
        times.sort_unstable();
        Ok(times.into_iter().nth(2).unwrap_or_default())
    };
    let measured = measure();
    fs::remove_file(&path)?;
    measured
}

const NAME: &str = "storage";

const MEMORY: &str = "everything is lost at a restart: name a directory on a disk with --data-dir";

const NETWORK: &str =
    "the embedded database needs a local file system: name another with --data-dir, or use --database";

/// File systems that lose data or locks, by their numbers in linux/magic.h.
const DOUBTFUL: [(rustix::fs::FsWord, &str, &str); 5] = [
    (0x0102_1994, "tmpfs", MEMORY),
    (0x8584_58f6, "ramfs", MEMORY),
    (0x6969, "nfs", NETWORK),
    (0x0102_1997, "9p", NETWORK),
    (0xff53_4d42, "cifs", NETWORK),
];

/// Unpacked, and while it is made.
const BASE_IMAGE: u64 = 1_500_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_the_nearest_directory_and_leaves_nothing_in_it() {
        let parent = tempfile::tempdir().unwrap();
        let finding = finding(&parent.path().join("not/yet"));
        assert_ne!(finding.status, Status::Missing, "{}", finding.detail);
        assert!(finding.detail.contains(" ms"), "{}", finding.detail);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
