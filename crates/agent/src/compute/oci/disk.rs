//! The disk of an instance: a sparse file with a file system in it, which is how much an instance can write at most.
//! Quotas of the node's own file system would need one that has them.

use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::command::{program, tool};
use super::failed;
use crate::compute::runtime::RuntimeError;

/// Looks for what disks take on this node.
pub(super) fn prepare() -> Result<(), RuntimeError> {
    let unable = |reason: &str| Err(RuntimeError::Unable(format!("this node cannot run instances: {reason}")));
    if program("mkfs.ext4").is_none() {
        return unable("mkfs.ext4 is missing, which makes their disks. Install e2fsprogs");
    }
    if !Path::new(LOOP_CONTROL).exists() {
        return unable("it has no loop devices, on which their disks are. Load the module 'loop'");
    }
    Ok(())
}

/// Makes a disk, or lets one grow. It never shrinks.
pub(super) fn ensure(image: &Path, bytes: u64) -> Result<(), RuntimeError> {
    let bytes = bytes.max(SMALLEST);
    match fs::metadata(image) {
        Ok(metadata) if metadata.len() >= bytes => return Ok(()),
        Ok(_) if device(image)?.is_some() => return Err(failed("cannot enlarge the disk")("the instance runs")),
        Ok(_) => return grow(image, bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("cannot look at the disk")(error)),
    }
    // Under another name until it is whole.
    let unfinished = image.with_extension("new");
    let made = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&unfinished);
    made.and_then(|file| file.set_len(bytes)).map_err(failed("cannot make the disk"))?;
    let options = ["-q", "-F", "-m", "0", "-J", "size=16", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"];
    let mut arguments: Vec<&std::ffi::OsStr> = options.iter().map(std::ffi::OsStr::new).collect();
    arguments.push(unfinished.as_os_str());
    tool("mkfs.ext4", "e2fsprogs", &arguments)?;
    fs::rename(&unfinished, image).map_err(failed("cannot make the disk"))
}

/// A loop device with the disk behind it. It goes by itself when nobody has it open or mounted any more.
pub(super) fn attach(image: &Path) -> Result<(PathBuf, File), RuntimeError> {
    // The one that an instance which is just ending still has: a file system must never be mounted through two devices.
    if let Some(attached) = device(image)? {
        return Ok(attached);
    }
    let file = OpenOptions::new().read(true).write(true).open(image).map_err(not_attached)?;
    let control = OpenOptions::new().read(true).write(true).open(LOOP_CONTROL).map_err(not_attached)?;
    for _ in 0..ATTEMPTS {
        // SAFETY: takes no argument; `control` is open.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
        if number < 0 {
            return Err(not_attached(io::Error::last_os_error()));
        }
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let loop_device = OpenOptions::new().read(true).write(true).open(&path).map_err(not_attached)?;
        let info = LoopInfo { lo_flags: LO_FLAGS_AUTOCLEAR, ..LoopInfo::default() };
        let configuration = LoopConfig { fd: file.as_raw_fd().unsigned_abs(), info, ..LoopConfig::default() };
        // SAFETY: `LoopConfig` is laid out as the kernel has it, and outlives the call.
        if unsafe { libc::ioctl(loop_device.as_raw_fd(), LOOP_CONFIGURE, &raw const configuration) } == 0 {
            return Ok((path, loop_device));
        }
        let error = io::Error::last_os_error();
        // Somebody else has taken it in between.
        if error.raw_os_error() != Some(libc::EBUSY) {
            return Err(not_attached(error));
        }
    }
    Err(not_attached("no loop device stays free for long enough"))
}

fn not_attached(error: impl Display) -> RuntimeError {
    failed("cannot attach the disk")(error)
}

