//! A layer of an image: whatever it says, it is read to its end or refused, and nothing beside its root changes.

use std::fs::{self, Permissions};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bastide_image::description::Configuration;
use bastide_image::layer::{Budget, Owners, Spent, apply};
use bastide_image::tar::Entries;

/// Reads the input as a layer, as it is and with every sum put right, and as the configuration of an image.
pub fn check(data: &[u8]) {
    read(data);
    let mended = mended(data);
    read(&mended);
    unpack(&mended);
    if let Ok(configuration) = serde_json::from_slice::<Configuration>(data) {
        for (name, value) in configuration.environment() {
            assert!(!name.is_empty() && !name.contains(['=', '\0', ' ']) && !value.contains('\0'), "{name:?}");
        }
    }
}

fn read(data: &[u8]) {
    let mut entries = Entries::new(data);
    let mut content = 0;
    while let Ok(Some(_)) = entries.next_entry() {
        content += std::io::copy(&mut entries.by_ref().take(u64::MAX), &mut std::io::sink()).unwrap_or_default();
        assert!(entries.position() <= data.len() as u64);
    }
    assert!(content <= data.len() as u64);
}

fn unpack(layer: &[u8]) {
    let scratch = Scratch::new();
    let root = OwnedFd::from(fs::File::open(scratch.0.join("root")).unwrap());
    let mut spent = Spent::nothing_of(Budget { bytes: 1 << 20, entries: 100 });
    let _may_be_refused = apply(layer, &root, Owners::Own, &mut spent);
    assert_eq!(fs::read(scratch.0.join("beside/victim")).unwrap(), b"safe");
    assert_eq!(fs::read_dir(scratch.0.join("beside")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 2);
}

/// The same with a right sum in every header: no fuzzer guesses those.
fn mended(data: &[u8]) -> Vec<u8> {
    let mut mended = data.to_vec();
    let mut place = 0;
    while let Some(header) = mended.get_mut(place..place + 512) {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let size = std::str::from_utf8(&header[124..135]).ok().and_then(|size| usize::from_str_radix(size, 8).ok());
        place += 512 + size.unwrap_or_default().min(data.len()).next_multiple_of(512);
    }
    mended
}

/// A directory with a root and with something beside it; gone when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("bastide-layer-{}-{number}", std::process::id()));
        fs::create_dir_all(path.join("root")).unwrap();
        fs::create_dir_all(path.join("beside")).unwrap();
        fs::write(path.join("beside/victim"), "safe").unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        open(&self.0);
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A layer may leave directories that nobody may enter; they are their owner's to open again.
fn open(directory: &Path) {
    let _ = fs::set_permissions(directory, Permissions::from_mode(0o700));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open(&entry.path());
        }
    }
}
