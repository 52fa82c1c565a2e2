//! Probes that change the process they run in, each tried in a process of its own that then ends.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::{Finding, Status};

/// Something of the kernel that is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Probe {
    NetworkNamespaces,
    VirtualEthernet,
    Nftables,
    Wall,
    UserNamespaces,
    Cgroups,
    Seccomp,
    Landlock,
    Computes,
}

/// What a probe found: a detail, or what is wrong and what to do about it.
type Found = Result<String, (String, &'static str)>;

impl Probe {
    /// Tries it in a child process.
    pub(super) fn finding(self) -> Finding {
        let (name, required) = (self.name(), self.is_required());
        match self.in_child() {
            Ok(Ok(detail)) => Finding::ok(name, required, detail),
            Ok(Err((detail, advice))) => {
                let status = if required { Status::Missing } else { Status::Warn };
                Finding { name, required, status, detail, advice: Some(advice).filter(|advice| !advice.is_empty()) }
            }
            Err(error) => {
                let detail = format!("could not be tried: {error}");
                Finding::fault(name, required, Status::Missing, detail, "mount /proc and try again")
            }
        }
    }

    /// Tries it in this process, for the parent to read: the detail on standard output, or a fault and the advice on
    /// two lines and exit code 1.
    pub(super) fn run(self) -> ExitCode {
        let found = match self {
            Self::NetworkNamespaces => network_namespaces(),
            Self::VirtualEthernet => virtual_ethernet(),
            Self::Nftables => nftables(),
            Self::Wall => wall(),
            Self::UserNamespaces => user_namespaces(),
            Self::Cgroups => cgroups(),
            Self::Seccomp => seccomp(),
            Self::Landlock => landlock(),
            Self::Computes => computes(),
        };
        match found {
            Ok(detail) => {
                println!("{detail}");
                ExitCode::SUCCESS
            }
            Err((detail, advice)) => {
                println!("{}\n{advice}", detail.replace('\n', " "));
                ExitCode::FAILURE
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::NetworkNamespaces => "network namespaces",
            Self::VirtualEthernet => "veth pairs",
            Self::Nftables => "nftables",
            Self::Wall => WALL,
            Self::UserNamespaces => "user namespaces",
            Self::Cgroups => "cgroups",
            Self::Seccomp => "seccomp",
            Self::Landlock => "landlock",
            Self::Computes => "computes",
        }
    }

    /// Whether enforcing a network takes it; the others harden what runs beside it or inside computes.
    fn is_required(self) -> bool {
        matches!(self, Self::NetworkNamespaces | Self::VirtualEthernet | Self::Nftables | Self::Wall)
    }

    fn in_child(self) -> io::Result<Result<String, (String, String)>> {
        let argument = self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let mut child = Command::new("/proc/self/exe")
            .args(["doctor", "--probe", &argument])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                child.kill()?;
                break;
            }
            sleep(Duration::from_millis(5));
        }
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let (detail, advice) = text.trim().split_once('\n').unwrap_or((text.trim(), ""));
        Ok(if output.status.success() {
            Ok(detail.to_owned())
        } else if detail.is_empty() {
            Err((format!("the probe ended with {}", output.status), String::new()))
        } else {
            Err((detail.to_owned(), advice.to_owned()))
        })
    }
}

fn network_namespaces() -> Found {
    unshare(UnshareFlags::NEWNET)?;
    Ok("one was made".to_owned())
}

fn user_namespaces() -> Found {
    unshare(UnshareFlags::NEWUSER)?;
    Ok("one was made".to_owned())
}

/// In a namespace of its own, so that the interfaces vanish with this process.
fn virtual_ethernet() -> Found {
    unshare(UnshareFlags::NEWNET)?;
    let arguments = ["link", "add", "bastide-a", "type", "veth", "peer", "name", "bastide-b"];
    tool("ip", &arguments, "", "apt-get install iproute2")?;
    tool("ip", &["link", "set", "bastide-a", "up"], "", "apt-get install iproute2")?;
    Ok("a pair was made and brought up".to_owned())
}

