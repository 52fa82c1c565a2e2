//! A host, an internet behind it, and an agent on it.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bastide_agent::network::namespace::Namespace;
use bastide_agent::{Agent, AgentError, Engine, Farewell, Leftovers, Retention, Settings};
use bastide_plan::flow::{FlowQuery, Flows};
use bastide_plan::hub_plan::{
    Action, ComputeId, Endpoint, HubId, Leg, Mode, NameRule, PLAN_VERSION, PortRange, PrefixRule, Protocol, Service,
    Stamp,
};
use bastide_plan::message::{Answer, Request};
use bastide_plan::report::WallState;
use bastide_plan::{HubPlan, HubReport, RuleName};
use uuid::Uuid;

use crate::stub;

/// Runs a test in namespaces of its own, so that nothing of it touches this host.
pub fn on_a_host(test: impl FnOnce(Lab)) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("\n*** SKIPPED, and nothing is known about the wall: only root can make network namespaces ***\n");
        return;
    }
    if std::env::var_os(INSIDE).is_some() {
        return test(Lab::new());
    }
    let name = std::thread::current().name().unwrap().to_owned();
    let outcome = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--include-ignored", "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(outcome.success(), "{name} failed on its host");
}

/// What a test has.
pub struct Lab {
    pub directory: tempfile::TempDir,
    pub agent: Arc<Agent>,
    pub internet: Internet,
}

/// The world outside: 198.18.0.2 and others, all of them the attacker's.
pub struct Internet(Namespace);

/// A leg, from inside.
pub struct Inside {
    pub namespace: Namespace,
    pub address: Ipv4Addr,
}

impl Lab {
    fn new() -> Self {
        shell(
            "mount -t tmpfs none /run/netns 2>/dev/null || { mkdir -p /run/netns && mount -t tmpfs none /run/netns; }",
        );
        shell("ip link set lo up; ip netns add internet");
        shell(
            "ip link add wan type veth peer name eth0 netns internet; ip addr add 198.18.0.1/24 dev wan; ip link set wan up",
        );
        shell("ip route add default via 198.18.0.2");
        shell(
            "ip -n internet link set lo up; ip -n internet link set eth0 up; ip -n internet route add default via 198.18.0.1 2>/dev/null; true",
        );
        for address in ADDRESSES {
            shell(&format!("ip -n internet addr add {address} dev eth0"));
        }
        let directory = tempfile::tempdir().unwrap();
        let agent = start(&settings(directory.path())).unwrap();
        Self { directory, agent, internet: Internet(Namespace::open("internet").unwrap()) }
    }

    /// The same host with an agent that starts another firewall.
    pub fn with_firewall(self, firewall: Vec<String>) -> Self {
        let Self { directory: _, agent, internet } = self;
        agent.stop(Farewell::Clear);
        let directory = tempfile::tempdir().unwrap();
        let agent = start(&Settings { firewall, ..settings(directory.path()) }).unwrap();
        Self { directory, agent, internet }
    }

    /// The same host with an agent whose data is on a disk of so many KiB, and that starts another firewall.
    pub fn with_disk(self, size: u32, firewall: Vec<String>) -> Self {
        let Self { directory: _, agent, internet } = self;
        agent.stop(Farewell::Clear);
        let directory = tempfile::tempdir().unwrap();
        shell(&format!("mount -t tmpfs -o size={size}k none {}", directory.path().display()));
        let agent = start(&Settings { firewall, ..settings(directory.path()) }).unwrap();
        Self { directory, agent, internet }
    }

    /// The same host with an agent that asks the resolvers of the host.
    pub fn with_resolvers_of_the_host(self) -> Self {
        let Self { directory: _, agent, internet } = self;
        agent.stop(Farewell::Clear);
        let directory = tempfile::tempdir().unwrap();
        let agent = start(&Settings { upstream_dns: None, ..settings(directory.path()) }).unwrap();
        Self { directory, agent, internet }
    }

    /// Asks, and waits for the answer.
    pub fn ask(&self, request: Request) -> Answer {
        ask(&self.agent, request)
    }

    /// Puts a plan in force, and expects its wall to stand.
    pub fn apply(&self, plan: &HubPlan) -> HubReport {
        let report = self.try_apply(plan);
        assert_eq!(report.wall, WallState::Standing);
        assert_eq!(report.stamp, Some(plan.stamp));
        report
    }

