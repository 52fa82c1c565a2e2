//! Gives up what a firewall does not need, before it reads the first byte of a stranger.
//!
//! The agent has started it with a user of its own, without capabilities and without a way to gain any. What is left to give
//! up are the file system, listening, and most of the kernel's calls.

use std::collections::BTreeMap;
use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// Why a firewall does not start.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// It holds a capability, which the agent should have taken.
    #[error("the firewall holds capabilities; it does not read anything before they are gone")]
    Capable,
    /// Landlock.
    #[error(
        "the firewall cannot give up the file system (Landlock): {0}. Linux 5.13 or later has it; see `bastide doctor`."
    )]
    Landlock(#[from] RulesetError),
    /// Landlock is switched off.
    #[error("the kernel does not enforce Landlock. Add landlock to its lsm= list; see `bastide doctor`.")]
    NoLandlock,
    /// Seccomp.
    #[error("the firewall cannot give up the kernel's calls (seccomp): {0}")]
    Seccomp(#[from] BackendError),
    /// Seccomp, when it is put in force.
    #[error("the firewall cannot give up the kernel's calls (seccomp): {0}")]
    Filter(#[from] seccompiler::Error),
    /// Anything else.
    #[error("the firewall cannot be confined: {0}")]
    Io(#[from] io::Error),
}

/// Confines the calling thread, and with it all that it starts. To be called before there is a second thread.
pub fn confine() -> Result<(), ConfineError> {
    if !rustix::thread::capabilities(None).map_err(io::Error::from)?.permitted.is_empty() {
        return Err(ConfineError::Capable);
    }
    rustix::thread::set_no_new_privs(true).map_err(io::Error::from)?;
    raise_descriptor_limit()?;
    give_up_files()?;
    seccompiler::apply_filter(&filter()?)?;
    Ok(())
}

/// A connection takes two descriptors; the default of 1024 is for programs with select(2).
fn raise_descriptor_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}

/// No file is opened, no port listened at, and nobody outside signalled from here on. Sockets in the file system are not
/// files to Landlock: the server's may still be connected to.
fn give_up_files() -> Result<(), ConfineError> {
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))?
        // What later kernels know besides.
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()?
        .restrict_self()?;
    if status.ruleset == RulesetStatus::NotEnforced { Err(ConfineError::NoLandlock) } else { Ok(()) }
}

/// The calls that are left; every other one fails with EPERM.
fn filter() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = CALLS.iter().map(|call| (*call, Vec::new())).collect();
    #[cfg(target_arch = "x86_64")]
    rules.extend([libc::SYS_epoll_wait, libc::SYS_poll].map(|call| (call, Vec::new())));
    let mut only = |call: i64, argument: u8, values: &[u64]| -> Result<(), BackendError> {
        let mut allowed = Vec::new();
        for value in values {
            let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, *value)?;
            allowed.push(SeccompRule::new(vec![condition])?);
        }
        rules.insert(call, allowed);
        Ok(())
    };
    only(libc::SYS_socket, 0, &[libc::AF_INET as u64, libc::AF_UNIX as u64])?;
    // How tokio's runtime wakes itself.
    only(libc::SYS_socketpair, 0, &[libc::AF_UNIX as u64])?;
    only(libc::SYS_ioctl, 1, &[libc::FIONBIO])?;
    only(libc::SYS_prctl, 0, &[libc::PR_SET_NAME as u64, PR_SET_VMA])?;
    let architecture = std::env::consts::ARCH.try_into()?;
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(rules, refuse, SeccompAction::Allow, architecture)?.try_into()
}

/// How glibc names its memory.
const PR_SET_VMA: u64 = 0x5356_4d41;

const CALLS: [i64; 59] = [
    // Bytes.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_splice,
    libc::SYS_pipe2,
    libc::SYS_close,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    // Connections.
    libc::SYS_connect,
    libc::SYS_accept4,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    // Memory.
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_membarrier,
    libc::SYS_getrandom,
    // Threads of its own, and its end. Programs cannot be started.
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_tgkill,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_set_tid_address,
    libc::SYS_getuid,
    libc::SYS_uname,
];