/// In a namespace of its own, so that the rules vanish with this process.
fn nftables() -> Found {
    unshare(UnshareFlags::NEWNET)?;
    tool("nft", &["-f", "-"], RULES, "apt-get install nftables")?;
    let listed = tool("nft", &["list", "table", "inet", "bastide"], "", "apt-get install nftables")?;
    if !listed.contains("drop") {
        return Err(("a rule set was accepted and is not there".to_owned(), "load the nf_tables kernel modules"));
    }
    Ok("a rule set was loaded and read back".to_owned())
}

/// A whole one, small, with a leg that tries it.
fn wall() -> Found {
    unshare(UnshareFlags::NEWNET)?;
    bastide_agent::probe().map_err(|error| {
        let advice = "use a kernel with nf_tables, TPROXY, NFLOG and connection tracking, and load their modules";
        (error.to_string(), advice)
    })
}

fn cgroups() -> Found {
    const ADVICE: &str = "boot with cgroup v2, and in a container mount /sys/fs/cgroup for writing";
    let root = Path::new("/sys/fs/cgroup");
    let is_unified = rustix::fs::statfs(root).is_ok_and(|system| system.f_type == CGROUP2_SUPER_MAGIC);
    if !is_unified {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let lines = mounts.lines().filter(|line| line.split(' ').nth(2) == Some("cgroup"));
        let options: Vec<_> =
            lines.filter_map(|line| line.split(' ').nth(3)).flat_map(|text| text.split(',')).collect();
        let lacking: Vec<_> =
            ["cpu", "memory", "pids", "freezer"].into_iter().filter(|name| !options.contains(name)).collect();
        if lacking.is_empty() {
            return Ok("version 1, which is on its way out: cpu, memory, pids and freezer are there".to_owned());
        }
        return Err((format!("/sys/fs/cgroup is not of version 2, and lacks {}", lacking.join(", ")), ADVICE));
    }
    let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    let lacking: Vec<_> = ["cpu", "memory", "pids"]
        .into_iter()
        .filter(|name| !controllers.split(' ').any(|one| one.trim() == *name))
        .collect();
    if !lacking.is_empty() {
        return Err((format!("without the controllers {}", lacking.join(", ")), ADVICE));
    }
    let group = root.join(format!("bastide-doctor-{}", std::process::id()));
    fs::create_dir(&group).map_err(|error| (format!("no group can be made: {error}"), ADVICE))?;
    fs::remove_dir(&group).map_err(|error| (format!("a group cannot be removed: {error}"), ADVICE))?;
    Ok("a group was made and removed; cpu, memory and pids are there".to_owned())
}

/// Installs a filter that refuses one harmless system call, and makes that call.
fn seccomp() -> Found {
    const ADVICE: &str = "use a kernel with CONFIG_SECCOMP_FILTER";
    rustix::thread::set_no_new_privs(true).map_err(|error| (format!("no_new_privs: {error}"), ADVICE))?;
    let instruction = |code: u32, jf: u8, k: u32| -> Result<libc::sock_filter, (String, &'static str)> {
        let code = u16::try_from(code).map_err(|error| (error.to_string(), ADVICE))?;
        Ok(libc::sock_filter { code, jt: 0, jf, k })
    };
    let refused = u32::try_from(REFUSED).map_err(|error| (error.to_string(), ADVICE))?;
    let mut filter = [
        // Offset 0 of seccomp_data is the number of the system call.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)?,
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, refused)?,
        instruction(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned())?,
        instruction(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW)?,
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    // SAFETY: `program` and the four instructions it points to live until the call returns; the kernel copies them.
    let installed = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if installed != 0 {
        return Err((format!("no filter can be installed: {}", io::Error::last_os_error()), ADVICE));
    }
    // SAFETY: sched_yield takes no argument and touches no memory.
    if unsafe { libc::syscall(REFUSED) } == 0 {
        return Err(("a filter was installed and does not hold".to_owned(), ADVICE));
    }
    Ok("a filter was installed and held".to_owned())
}