    pub fn try_apply(&self, plan: &HubPlan) -> HubReport {
        match self.ask(Request::Apply { plan: Box::new(plan.clone()) }) {
            Answer::Changed { report } => *report,
            other => panic!("{other:?}"),
        }
    }

    pub fn report(&self, plan: &HubPlan) -> HubReport {
        match self.ask(Request::Report { hub: plan.hub }) {
            Answer::Changed { report } => *report,
            other => panic!("{other:?}"),
        }
    }

    /// What is on record of a hub.
    pub fn flows(&self, plan: &HubPlan) -> Flows {
        let query = FlowQuery { limit: 1000, ..FlowQuery::default() };
        match self.ask(Request::Flows { hub: plan.hub, query }) {
            Answer::Flows { flows } => flows,
            other => panic!("{other:?}"),
        }
    }

    /// The leg of a compute of a plan.
    pub fn inside(&self, leg: &Leg) -> Inside {
        let namespace = bastide_agent::network::names::leg_namespace(leg.compute);
        Inside { namespace: Namespace::open(&namespace).unwrap(), address: leg.address }
    }

    /// Attaches a leg.
    pub fn attach(&self, plan: &HubPlan, name: &str) -> Inside {
        match self.ask(Request::Attach { hub: plan.hub, name: name.into() }) {
            Answer::Attached { leg, namespace } => {
                Inside { namespace: Namespace::open(&namespace).unwrap(), address: leg.address }
            }
            other => panic!("{other:?}"),
        }
    }

    /// An agent started again in the same directory, after the one before left the kernel as it was.
    pub fn restart(self, farewell: Farewell) -> Self {
        let Self { directory, agent, internet } = self;
        agent.stop(farewell);
        // Its threads hold it for a moment longer.
        until("the agent has gone", || Arc::strong_count(&agent) == 1);
        drop(agent);
        let mut agent = start(&settings(directory.path()));
        let deadline = Instant::now() + Duration::from_secs(5);
        while agent.is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
            agent = start(&settings(directory.path()));
        }
        Self { directory, agent: agent.unwrap(), internet }
    }
}

/// What is left on this host. Control groups and disks of computes may be of another Bastide on the real one, from which
/// this host is not parted in these.
pub fn left() -> Leftovers {
    Leftovers { groups: Vec::new(), disks: Vec::new(), ..Leftovers::find().unwrap() }
}

/// Starts an agent that has hubs and no instances.
pub fn start(settings: &Settings) -> Result<Arc<Agent>, AgentError> {
    Agent::start(settings, Engine::none("this is about the wall".to_owned()))
}

pub fn settings(directory: &Path) -> Settings {
    Settings {
        data_directory: directory.to_owned(),
        upstream_dns: Some("198.18.0.2:53".parse().unwrap()),
        internet_ranges: Vec::new(),
        flow_retention: Retention::default(),
        firewall: stub::command(),
        server_socket: directory.join("server.sock").display().to_string(),
    }
}

pub fn ask(agent: &Agent, request: Request) -> Answer {
    let (sender, receiver) = std::sync::mpsc::channel();
    let peer = bastide_agent::agent::Peer { fence: 1, is_root: true };
    agent.handle(peer, request, Box::new(move |answer| sender.send(answer).unwrap_or_default()));
    receiver.recv_timeout(Duration::from_secs(20)).unwrap()
}

