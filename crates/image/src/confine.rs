//! What the process that reads images gives up before it reads the first byte of one: it sees the directory it fills and
//! nothing else, no network, no process, and has no power but over the owners of files.

use std::io;
use std::path::Path;

use rustix::fs::Mode;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount_bind_recursive, mount_change, mount_remount, unmount,
};
use rustix::process::{Resource, Rlimit, chdir, pivot_root, setrlimit, umask};
use rustix::thread::{
    CapabilitySet, CapabilitySets, UnshareFlags, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs, unshare_unsafe,
};

/// Makes a directory all there is, for this process and for good. It is to be root in a user namespace, and to have one
/// thread.
pub fn confine(directory: &Path) -> io::Result<()> {
    let namespaces = UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    // SAFETY: descriptors are not unshared.
    unsafe { unshare_unsafe(namespaces) }?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount_bind_recursive(directory, directory)?;
    mount_remount(directory, MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, c"")?;
    chdir(directory)?;
    // The old root over the new one, and away with it.
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")?;
    umask(Mode::empty());
    for capability in CapabilitySet::all().difference(KEPT).iter() {
        match remove_capability_from_bounding_set(capability) {
            // One that this kernel does not have cannot be kept either.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    set_capabilities(None, CapabilitySets { effective: KEPT, permitted: KEPT, inheritable: CapabilitySet::empty() })?;
    set_no_new_privs(true)?;
    let most = |most| Rlimit { current: Some(most), maximum: Some(most) };
    setrlimit(Resource::Core, most(0))?;
    setrlimit(Resource::As, most(MOST_MEMORY))?;
    Ok(setrlimit(Resource::Nproc, most(0))?)
}

/// Giving files to the users of the image, and working on what has been given.
const KEPT: CapabilitySet = CapabilitySet::CHOWN.union(CapabilitySet::DAC_OVERRIDE).union(CapabilitySet::FOWNER);

/// A window of zstd may have 128 MiB; two million inodes take as much.
const MOST_MEMORY: u64 = 2 << 30;
