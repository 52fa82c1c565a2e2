//! What the server gives up beside its privileges, before it reads a byte of anybody's: writing outside of its data, running
//! programs, and the calls of the kernel that a server has no use for.

use std::collections::BTreeMap;
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, PathBeneath, PathFd, PathFdError, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus,
};
use seccompiler::{BackendError, BpfProgram, SeccompAction, SeccompFilter};

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfineError {
    #[error("the server cannot give up writing outside of its data (Landlock): {0}. Linux 5.13 or later has it.")]
    Landlock(#[from] RulesetError),
    #[error("the server cannot give up writing outside of its data: {0}")]
    Path(#[from] PathFdError),
    #[error("the kernel does not enforce Landlock. Add landlock to its lsm= list; see 'bastide doctor'.")]
    NoLandlock,
    #[error("the server cannot give up calls of the kernel (seccomp): {0}")]
    Filter(#[from] BackendError),
    #[error("the server cannot give up calls of the kernel (seccomp): {0}")]
    Seccomp(#[from] seccompiler::Error),
}

/// Confines the calling thread, and with it all that it starts. To be called before there is a second thread.
pub(crate) fn confine(data: &Path) -> Result<(), ConfineError> {
    let everything = AccessFs::from_all(ABI::V5);
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))?
        // What later kernels know besides.
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(everything)?
        .create()?
        .add_rule(PathBeneath::new(PathFd::new("/")?, AccessFs::ReadFile | AccessFs::ReadDir))?
        .add_rule(PathBeneath::new(PathFd::new(data)?, everything & !AccessFs::Execute))?
        .restrict_self()?;
    if status.ruleset == RulesetStatus::NotEnforced {
        return Err(ConfineError::NoLandlock);
    }
    let refused: BTreeMap<i64, Vec<_>> = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(refused, SeccompAction::Allow, refuse, std::env::consts::ARCH.try_into()?)?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)?;
    Ok(())
}

/// Calls that change what this process is or reach into others. The rest is what a database and a runtime of threads need.
const REFUSED: [i64; 34] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_personality,
];
