//! A runtime, and what an instance is made of.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bastide_agent::compute::fake::Fake;
use bastide_agent::compute::oci::Oci;
use bastide_agent::compute::runtime::{Execution, Order, Runtime};
use bastide_agent::privilege;
use bastide_plan::compute_plan::{Instance, Size};
use bastide_plan::hub_plan::ComputeId;
use bastide_plan::way_in::{Account, Exit, Process, TerminalSize};
use tempfile::TempDir;
use uuid::Uuid;

/// What a test has. Everything of it is gone with it.
pub struct Stage {
    pub runtime: Box<dyn Runtime>,
    pub directory: TempDir,
    /// The runtime's program.
    pub program: PathBuf,
    namespaces: Vec<String>,
    computes: std::sync::Mutex<Vec<ComputeId>>,
}

/// With the runtime that only remembers.
pub fn with_fake(test: impl Fn(&Stage)) {
    test(&Stage::new(|_| Box::new(Fake::new()), PathBuf::new(), Vec::new()));
}

/// With each OCI runtime of this node; or with the one that somebody wants to try.
pub fn with_oci(test: impl Fn(&Stage)) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("\n*** SKIPPED, and nothing is known about instances: only root can run them ***\n");
        return;
    }
    let programs = match std::env::var_os(CHOSEN) {
        Some(chosen) => vec![PathBuf::from(chosen)],
        None => ["crun", "runc"].into_iter().filter_map(installed).collect(),
    };
    assert!(!programs.is_empty(), "an OCI runtime is installed");
    for program in programs {
        eprintln!("with {}", program.display());
        let namespaces: Vec<_> =
            (0..2).map(|number| format!("rt{number}-{}", &Uuid::new_v4().simple().to_string()[..8])).collect();
        for namespace in &namespaces {
            shell(&format!("ip netns add {namespace} && ip -n {namespace} link set lo up"));
        }
        // Of what root may do, no more than the agent keeps: it is given up for this thread and what it starts.
        privilege::drop_unneeded().unwrap();
        test(&Stage::new(|directory| Box::new(oci(directory, &program)), program.clone(), namespaces));
    }
}

/// A runtime of this node.
pub fn oci(directory: &Path, program: &Path) -> Oci {
    Oci::open_with(directory, Some(program)).unwrap()
}

fn installed(program: &str) -> Option<PathBuf> {
    let places = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];
    places.into_iter().map(|place| Path::new(place).join(program)).find(|path| path.exists())
}

impl Stage {
    fn new(runtime: impl FnOnce(&Path) -> Box<dyn Runtime>, program: PathBuf, namespaces: Vec<String>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = runtime(&directory.path().join("agent"));
        Self { runtime, directory, program, namespaces, computes: std::sync::Mutex::default() }
    }

    /// An order for an instance that can do a little of everything.
    pub fn order(&self) -> Order {
        self.order_in(0)
    }

    pub fn order_in(&self, namespace: usize) -> Order {
        let compute = ComputeId(Uuid::new_v4());
        self.computes.lock().unwrap().push(compute);
        let namespace = self.namespaces.get(namespace).map_or("none", String::as_str);
        Order {
            instance: instance(compute),
            namespace: Path::new("/run/netns").join(namespace),
            resolver: [10, 0, 0, 1].into(),
            first_user: 0x2000_0000
                + u32::from(u16::from_be_bytes([compute.0.as_bytes()[0] & 0xf, compute.0.as_bytes()[1]])) * 65_536,
            root: self.image(),
            image_environment: vec![("FROM".into(), "image".into()), ("PLACE".into(), "image".into())],
            shares: Vec::new(),
        }
    }

    /// An instance that runs.
    pub fn running(&self) -> Order {
        self.run(self.order())
    }

    pub fn run(&self, order: Order) -> Order {
        self.runtime.create(&order).unwrap();
        self.runtime.start(order.instance.compute).unwrap();
        order
    }

    /// What a command prints and how it ends, as the instance's user.
    pub fn say(&self, order: &Order, command: &str) -> (String, Exit) {
        self.say_as(order, Account::User, command)
    }

