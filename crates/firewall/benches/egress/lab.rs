//! The namespaces of the bench, and the firewall in a process of its own.

use std::fmt::Write;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Instant;

use bastide_firewall::control::Listener;
use bastide_firewall::worker;
use bastide_plan::AddressFilter;
use bastide_plan::flow::{FlowQuery, FlowVerdict};
use bastide_plan::hub_plan::HubPlan;
use bastide_plan::worker::{FromWorker, ToWorker};

use crate::server::{self, HOSTS};
use crate::support::{Control, inside, make, shell};

/// What stands between the client and the internet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Plane {
    /// The kernel, forwarding with conntrack.
    Raw,
    /// The firewall.
    Wall,
}

/// The namespaces, and what runs in them.
pub struct Lab {
    tag: String,
    control: Control,
    worker: Child,
    names: Vec<String>,
}

impl Lab {
    pub fn new() -> Self {
        let tag = format!("fb{}", std::process::id());
        shell(&make(&tag));
        // The kernel forwards from an address of its own, so that the two do not meet in the table of connections.
        let mut more = format!("ip -n {tag}r addr add 198.18.0.3/24 dev out\n");
        for last in [4, 5] {
            writeln!(more, "ip -n {tag}s addr add 198.18.1.{last}/32 dev lo").unwrap();
        }
        shell(&more);
        inside(&format!("{tag}s"), server::start);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let hub = format!("{tag}r");
        let control = Control::new(ours, hub.clone());
        let number = theirs.as_raw_fd();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--worker", &number.to_string()]);
        // SAFETY: fcntl is a system call without pointers.
        unsafe {
            command.pre_exec(move || match libc::fcntl(number, libc::F_SETFD, 0) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        let worker = inside(&hub, || {
            control.hand_over_listeners();
            command.spawn().unwrap()
        });
        Self { tag, control, worker, names: Vec::new() }
    }

    /// Approves the hosts of the bench, and so many names besides.
    pub fn approve(&mut self, others: usize) {
        self.names = HOSTS.iter().flat_map(|(name, ..)| [(*name).to_owned(), format!("*.{name}")]).collect();
        self.names.extend((0..others).map(|number| format!("host-{number}.site-{}.example.org", number % 97)));
        let plan = self.next_plan();
        self.control.apply(plan);
    }

    /// Adds a name, so many times; how long it takes until it is applied, p50 and p99 in milliseconds.
    pub fn changes(&mut self, times: usize) -> (f64, f64) {
        let mut took: Vec<_> = (0..times)
            .map(|number| {
                self.names.push(format!("one-more-{number}.example.net"));
                let plan = self.next_plan();
                let start = Instant::now();
                self.control.apply(plan);
                start.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        took.sort_by(f64::total_cmp);
        (took[times / 2], took[times * 99 / 100])
    }

    /// What went wrong beyond or at the wall so far: a bench of failures measures nothing.
    pub fn complaints(&self) -> Vec<String> {
        self.control.send(&ToWorker::Flows { number: 1, query: FlowQuery { limit: u32::MAX, ..FlowQuery::default() } });
        let FromWorker::Flows { flows, .. } = self.control.answer() else { panic!("another answer") };
        let wrong = flows.records.into_iter().filter(|record| record.verdict != FlowVerdict::Allowed);
        wrong.map(|record| format!("{:?} {:?}", record.name, record.reason)).collect()
    }

    /// Lets the kernel or the firewall carry what comes.
    pub fn switch(&self, plane: Plane) {
        let rules = match plane {
            Plane::Raw => RAW,
            Plane::Wall => WALL,
        };
        shell(&format!("ip netns exec {}r nft -f - <<'END'\n{rules}\nEND\n", self.tag));
    }

    /// Runs `work` as the client.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&format!("{}c", self.tag), work)
    }

    /// Processor time of the firewall so far.
    pub fn worker_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.worker.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        // utime and stime, in ticks of 10 ms (proc(5)).
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }

    /// Resident memory of the firewall, in MiB.
    pub fn worker_memory(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.worker.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }

    fn next_plan(&mut self) -> HubPlan {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        self.control.plan(&names)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:#?}", self.complaints());
        }
        self.control.end();
        let _ = self.worker.wait();
        shell(&format!("for n in c r s; do ip netns delete {}$n; done", self.tag));
    }
}

/// The firewall's process.
pub fn run_worker(control: RawFd) {
    // SAFETY: who started the process handed it this descriptor, and nobody else here knows it.
    let control = unsafe { OwnedFd::from_raw_fd(control) };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    worker::serve(
        control.into(),
        Listener::default(),
        AddressFilter::default(),
        "/nonexistent".into(),
        threads,
        Arc::default(),
    )
    .unwrap();
}

const RAW: &str = "
table inet wall
delete table inet wall
table inet wall {
    set sites { type ipv4_addr; flags interval; elements = { 198.18.1.0/24 } }
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established accept
        ip daddr @sites tcp dport { 80, 443 } accept
    }
    chain outbound { type nat hook postrouting priority srcnat; oifname out snat ip to 198.18.0.3; }
}";

const WALL: &str = "
table inet wall
delete table inet wall
table inet wall {
    chain intercept {
        type filter hook prerouting priority mangle; policy accept;
        iifname leg tcp dport 80 tproxy ip to 127.0.0.1:8080 meta mark set 1 accept
        iifname leg tcp dport 443 tproxy ip to 127.0.0.1:8443 meta mark set 1 accept
    }
    chain forward { type filter hook forward priority filter; policy drop; ct state established accept; }
}";
