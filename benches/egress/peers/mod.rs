//! What others put in the place of the firewall, as Debian packages it (egress.md 3): each resolves the names itself, and the
//! hub sends it what was on its way to ports 80 and 443.

mod recipes;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use crate::support::inside;
use recipes::{RECIPES, Recipe};

/// A peer that runs in the hub. Dropping it ends it.
pub struct Peer {
    pub name: &'static str,
    order: Order,
    process: Child,
}

/// What a peer is to do.
pub struct Order {
    /// A place for its files, which every user may enter.
    directory: PathBuf,
    /// The names it lets through, each exactly.
    names: Vec<String>,
    /// Where it takes what was on its way to port 443.
    tls: u16,
    /// The same of port 80.
    http: u16,
}

impl Peer {
    /// Starts those that are wanted - names with commas, or `all` - and says which cannot be measured.
    pub fn start_all(lab: &str, directory: &Path, names: &[String], wanted: &str) -> Vec<Self> {
        let is_wanted = |recipe: &Recipe| wanted == "all" || wanted.split(',').any(|name| name == recipe.name);
        let mut peers = Vec::new();
        for (recipe, tls) in RECIPES.iter().zip((FIRST_PORT..).step_by(10)).filter(|(recipe, _)| is_wanted(recipe)) {
            let Some(program) = find_program(recipe.program) else {
                println!("{} is not measured: it is missing ({})", recipe.name, recipe.source);
                continue;
            };
            let directory = directory.join(recipe.name);
            fs::create_dir_all(&directory).unwrap();
            // Some are users of their own, and write here.
            fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
            let order = Order { directory, names: names.to_vec(), tls, http: tls + 1 };
            match Self::start(lab, recipe, &program, order) {
                Ok(peer) => peers.push(peer),
                Err(reason) => println!("{} is not measured: {reason}", recipe.name),
            }
        }
        peers
    }

    /// The rules that send it what it is to look at.
    pub fn rules(&self) -> String {
        let Order { tls, http, .. } = self.order;
        format!(
            "table inet bench {{
    chain divert {{
        type nat hook prerouting priority dstnat; policy accept;
        iifname \"leg*\" tcp dport 443 redirect to :{tls}
        iifname \"leg*\" tcp dport 80 redirect to :{http}
    }}
    chain input {{
        type filter hook input priority filter; policy drop;
        iifname lo accept
        ct state established,related accept
        ct status dnat accept
    }}
    chain forward {{ type filter hook forward priority filter; policy drop; }}
}}"
        )
    }

    /// Processor time so far, in seconds.
    pub fn seconds(&self) -> f64 {
        crate::lab::seconds(self.process.id())
    }

    fn start(lab: &str, recipe: &Recipe, program: &Path, order: Order) -> Result<Self, String> {
        let hub = format!("{lab}r");
        let arguments = (recipe.prepare)(&order).map_err(|error| error.to_string())?;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = order.directory.join("output");
        let process = spawn(&hub, program, &arguments, &output);
        let mut peer = Self { name: recipe.name, order, process };
        let started = Instant::now();
        while !(listens(&hub, peer.order.tls) && listens(&hub, peer.order.http)) {
            let has_ended = peer.process.try_wait().is_ok_and(|ended| ended.is_some());
            if has_ended || started.elapsed() > PATIENCE {
                let said = fs::read_to_string(&output).unwrap_or_default();
                return Err(format!("it does not start: {}", said.lines().last().unwrap_or_default()));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(peer)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

/// Whether somebody listens at a port. Squid stops listening when a connection comes that nobody redirected.
fn listens(namespace: &str, port: u16) -> bool {
    let sockets = inside(namespace, || fs::read_to_string("/proc/thread-self/net/tcp")).unwrap_or_default();
    // Local address, remote address, state (proc_net(5)): 0A is LISTEN.
    let is_it = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(1).is_some_and(|local| local.ends_with(&format!(":{port:04X}"))) && fields.get(3) == Some(&"0A")
    };
    sockets.lines().any(is_it)
}

/// Where a program is: in the search path, among those of the administrator, or in the bench's own environment.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bench/bin");
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into(), own]);
    places.map(|place| place.join(name)).find(|program| program.is_file())
}

/// Starts a program in a network namespace; it ends with this one.
pub fn spawn(namespace: &str, program: &Path, arguments: &[&str], output: &Path) -> Child {
    let output = File::create(output).unwrap();
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program).args(arguments);
    command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
    // SAFETY: between fork and exec only one system call is made.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::TERM))?));
    }
    command.spawn().unwrap()
}

/// Ends a program with its children.
pub fn end(process: &mut Child) {
    let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
    let asked = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
    let started = Instant::now();
    while asked && started.elapsed() < PATIENCE && matches!(process.try_wait(), Ok(None)) {
        thread::sleep(Duration::from_millis(5));
    }
    // One that has ended cannot be killed.
    let _ = process.kill();
    let _ = process.wait();
}

/// From here on peers listen, out of the way of the firewall.
const FIRST_PORT: u16 = 9000;

const PATIENCE: Duration = Duration::from_secs(15);
