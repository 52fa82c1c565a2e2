//! What the agent itself gives up, and what those that it starts are left with: nothing.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

/// Keeps the capabilities that the work takes and gives up all others, for this process and all that it starts. To be
/// called before there is a second thread.
pub fn drop_unneeded() -> io::Result<()> {
    for capability in CapabilitySet::all().difference(KEPT).iter() {
        // One that this kernel does not have cannot be kept either.
        match remove_capability_from_bounding_set(capability) {
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let held = rustix::thread::capabilities(None)?;
    let sets = CapabilitySets {
        effective: held.effective & KEPT,
        permitted: held.permitted & KEPT,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets)?;
    Ok(set_no_new_privs(true)?)
}

/// Gives up every privilege, for good, and becomes an ordinary user; the process leaves no core dump, and ends with the
/// thread that started it. For the moment between fork and exec: it makes system calls and nothing else.
pub fn become_user(user: u32) -> io::Result<()> {
    let check = |outcome: libc::c_int| if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    for capability in 0..=63 {
        // SAFETY: no pointers; past the kernel's last capability it says EINVAL.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } != 0 {
            break;
        }
    }
    let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: no pointers but to `no_core`, which outlives the call, and one to no groups at all.
    unsafe {
        check(libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core))?;
        check(libc::setgroups(0, std::ptr::null()))?;
        check(libc::setresgid(user, user, user))?;
        check(libc::setresuid(user, user, user))?;
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        // After the change of user, which would have undone it.
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0))
    }
}

/// What the work takes.
const KEPT: CapabilitySet = CapabilitySet::NET_ADMIN // interfaces, routes, rule sets, transparent listeners
    .union(CapabilitySet::SYS_ADMIN) // namespaces and their names
    .union(CapabilitySet::NET_BIND_SERVICE) // DNS at port 53
    .union(CapabilitySet::SETUID) // a user of its own for each firewall
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETFCAP) // a user namespace for making images, whose files belong to the node's users 0 to 65,535
    .union(CapabilitySet::SYS_CHROOT) // entering the mount namespace of an instance, which its runtime does
    .union(CapabilitySet::FSETID) // modes of files in an instance, which the kernel sets on behalf of who mounted its disk
    .union(CapabilitySet::SETPCAP) // taking the last capabilities from firewalls
    .union(CapabilitySet::KILL) // ending firewalls
    .union(CapabilitySet::SYS_PTRACE) // finding what an agent that was killed has left in a namespace
    .union(CapabilitySet::CHOWN) // sockets that belong to a firewall, or to the server
    .union(CapabilitySet::DAC_OVERRIDE) // a data directory that belongs to the server
    .union(CapabilitySet::FOWNER);
