//! The namespaces of the bench: a client, the hub with whatever stands in it, an internet.

use std::cell::Cell;
use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use std::{fs, path};

use bastide_agent::network::flow_store::{FlowStore, Retention};
use bastide_agent::network::interface::settle;
use bastide_agent::network::layout::HUB_SETTINGS;
use bastide_agent::network::names::leg_interface;
use bastide_agent::network::ruleset::ruleset;
use bastide_benches::server::processor_time;
use bastide_plan::flow::{FlowQuery, Flows};
use bastide_plan::hub_plan::{ComputeId, HubPlan};
use bastide_plan::message::Answer;

use crate::firewall::{Firewall, HUB, Log, facts};
use crate::load::{Load, Way, padded};
use crate::peers::Peer;
use crate::server::{self, HOSTS, TLS};
use crate::site::Site;
use crate::support::{inside, make, shell};
use crate::wrk;

/// What stands between the client and the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plane {
    /// The kernel, forwarding with conntrack.
    Raw,
    /// The firewall, with the rule set that an agent makes.
    Wall,
    /// One of [`Lab::peers`].
    Peer(usize),
}

/// The namespaces, and what runs in them.
pub struct Lab {
    pub tag: String,
    pub peers: Vec<Peer>,
    pub store: Arc<FlowStore>,
    firewall: Option<Firewall>,
    /// What it decides by.
    plan: Option<HubPlan>,
    names: Vec<String>,
    site: Option<Site>,
    /// How often the rule set was replaced.
    turn: Cell<usize>,
    directory: tempfile::TempDir,
}

impl Lab {
    /// A hub that approves the hosts of the bench, and so many names besides.
    pub fn new(others: usize) -> Self {
        let tag = format!("fb{}", std::process::id());
        shell(&make(&tag));
        shell(&adapt(&tag));
        inside(&format!("{tag}r"), || {
            settle(&HUB_SETTINGS).unwrap();
            for closed in ["time_wait", "close", "close_wait", "last_ack", "fin_wait"] {
                set(&format!("netfilter/nf_conntrack_tcp_timeout_{closed}"), "1");
            }
            // A socket of one plane that waits for latecomers would take what another plane forwards, and it would be lost.
            set("ipv4/tcp_max_tw_buckets", "0");
        });
        inside(&format!("{tag}s"), || {
            set("ipv4/tcp_max_tw_buckets", "0");
            server::start();
        });
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        // Peers are users of their own.
        shell(&format!("chmod 755 {}", directory.path().display()));
        let store = FlowStore::open(&directory.path().join("flows"), Retention::default()).unwrap();
        let mut names: Vec<_> = HOSTS.iter().flat_map(|host| [host.name.to_owned(), padded(host.name)]).collect();
        names.extend((0..others).map(|number| format!("host-{number}.site-{}.example.org", number % 97)));
        let site = Site::start(&tag, directory.path());
        let mut lab = Self {
            tag,
            peers: Vec::new(),
            store,
            firewall: None,
            plan: None,
            names,
            site,
            turn: Cell::new(0),
            directory,
        };
        lab.restart(&Log::Kept(Arc::clone(&lab.store)));
        lab
    }

    /// Starts those of the peers that are wanted and here, and says which are not.
    pub fn invite(&mut self, wanted: &str) {
        self.peers = Peer::start_all(&self.tag, self.directory.path(), &self.names, wanted);
    }

    /// Another firewall instead of the one there is.
    pub fn restart(&mut self, log: &Log) {
        // The next one listens where this one does.
        self.firewall = None;
        let mut firewall = Firewall::start(&self.tag, log);
        let plan = firewall.plan(&self.names);
        firewall.control.apply(plan.clone());
        (self.firewall, self.plan) = (Some(firewall), Some(plan));
    }

    /// Ends the firewall.
    pub fn stop(&mut self) {
        self.firewall = None;
    }

    /// The firewall.
    pub fn firewall(&mut self) -> &mut Firewall {
        self.firewall.as_mut().unwrap()
    }

    /// Adds a name, so many times; how long it takes until it is applied, in milliseconds.
    pub fn changes(&mut self, times: usize) -> Vec<f64> {
        (0..times)
            .map(|number| {
                self.names.push(format!("one-more-{number}.example.net"));
                let firewall = self.firewall.as_mut().unwrap();
                let plan = firewall.plan(&self.names);
                let start = Instant::now();
                firewall.control.apply(plan);
                start.elapsed().as_secs_f64() * 1e3
            })
            .collect()
    }

    /// Lets something else carry what comes.
    pub fn switch(&self, plane: Plane) {
        match plane {
            Plane::Raw => self.rules(RAW),
            Plane::Wall => self.rules(&ruleset(self.plan.as_ref().unwrap(), &facts())),
            Plane::Peer(number) => self.rules(&self.peers[number].rules()),
        }
    }

    /// Replaces the rule set of the hub. What the kernel remembers of connections by the one before is not to meet those by
    /// this one: clients begin at other ports than before, and come back to these when it has forgotten.
    pub fn rules(&self, rules: &str) {
        let ports = PORTS[self.turn.get() % PORTS.len()];
        self.turn.set(self.turn.get() + 1);
        self.inside(|| set("ipv4/ip_local_port_range", ports));
        shell(&format!("ip netns exec {}r nft -f - <<'END'\nflush ruleset\n{rules}\nEND\n", self.tag));
    }