    pub fn say_as(&self, order: &Order, account: Account, command: &str) -> (String, Exit) {
        let process = Process { account, ..process(&["sh", "-c", command]) };
        let execution = self.runtime.exec(order.instance.compute, &process).unwrap();
        finish(execution)
    }

    pub fn image(&self) -> PathBuf {
        let root = self.directory.path().join("image");
        if !root.exists() {
            busybox(&root);
        }
        root
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for compute in self.computes.lock().unwrap().drain(..) {
            let _ = self.runtime.delete(compute);
        }
        for namespace in &self.namespaces {
            let _ = Command::new("ip").args(["netns", "delete", namespace]).status();
        }
    }
}

/// What is left on the node of an instance that was deleted.
pub fn leftovers(order: &Order) -> Vec<String> {
    let id = order.instance.compute.to_string();
    // Groups of others may go while it looks.
    let groups = shell(&format!("find /sys/fs/cgroup -maxdepth 3 -name '*{id}*' 2>/dev/null || true"));
    let disks = shell("cat /sys/block/loop*/loop/backing_file 2>/dev/null || true");
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let processes = shell(&format!("grep -l -s {id} /proc/[0-9]*/cgroup || true"));
    let lines = [groups, disks, mounts].concat();
    let with_id = lines.lines().filter(|line| line.contains(&id)).map(str::to_owned);
    with_id.chain(processes.lines().map(str::to_owned)).collect()
}

/// Reads what it prints to its end, and waits.
pub fn finish(mut execution: Execution) -> (String, Exit) {
    let mut ends = execution.ends.into_iter();
    drop(ends.next());
    let mut printed = String::new();
    for end in ends {
        File::from(end).read_to_string(&mut printed).unwrap();
    }
    (printed, execution.process.wait(PATIENCE).unwrap().expect("it ends in time"))
}

/// Writes something to a descriptor.
pub fn write(end: &OwnedFd, text: &str) {
    File::from(end.try_clone().unwrap()).write_all(text.as_bytes()).unwrap();
}

/// Reads until a text was read.
pub fn read_until(end: &OwnedFd, text: &str) -> String {
    let mut end = File::from(end.try_clone().unwrap());
    let (mut read, mut buffer) = (String::new(), [0; 512]);
    while !read.contains(text) {
        let length = end.read(&mut buffer).unwrap_or(0);
        assert!(length > 0, "the end came after {read:?}, before {text:?}");
        read.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    read
}

pub fn process(command: &[&str]) -> Process {
    Process {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        account: Account::User,
        environment: BTreeMap::new(),
        directory: None,
        terminal: None,
    }
}

pub fn at_a_terminal(command: &[&str]) -> Process {
    Process { terminal: Some(TerminalSize { rows: 30, columns: 90 }), ..process(command) }
}

pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn shell(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn instance(compute: ComputeId) -> Instance {
    let size = Size { cpu_millis: 1000, memory: 256 << 20, processes: 100, disk: 128 << 20, gpus: 0 };
    let environment = [("PLACE", "instance"), ("HUB", "contoso")];
    Instance {
        keys: vec!["ssh-ed25519 AAAA mei@laptop".into()],
        environment: environment.map(|(name, value)| (name.into(), value.into())).into(),
        ..Instance::plain(compute, "workbench", size)
    }
}

/// An image with nothing but busybox, under the name of everything it can do, and something of everything hostile.
fn busybox(root: &Path) {
    for directory in ["bin", "etc", "usr/bin", "proc", "sys", "dev", "run", "lib"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    let program = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let program = program.expect("busybox-static is installed");
    fs::copy(program, root.join("bin/busybox")).unwrap();
    for applet in shell(&format!("{program} --list")).lines().filter(|applet| *applet != "busybox") {
        symlink("/bin/busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::copy(program, root.join("bin/busybox-setuid")).unwrap();
    fs::set_permissions(root.join("bin/busybox-setuid"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::write(root.join("etc/of-root"), "for root alone").unwrap();
    fs::set_permissions(root.join("etc/of-root"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Names the OCI runtime to try, and no other.
pub const CHOSEN: &str = "BASTIDE_OCI_RUNTIME";

pub const PATIENCE: Duration = Duration::from_mins(1);