impl Internet {
    /// Answers every TCP connection to a port with who asked.
    pub fn serve(&self, port: u16) {
        let listener = self.0.within(|| TcpListener::bind(("0.0.0.0", port))).unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let peer = stream.peer_addr().unwrap().ip();
                    let _ = writeln!(stream, "{peer}");
                    let mut buffer = [0; 512];
                    while let Ok(length @ 1..) = stream.read(&mut buffer) {
                        if stream.write_all(&buffer[..length]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
    }

    /// Answers every question for an address with 203.0.113.7.
    pub fn resolve(&self) {
        let socket = self.0.within(|| UdpSocket::bind("198.18.0.2:53")).unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                let question = &buffer[12..length];
                let name = question.iter().position(|byte| *byte == 0).unwrap();
                let kind = question[name + 2];
                let mut answer = buffer[..2].to_vec();
                answer.extend([0x81, 0x80, 0, 1, 0, u8::from(kind == 1), 0, 0, 0, 0]);
                answer.extend(&question[..name + 5]);
                if kind == 1 {
                    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 7]);
                }
                let _ = socket.send_to(&answer, peer);
            }
        });
    }

    /// A web server.
    pub fn web(&self) {
        let listener = self.0.within(|| TcpListener::bind("203.0.113.7:80")).unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let _ = stream.read(&mut [0; 2048]);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
                });
            }
        });
    }

    /// Gives back every datagram, and counts what arrives.
    pub fn echo(&self, port: u16) -> Arc<AtomicUsize> {
        let count = Arc::new(AtomicUsize::new(0));
        // One socket for each address, so that answers come from where they were sent.
        for address in ADDRESSES.iter().map(|address| address.split('/').next().unwrap()) {
            let socket = self.0.within(|| UdpSocket::bind((address, port))).unwrap();
            let counter = Arc::clone(&count);
            std::thread::spawn(move || {
                let mut buffer = [0; 2048];
                while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                    counter.fetch_add(1, Ordering::SeqCst);
                    let _ = socket.send_to(&buffer[..length], peer);
                }
            });
        }
        count
    }

    /// Counts the packets of an IP protocol that arrive.
    pub fn count(&self, protocol: u8) -> Arc<AtomicUsize> {
        let socket = self.0.within(|| raw(protocol)).unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while rustix::net::recv(&socket, buffer.as_mut_slice(), rustix::net::RecvFlags::empty()).is_ok() {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        count
    }
}

impl Inside {
    pub fn within<T: Send>(&self, deed: impl FnOnce() -> T + Send) -> T {
        self.namespace.within(|| Ok(deed())).unwrap()
    }

    /// Connects, and says what the other side said first; or how it was refused, and after how long.
    pub fn connect(&self, to: &str) -> Result<String, Refusal> {
        let to: SocketAddr = to.parse().unwrap();
        self.within(|| {
            let begin = Instant::now();
            let refuse = |error: io::Error| Refusal { kind: error.kind(), after: begin.elapsed() };
            let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(3)).map_err(refuse)?;
            stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
            first_line(&mut stream).map_err(refuse)
        })
    }

    /// A connection that stays.
    pub fn stream(&self, to: &str) -> TcpStream {
        let to: SocketAddr = to.parse().unwrap();
        let mut stream = self.within(|| TcpStream::connect_timeout(&to, Duration::from_secs(3))).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        first_line(&mut stream).unwrap();
        stream
    }

    /// Sends a datagram and waits for an answer.
    pub fn datagram(&self, to: &str) -> Result<usize, Refusal> {
        self.within(|| {
            let begin = Instant::now();
            let refuse = |error: io::Error| Refusal { kind: error.kind(), after: begin.elapsed() };
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            socket.connect(to).map_err(refuse)?;
            socket.send(b"question").map_err(refuse)?;
            socket.recv(&mut [0; 512]).map_err(refuse)
        })
    }

    /// Sends a packet of any IP protocol, as root of the leg can.
    pub fn send_raw(&self, protocol: u8, to: &str, payload: &[u8]) {
        let to = SocketAddr::new(to.parse().unwrap(), 0);
        self.within(|| {
            let socket = raw(protocol).unwrap();
            let _ = rustix::net::sendto(&socket, payload, rustix::net::SendFlags::empty(), &to);
        });
    }

    /// Whether an echo request is answered.
    pub fn ping(&self, to: &str) -> bool {
        let to = SocketAddr::new(to.parse().unwrap(), 0);
        self.within(|| {
            let socket = raw(1).unwrap();
            // Type, code, checksum, identifier, sequence.
            let request = [8, 0, 0xb5, 0xfe, 0x42, 0, 0, 1];
            rustix::net::sendto(&socket, &request, rustix::net::SendFlags::empty(), &to).unwrap();
            let wait = Some(Duration::from_millis(500));
            rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Recv, wait).unwrap();
            let mut buffer = [0; 256];
            let answer = rustix::net::recv(&socket, buffer.as_mut_slice(), rustix::net::RecvFlags::empty());
            answer.is_ok_and(|_| buffer[20] == 0)
        })
    }

    /// What the firewall says about a connection that it carries: asks it to do something.
    pub fn tell_firewall(&self, words: &str) -> String {
        self.within(|| {
            let mut stream =
                TcpStream::connect_timeout(&"192.88.98.1:443".parse().unwrap(), Duration::from_secs(3)).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            first_line(&mut stream).unwrap();
            writeln!(stream, "{words}").unwrap();
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer
        })
    }
}