/// Forbids this process to make files, and tries to make one.
fn landlock() -> Found {
    const ADVICE: &str = "boot a kernel with CONFIG_SECURITY_LANDLOCK and landlock in its lsm= list";
    let failed = |what: &str| (format!("{what}: {}", io::Error::last_os_error()), ADVICE);
    // LANDLOCK_ACCESS_FS_MAKE_REG, linux/landlock.h; the first eight bytes of landlock_ruleset_attr.
    let forbidden: u64 = 1 << 8;
    rustix::thread::set_no_new_privs(true).map_err(|error| (format!("no_new_privs: {error}"), ADVICE))?;
    // SAFETY: the attribute is eight bytes long, as the size says, and lives until the call returns.
    let ruleset =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const forbidden, size_of::<u64>(), 0_u32) };
    let ruleset = i32::try_from(ruleset).ok().filter(|fd| *fd >= 0).ok_or_else(|| failed("no rule set can be made"))?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    let _owner = unsafe { OwnedFd::from_raw_fd(ruleset) };
    // SAFETY: takes a descriptor and flags, and touches no memory.
    if unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0_u32) } != 0 {
        return Err(failed("the rule set cannot be put in force"));
    }
    let path = std::env::temp_dir().join(format!("bastide-doctor-{}", std::process::id()));
    match fs::File::create_new(&path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            // SAFETY: asks for the version of the interface; no memory is read.
            let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0_usize, 0_usize, 1_u32) };
            Ok(format!("a rule set was put in force and held (version {version})"))
        }
        Err(error) => Err((format!("could not be seen at work: {error}"), ADVICE)),
        Ok(_) => {
            let _ = fs::remove_file(&path);
            Err(("a rule set was put in force and does not hold".to_owned(), ADVICE))
        }
    }
}

/// Runs one, with the privilege that an agent has.
fn computes() -> Found {
    let advice = "computes are refused with this sentence; the wall stands without them";
    let failed = |what: &str, error: &dyn std::fmt::Display| (format!("{what}{error}"), advice);
    unshare(UnshareFlags::NEWNET)?;
    bastide_agent::privilege::drop_unneeded().map_err(|error| failed("privilege cannot be given up: ", &error))?;
    let directory = std::env::temp_dir().join(format!("bastide-doctor-{}", std::process::id()));
    DirBuilder::new().mode(0o700).create(&directory).map_err(|error| failed("no directory to try it in: ", &error))?;
    let ran = bastide_agent::probe_computes(&directory);
    let removed = fs::remove_dir_all(&directory);
    let ran = ran.map_err(|error| failed("", &error))?;
    removed.map_err(|error| failed("what was tried is not wholly gone: ", &error))?;
    Ok(ran)
}

fn unshare(namespace: UnshareFlags) -> Result<(), (String, &'static str)> {
    // SAFETY: this process has one thread and shares no memory; descriptors are not unshared.
    unsafe { unshare_unsafe(namespace) }.map_err(|error| {
        let advice = if error == rustix::io::Errno::PERM {
            "run as root; in a container, add CAP_SYS_ADMIN and allow unshare(2) in its seccomp profile"
        } else {
            "use a kernel with namespaces and raise user.max_*_namespaces in sysctl"
        };
        (format!("none can be made: {error}"), advice)
    })
}

/// Runs a tool with this input and returns what it prints.
fn tool(name: &str, arguments: &[&str], input: &str, install: &'static str) -> Result<String, (String, &'static str)> {
    let run = || {
        let mut child = Command::new(name)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        child.wait_with_output()
    };
    match run() {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => Err((
            format!("'{name}' failed: {}", String::from_utf8_lossy(&output.stderr).trim()),
            "use a kernel with nf_tables and veth, and load their modules",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err((format!("could not be tried: '{name}' is not installed"), install))
        }
        Err(error) => Err((format!("'{name}' could not be run: {error}"), install)),
    }
}

/// What the probe of a whole wall is called.
pub(super) const WALL: &str = "outbound wall";

/// What a hub's wall is made of: a base chain that drops, a named set, a reference to it.
const RULES: &str = "table inet bastide {
    set admitted { type ipv4_addr . inet_service; flags timeout; }
    chain out { type filter hook output priority 0; policy drop; ip daddr . tcp dport @admitted accept; }
}
";

/// The system call that the seccomp probe refuses itself.
const REFUSED: libc::c_long = libc::SYS_sched_yield;

/// `CGROUP2_SUPER_MAGIC` of linux/magic.h.
const CGROUP2_SUPER_MAGIC: rustix::fs::FsWord = 0x6367_7270;

/// A probe takes milliseconds; a tool that waits for something is stopped.
const PATIENCE: Duration = Duration::from_secs(20);