/// Waits until the disk is attached nowhere: the kernel lets go of it a moment after the last process.
pub(super) fn wait_until_detached(image: &Path) -> Result<(), RuntimeError> {
    let deadline = Instant::now() + DETACHED_WITHIN;
    while device(image)?.is_some() {
        if Instant::now() >= deadline {
            return Err(RuntimeError::Late { verb: "letting go of the disk", patience: DETACHED_WITHIN });
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Mends a file system that cannot be mounted.
pub(super) fn mend(image: &Path) -> Result<(), RuntimeError> {
    // One that was mended exits with 1, so its status says nothing: the mount after it does.
    match tool("e2fsck", "e2fsprogs", &["-y".as_ref(), "-f".as_ref(), image.as_os_str()]) {
        Err(RuntimeError::Failed { .. }) | Ok(()) => Ok(()),
        Err(other) => Err(other),
    }
}

/// Bytes of the node's disk that it takes.
pub(super) fn taken(image: &Path) -> u64 {
    fs::metadata(image).map_or(0, |metadata| metadata.blocks() * 512)
}

fn grow(image: &Path, bytes: u64) -> Result<(), RuntimeError> {
    mend(image)?;
    let file = OpenOptions::new().write(true).open(image).map_err(failed("cannot enlarge the disk"))?;
    file.set_len(bytes).map_err(failed("cannot enlarge the disk"))?;
    drop(file);
    tool("resize2fs", "e2fsprogs", &["-f".as_ref(), image.as_os_str()])
}

/// The loop device that a disk is attached to.
fn device(image: &Path) -> Result<Option<(PathBuf, File)>, RuntimeError> {
    let not_looked = || failed("cannot look at the loop devices");
    let metadata = match fs::metadata(image) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata.map_err(not_looked())?,
    };
    for entry in fs::read_dir("/sys/block").map_err(not_looked())?.flatten() {
        let name = entry.file_name();
        if !name.as_encoded_bytes().starts_with(b"loop") {
            continue;
        }
        // To open a device takes a thousand times as long as to read what its file is called, and there may be hundreds.
        match fs::read_to_string(entry.path().join("loop/backing_file")) {
            Ok(path) if !is_named_like(&path, image) => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Ok(_) | Err(_) => {}
        }
        let path = Path::new("/dev").join(name);
        // Held open from here on, so that it cannot be detached between the look and its use.
        let Ok(file) = OpenOptions::new().read(true).write(true).open(&path) else { continue };
        if behind(file.as_fd()) == Some((metadata.dev(), metadata.ino())) {
            return Ok(Some((path, file)));
        }
    }
    Ok(None)
}

/// Whether the kernel's path of a file may be that of a disk: it names the folder of an instance and the disk in it, from
/// wherever it is seen, and says so when it was deleted.
fn is_named_like(path: &str, image: &Path) -> bool {
    let path = path.trim_end();
    let folder = image.parent().and_then(Path::file_name).unwrap_or_default();
    let end = Path::new(folder).join(image.file_name().unwrap_or_default());
    Path::new(path.strip_suffix(" (deleted)").unwrap_or(path)).ends_with(end)
}

/// Device and inode of the file behind a loop device.
fn behind(device: impl AsFd) -> Option<(u64, u64)> {
    let mut info = LoopInfo::default();
    // SAFETY: `LoopInfo` is laid out as the kernel has it, and outlives the call.
    let outcome = unsafe { libc::ioctl(device.as_fd().as_raw_fd(), LOOP_GET_STATUS64, &raw mut info) };
    (outcome == 0).then_some((info.lo_device, info.lo_inode))
}

/// `struct loop_info64` of `<linux/loop.h>`.
#[repr(C)]
struct LoopInfo {
    lo_device: u64,
    lo_inode: u64,
    lo_rdevice: u64,
    lo_offset: u64,
    lo_sizelimit: u64,
    lo_number: u32,
    lo_encrypt_type: u32,
    lo_encrypt_key_size: u32,
    lo_flags: u32,
    lo_file_name: [u8; 64],
    lo_crypt_name: [u8; 64],
    lo_encrypt_key: [u8; 32],
    lo_init: [u64; 2],
}

/// `struct loop_config` of `<linux/loop.h>`.
#[repr(C)]
#[derive(Default)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

impl Default for LoopInfo {
    fn default() -> Self {
        Self {
            lo_device: 0,
            lo_inode: 0,
            lo_rdevice: 0,
            lo_offset: 0,
            lo_sizelimit: 0,
            lo_number: 0,
            lo_encrypt_type: 0,
            lo_encrypt_key_size: 0,
            lo_flags: 0,
            lo_file_name: [0; 64],
            lo_crypt_name: [0; 64],
            lo_encrypt_key: [0; 32],
            lo_init: [0; 2],
        }
    }
}

const LOOP_CONTROL: &str = "/dev/loop-control";

const LOOP_GET_STATUS64: libc::Ioctl = 0x4c05;
const LOOP_CONFIGURE: libc::Ioctl = 0x4c0a;
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// What a file system and its journal need to be of any use.
const SMALLEST: u64 = 64 << 20;

const ATTEMPTS: usize = 100;

const DETACHED_WITHIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_of_an_instance_is_told_from_others_by_its_folder() {
        let image = Path::new("/var/lib/bastide/agent/computes/instances/1/disk.img");
        for path in ["/var/lib/bastide/agent/computes/instances/1/disk.img\n", "/1/disk.img", "/1/disk.img (deleted)\n"]
        {
            assert!(is_named_like(path, image), "{path}");
        }
        for path in
            ["/var/lib/bastide/agent/computes/instances/2/disk.img\n", "/instances/11/disk.img", "/other.img", ""]
        {
            assert!(!is_named_like(path, image), "{path}");
        }
    }
}
