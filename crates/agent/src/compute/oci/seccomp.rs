//! The system calls that an instance may make: a list of what is allowed, everything else fails.
//!
//! What is missing on purpose, because it reaches past the instance or has been the way out of one: mounts and roots,
//! namespaces, other processes' memory (`ptrace` and its kin, so debuggers do not attach), keys, `bpf`, `perf_event_open`,
//! `userfaultfd`, `io_uring`, `fanotify`, handles of files, modules, `kexec`, clocks, host names, quotas, swap, the
//! kernel's log.

use std::collections::BTreeMap;

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};

/// The profile, in the words of a runtime.
pub(super) fn profile() -> Result<LinuxSeccomp, OciSpecError> {
    let lists: BTreeMap<String, Vec<String>> = serde_json::from_str(ALLOWED)?;
    let mut rules = vec![rule(&lists.into_values().flatten().collect::<Vec<_>>(), LinuxSeccompAction::ScmpActAllow)?];
    rules.push(with(&["clone"], LinuxSeccompAction::ScmpActAllow, None, vec![none_of(0, NEW_NAMESPACES)?])?);
    // Its flags are in memory, where no filter can look; who hears that there is no such call uses `clone`.
    rules.push(with(&["clone3"], LinuxSeccompAction::ScmpActErrno, Some(libc::ENOSYS), Vec::new())?);
    for domain in PERSONALITIES {
        rules.push(with(&["personality"], LinuxSeccompAction::ScmpActAllow, None, vec![equal(0, domain)?])?);
    }
    rules.extend(sockets()?);
    LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActErrno)
        .default_errno_ret(libc::EPERM.unsigned_abs())
        .architectures(vec![ARCHITECTURE])
        .syscalls(rules)
        .build()
}

/// Local sockets, IP, and the part of netlink that lists addresses. Others fail as if the kernel had no such family:
/// programs are used to that, but some take "not permitted" for a reason to stop.
fn sockets() -> Result<Vec<LinuxSyscall>, OciSpecError> {
    let (allowed, refused) = (LinuxSeccompAction::ScmpActAllow, LinuxSeccompAction::ScmpActErrno);
    let no_family = |family| with(&["socket"], refused, Some(libc::EAFNOSUPPORT), vec![family]);
    let netlink = u64::from(libc::AF_NETLINK.unsigned_abs());
    let mut rules = Vec::new();
    for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6] {
        rules.push(with(&["socket"], allowed, None, vec![equal(0, family.unsigned_abs().into())?])?);
    }
    for family in OTHER_FAMILIES {
        rules.push(no_family(equal(0, family)?)?);
    }
    rules.push(no_family(compare(0, netlink + 1, LinuxSeccompOperator::ScmpCmpGe)?)?);
    rules.push(with(&["socket"], allowed, None, vec![equal(0, netlink)?, equal(2, ROUTES)?])?);
    let others = vec![equal(0, netlink)?, compare(2, ROUTES, LinuxSeccompOperator::ScmpCmpNe)?];
    rules.push(with(&["socket"], refused, Some(libc::EPROTONOSUPPORT), others)?);
    Ok(rules)
}

fn rule(names: &[String], action: LinuxSeccompAction) -> Result<LinuxSyscall, OciSpecError> {
    LinuxSyscallBuilder::default().names(names).action(action).build()
}

fn with(
    names: &[&str],
    action: LinuxSeccompAction,
    error: Option<i32>,
    arguments: Vec<LinuxSeccompArg>,
) -> Result<LinuxSyscall, OciSpecError> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut builder = LinuxSyscallBuilder::default().names(names).action(action);
    if let Some(error) = error {
        builder = builder.errno_ret(error.unsigned_abs());
    }
    if !arguments.is_empty() {
        builder = builder.args(arguments);
    }
    builder.build()
}

fn equal(index: usize, value: u64) -> Result<LinuxSeccompArg, OciSpecError> {
    compare(index, value, LinuxSeccompOperator::ScmpCmpEq)
}

fn compare(index: usize, value: u64, operator: LinuxSeccompOperator) -> Result<LinuxSeccompArg, OciSpecError> {
    LinuxSeccompArgBuilder::default().index(index).value(value).op(operator).build()
}

fn none_of(index: usize, mask: u64) -> Result<LinuxSeccompArg, OciSpecError> {
    let operator = LinuxSeccompOperator::ScmpCmpMaskedEq;
    LinuxSeccompArgBuilder::default().index(index).value(mask).value_two(0_u64).op(operator).build()
}

const ALLOWED: &str = include_str!("seccomp.json");

/// `CLONE_NEW*` but for time, whose bit is a signal number here.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

/// Linux, its 32-bit and 2.6 faces, and the question which one it is.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The families before netlink that are neither local nor IP.
const OTHER_FAMILIES: [u64; 13] = [0, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15];

/// The protocol of netlink that lists addresses and routes, `NETLINK_ROUTE`.
const ROUTES: u64 = 0;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: Arch = Arch::ScmpArchX86_64;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: Arch = Arch::ScmpArchAarch64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_been_a_way_out_is_not_on_the_list() {
        let lists: BTreeMap<String, Vec<String>> = serde_json::from_str(ALLOWED).unwrap();
        let allowed: Vec<_> = lists.values().flatten().map(String::as_str).collect();
        for call in [
            "mount",
            "umount2",
            "move_mount",
            "open_tree",
            "fsopen",
            "mount_setattr",
            "pivot_root",
            "chroot",
            "setns",
            "unshare",
            "clone",
            "clone3",
            "ptrace",
            "process_vm_readv",
            "process_vm_writev",
            "pidfd_getfd",
            "kcmp",
            "keyctl",
            "add_key",
            "request_key",
            "bpf",
            "perf_event_open",
            "userfaultfd",
            "io_uring_setup",
            "open_by_handle_at",
            "name_to_handle_at",
            "fanotify_init",
            "init_module",
            "finit_module",
            "delete_module",
            "kexec_load",
            "reboot",
            "swapon",
            "acct",
            "quotactl",
            "syslog",
            "sethostname",
            "setdomainname",
            "clock_settime",
            "settimeofday",
            "iopl",
            "ioperm",
            "socket",
        ] {
            assert!(!allowed.contains(&call), "{call}");
        }
    }

    #[test]
    fn each_call_is_listed_once() {
        let lists: BTreeMap<String, Vec<String>> = serde_json::from_str(ALLOWED).unwrap();
        let mut calls: Vec<_> = lists.into_values().flatten().collect();
        calls.sort();
        let all = calls.len();
        calls.dedup();
        assert_eq!(calls.len(), all);
    }
}