    /// Makes a load as the client, for so long. What stands in the way must not fail; on a machine that is busy with other
    /// things a turn may all the same. Then it is taken again, and that is said.
    pub fn measure_surely(&self, load: Load, way: Way, time: Duration) -> f64 {
        for _ in 0..TURNS {
            match self.measure(load, way, time) {
                Ok(value) => return value,
                Err(error) => eprintln!("a turn is taken again: {error}"),
            }
            std::thread::sleep(FORGETTING);
        }
        panic!("what is measured fails")
    }

    /// Makes a load as the client, for so long.
    pub fn measure(&self, load: Load, way: Way, time: Duration) -> io::Result<f64> {
        match load {
            Load::Own(run) => self.inside(|| run(way, time)),
            Load::Wrk(connections, options) => wrk::run(&self.tag, connections, options, time),
        }
    }

    /// Whether there is a site that speaks TLS, and who asks it.
    pub fn has_tls(&self) -> bool {
        self.site.is_some() && wrk::is_here()
    }

    /// Runs `work` as the client.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&format!("{}c", self.tag), work)
    }

    /// Processor time so far of what stands in the hub, in seconds.
    pub fn seconds(&self, plane: Plane) -> f64 {
        match plane {
            Plane::Raw => 0.0,
            Plane::Wall => self.firewall.as_ref().map_or(0.0, Firewall::seconds),
            Plane::Peer(number) => self.peers[number].seconds(),
        }
    }

    /// What is in the log.
    pub fn flows(&self, query: FlowQuery) -> Flows {
        let (sender, answers) = channel();
        let reply = Box::new(move |answer| sender.send(answer).unwrap_or_default());
        self.store.answer(HUB, query, Flows::default(), reply);
        match answers.recv().unwrap() {
            Answer::Flows { flows } => flows,
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.firewall = None;
        if std::thread::panicking() {
            eprintln!("{:#?}", self.flows(FlowQuery { denied: true, limit: 20, ..FlowQuery::default() }).records);
        }
        self.peers.clear();
        self.site = None;
        let _ = fs::remove_dir_all(client_files(&self.tag));
        shell(&format!("for n in c r s; do ip netns delete {}$n; done", self.tag));
    }
}

/// Changes a setting of the namespace of this thread.
fn set(name: &str, value: &str) {
    fs::write(format!("/proc/sys/net/{name}"), value).unwrap();
}

/// Processor time of a process and its children, in seconds.
pub fn seconds(process: u32) -> f64 {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    let all = [process.to_string()].into_iter().chain(children.split_whitespace().map(str::to_owned));
    all.filter_map(|process| processor_time(process).ok()).map(|time| time.as_secs_f64()).sum()
}

/// Where `ip netns exec` finds the client's own files of /etc.
fn client_files(tag: &str) -> path::PathBuf {
    path::Path::new("/etc/netns").join(format!("{tag}c"))
}

/// Interfaces named as an agent names them, an address for each host and each private endpoint, and a client that knows the
/// host that speaks TLS.
fn adapt(tag: &str) -> String {
    let leg = leg_interface(ComputeId(uuid::Uuid::from_u128(2)));
    let mut script = String::new();
    for (old, new) in [("leg", leg.as_str()), ("out", "uplink")] {
        writeln!(
            script,
            "ip -n {tag}r link set {old} down; ip -n {tag}r link set {old} name {new}; ip -n {tag}r link set {new} up"
        )
        .unwrap();
    }
    writeln!(script, "ip -n {tag}r route replace default via 198.18.0.2").unwrap();
    // The kernel forwards from an address of its own, so that the two do not meet in the table of connections.
    writeln!(script, "ip -n {tag}r addr add 198.18.0.3/24 dev uplink").unwrap();
    for host in &HOSTS {
        let endpoint = crate::load::endpoint(host.address);
        writeln!(script, "ip -n {tag}s addr replace {}/32 dev lo", host.address).unwrap();
        writeln!(script, "ip -n {tag}r addr replace {endpoint}/32 dev lo").unwrap();
    }
    let (files, site) = (client_files(tag), server::find(TLS).address);
    writeln!(script, "mkdir -p {0}; echo {site} {TLS} > {0}/hosts", files.display()).unwrap();
    script
}

/// How often a turn is taken at most, and what is between.
const TURNS: usize = 3;
const FORGETTING: Duration = Duration::from_secs(2);

/// Ports of clients, in turns of which each takes a second.
const PORTS: [&str; 3] = ["10240 28671", "28672 47103", "47104 65535"];

const RAW: &str = "
table inet bench {
    set sites { type ipv4_addr; flags interval; elements = { 198.18.1.0/24 } }
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established accept
        ip daddr @sites tcp dport { 80, 443 } accept
    }
    chain outbound { type nat hook postrouting priority srcnat; oifname uplink snat ip to 198.18.0.3; }
}";
