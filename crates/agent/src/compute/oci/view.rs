//! The file system of an instance, put together where nobody else sees it: in a mount namespace that lives as long as the
//! thread that makes it. The runtime takes its own copy along. So nothing of it has to be unmounted, by whoever and
//! whenever the agent is killed.

use std::ffi::CString;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::CWD;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount, mount_change, move_mount, open_tree,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{disk, failed};
use crate::compute::runtime::{Order, RuntimeError, SHARE_USERS};

/// Where the parts are.
#[derive(Debug)]
pub(super) struct View {
    /// What will be the root directory.
    pub(super) root: PathBuf,
    /// The folders behind [`bastide_plan::compute_plan::Instance::shares`], as the instance's users own them.
    pub(super) shares: Vec<PathBuf>,
}

/// Does something in a thread that is in the network of an instance, and has put its file system together.
pub(super) fn within<T: Send>(
    order: &Order,
    image: &Path,
    deed: impl FnOnce(&View) -> Result<T, RuntimeError> + Send,
) -> Result<T, RuntimeError> {
    std::thread::scope(|scope| scope.spawn(|| assemble(order, image).and_then(|view| deed(&view))).join())
        .unwrap_or_else(|_| Err(failed("cannot put the file system together")("a thread panicked")))
}

/// Makes the directory that file systems are put together on. For everybody else it stays empty, but for the place of
/// the root directory: the runtime begins there, also where it is not mounted.
pub(super) fn prepare() -> Result<(), RuntimeError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(Path::new(STAGE).join(ROOT));
    made.map_err(failed(format!("cannot make {STAGE}")))
}

fn assemble(order: &Order, image: &Path) -> Result<View, RuntimeError> {
    let network = fs::File::open(&order.namespace);
    let network = network.map_err(failed(format!("there is no network namespace {}", order.namespace.display())))?;
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(failed(format!("cannot enter the network namespace {}", order.namespace.display())))?;
    // SAFETY: this thread shares no file-system state with others after it, and none of them relies on that.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }
        .map_err(failed("cannot make a mount namespace"))?;
    let alone = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", alone).map_err(failed("cannot make mounts private"))?;
    let stage = Path::new(STAGE);
    // The instance's root user must be able to walk to its root directory, which the agent's own forbids.
    mount("tmpfs", stage, "tmpfs", HARMLESS, c"mode=755,size=64k").map_err(failed("cannot mount the stage"))?;

    let own = users(0, order.first_user)?;
    let lower = directory(stage, "image")?;
    let read_only = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    mount_mapped(&order.root, &lower, &own, read_only)?;

    let disk = directory(stage, "disk")?;
    mount_disk(image, &disk)?;
    let (upper, work) = (disk.join("upper"), disk.join("work"));
    for directory in [&upper, &work] {
        match fs::create_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            outcome => outcome.map_err(failed("cannot use the disk"))?,
        }
    }
    chown(&upper, Some(order.first_user), Some(order.first_user)).map_err(failed("cannot use the disk"))?;
    // It is what everybody inside sees as `/`, whatever the agent's umask is.
    fs::set_permissions(&upper, Permissions::from_mode(0o755)).map_err(failed("cannot use the disk"))?;

    let root = directory(stage, ROOT)?;
    let parts = format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let parts = CString::new(parts).map_err(failed("cannot mount the root directory"))?;
    mount("overlay", &root, "overlay", HARMLESS, parts.as_c_str())
        .map_err(failed("cannot mount the root directory"))?;
    Ok(View { root, shares: mount_shares(order, stage)? })
}

fn mount_disk(image: &Path, place: &Path) -> Result<(), RuntimeError> {
    let try_mount = || {
        // Open until it is mounted; from then on the mount holds it.
        let (device, _held) = disk::attach(image)?;
        // What is deleted inside is given back to the node.
        mount(&device, place, "ext4", HARMLESS, c"discard").map_err(failed("cannot mount the disk"))
    };
    try_mount().or_else(|error| {
        tracing::warn!("{error}; mending it");
        disk::wait_until_detached(image)?;
        disk::mend(image)?;
        try_mount()
    })
}

fn mount_shares(order: &Order, stage: &Path) -> Result<Vec<PathBuf>, RuntimeError> {
    if order.shares.is_empty() {
        return Ok(Vec::new());
    }
    let common = users(SHARE_USERS, order.first_user)?;
    let shares = order.shares.iter().enumerate().map(|(number, folder)| {
        let place = directory(stage, &format!("share-{number}"))?;
        mount_mapped(folder, &place, &common, libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV)?;
        Ok(place)
    });
    shares.collect()
}

fn directory(parent: &Path, name: &str) -> Result<PathBuf, RuntimeError> {
    let path = parent.join(name);
    fs::create_dir(&path).map_err(failed("cannot prepare the stage"))?;
    Ok(path)
}

/// Shows a directory at another place, where what is owned by users of one range is owned by users of another.
fn mount_mapped(source: &Path, place: &Path, users: &OwnedFd, attributes: u64) -> Result<(), RuntimeError> {
    let failed = || failed(format!("cannot mount {} for the users of the instance", source.display()));
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, source, flags).map_err(failed())?;
    let attributes = libc::mount_attr {
        attr_set: attributes | libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: users.as_raw_fd().unsigned_abs().into(),
    };
    // SAFETY: the path is an empty C string, and `attributes` is of the size given and outlives the call.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if outcome != 0 {
        return Err(failed()(
            rustix::io::Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(rustix::io::Errno::IO),
        ));
    }
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(tree.as_fd(), "", CWD, place, flags).map_err(failed())
}

/// A user namespace that says how numbers on a disk become numbers of the node.
fn users(on_disk: u32, on_node: u32) -> Result<OwnedFd, RuntimeError> {
    let failed = || failed("cannot make a map of users");
    let mut holder = Command::new("cat");
    holder.env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: one system call, between fork and exec.
    unsafe {
        holder.pre_exec(|| match libc::unshare(libc::CLONE_NEWUSER) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    // It has its namespace when this returns, for that is when its exec is done.
    let mut child = holder.spawn().map_err(failed())?;
    let map = format!("{on_disk} {on_node} {USERS}");
    let process = PathBuf::from(format!("/proc/{}", child.id()));
    let namespace = fs::write(process.join("uid_map"), &map)
        .and_then(|()| fs::write(process.join("gid_map"), &map))
        .and_then(|()| fs::File::open(process.join("ns/user")));
    drop(child.stdin.take());
    let ended = child.wait();
    let namespace = namespace.map_err(failed())?;
    ended.map_err(failed())?;
    Ok(namespace.into())
}

/// The users of an instance.
pub(crate) const USERS: u32 = 65_536;

const HARMLESS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

const STAGE: &str = "/run/bastide-instance";

const ROOT: &str = "root";