/// How a connection was refused.
#[derive(Debug)]
pub struct Refusal {
    pub kind: io::ErrorKind,
    pub after: Duration,
}

/// Expects to be refused, and fast: a client must not hang.
pub fn assert_refused<T: std::fmt::Debug>(outcome: Result<T, Refusal>) {
    let refusal = outcome.unwrap_err();
    assert!(refusal.after < Duration::from_millis(200), "{refusal:?}");
    assert!(refusal.kind != io::ErrorKind::TimedOut && refusal.kind != io::ErrorKind::WouldBlock, "{refusal:?}");
}

fn raw(protocol: u8) -> io::Result<std::os::fd::OwnedFd> {
    use rustix::net::{AddressFamily, Protocol, SocketType, socket};
    let protocol = Protocol::from_raw(std::num::NonZeroU32::new(protocol.into()).unwrap());
    Ok(socket(AddressFamily::INET, SocketType::RAW, Some(protocol))?)
}

fn first_line(stream: &mut TcpStream) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.last() != Some(&b'\n') {
        if stream.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.push(byte[0]);
    }
    Ok(String::from_utf8(line).unwrap().trim().to_owned())
}

/// A hub with nothing in it.
pub fn hub(number: u128) -> HubPlan {
    HubPlan {
        version: PLAN_VERSION,
        hub: HubId(Uuid::from_u128(0xb0b0_0000_0000_0000_0000_0000_0000_0000 + number * 0x0101_0101)),
        name: format!("hub-{number}"),
        stamp: Stamp { fence: 1, revision: 1 },
        mode: Mode::ApprovedOutbound,
        subnet: "10.77.0.0/24".parse().unwrap(),
        legs: Vec::new(),
        names: Vec::new(),
        prefixes: Vec::new(),
        endpoints: Vec::new(),
        services: Vec::new(),
        ends: Vec::new(),
    }
}

pub fn leg(number: u8) -> Leg {
    let compute = ComputeId(Uuid::from_u128(0xc0c0_0000 + u128::from(number)));
    Leg { compute, name: format!("compute-{number}"), project: None, address: Ipv4Addr::new(10, 77, 0, 10 + number) }
}

pub fn name(rule: &str, pattern: &str, ports: &[u16]) -> NameRule {
    NameRule { rule: RuleName(rule.into()), pattern: pattern.parse().unwrap(), ports: ports.to_vec() }
}

pub fn prefix(rule: &str, action: Action, protocol: Protocol, prefix: &str, ports: &[(u16, u16)]) -> PrefixRule {
    PrefixRule {
        rule: RuleName(rule.into()),
        action,
        protocol,
        prefixes: vec![prefix.parse().unwrap()],
        ports: ports.iter().map(|&(first, last)| PortRange { first, last }).collect(),
    }
}

pub fn endpoint(rule: &str, host: u8, port: u16) -> Endpoint {
    Endpoint {
        rule: RuleName(rule.into()),
        names: Vec::new(),
        address: Ipv4Addr::new(10, 77, 0, host),
        ports: vec![port],
        target: None,
    }
}

pub fn service(name: &str, port: u16) -> Service {
    Service { name: name.parse().unwrap(), port, target: bastide_plan::hub_plan::Target::Server }
}

/// The same plan one revision later.
pub fn next(mut plan: HubPlan, change: impl FnOnce(&mut HubPlan)) -> HubPlan {
    plan.stamp.revision += 1;
    change(&mut plan);
    plan
}

pub fn shell(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Waits for something that must happen within two seconds, and says after how long it did.
pub fn until(what: &str, is_so: impl FnMut() -> bool) -> Duration {
    within(Duration::from_secs(4), what, is_so)
}

/// Waits for something, and says after how long it happened.
pub fn within(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < limit, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    begin.elapsed()
}

/// Of the internet; the last two are not what anybody should reach there.
const ADDRESSES: [&str; 5] =
    ["198.18.0.2/24", "203.0.113.7/32", "203.0.113.200/32", "169.254.169.254/32", "10.0.0.99/32"];

const INSIDE: &str = "BASTIDE_LAB";
