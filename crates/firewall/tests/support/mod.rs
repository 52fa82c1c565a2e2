//! The part of an agent, for tests and benches: namespaces, listeners, and the talk with a firewall.
#![allow(dead_code, reason = "each of those who share this needs a part of it")]

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, mem, net, thread};

use bastide_plan::flow::FlowRecord;
use bastide_plan::hub_plan::{ComputeId, HubId, HubPlan, Leg, Mode, NameRule, PLAN_VERSION, Stamp};
use bastide_plan::name_change::NameChange;
use bastide_plan::worker::{FromWorker, Purpose, ToWorker, Transport};
use bastide_plan::{RuleName, frame};
use rustix::net::sockopt::{set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The compute's address.
pub const LEG: Ipv4Addr = Ipv4Addr::new(100, 127, 0, 2);
/// The hub's address inside.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(100, 127, 0, 1);
/// Where the hub has private endpoints.
pub const ENDPOINT: Ipv4Addr = Ipv4Addr::new(100, 127, 255, 1);
/// Where the internet's name server is.
const NAME_SERVER: (Ipv4Addr, u16) = (Ipv4Addr::new(198, 18, 0, 2), 53);

/// The agent's end of the socket to a firewall.
pub struct Control {
    socket: Arc<Mutex<UnixStream>>,
    answers: Mutex<Receiver<FromWorker>>,
    keep: Arc<Mutex<Option<Keep>>>,
    revision: i64,
    applied: Option<HubPlan>,
}

/// To be called when records are kept.
pub type Done = Box<dyn FnOnce() + Send>;

/// Keeps records, and how many were let go.
type Keep = Box<dyn Fn(Vec<FlowRecord>, u64, Done) + Send>;

impl Control {
    /// Speaks to a firewall in the namespace `hub`; gives it the sockets it asks for.
    pub fn new(socket: UnixStream, hub: String) -> Self {
        let (sender, answers) = channel();
        let writer = Arc::new(Mutex::new(socket.try_clone().unwrap()));
        let keep = Arc::<Mutex<Option<Keep>>>::default();
        let control = Self {
            socket: Arc::clone(&writer),
            answers: Mutex::new(answers),
            keep: Arc::clone(&keep),
            revision: 0,
            applied: None,
        };
        thread::spawn(move || {
            let mut socket = socket;
            while let Some(answer) = read(&mut socket) {
                match answer {
                    FromWorker::NeedUpstream { transport } => {
                        let upstream = inside(&hub, || upstream(transport));
                        send(&writer, &ToWorker::Upstream { transport }, Some(upstream.as_fd()));
                    }
                    FromWorker::Collected { records, dropped, .. } => {
                        let writer = Arc::clone(&writer);
                        let done = Box::new(move || {
                            let more = frame::encode(&ToWorker::Collect { is_last: false }).unwrap();
                            // It may have ended since.
                            let _ = writer.lock().unwrap().write_all(&more);
                        });
                        keep.lock().unwrap().as_ref().unwrap()(records, dropped, done);
                    }
                    // Who ends no longer listens.
                    answer => drop(sender.send(answer)),
                }
            }
        });
        control
    }

    /// Says something to the firewall.
    pub fn send(&self, message: &ToWorker) {
        send(&self.socket, message, None);
    }

    /// Collects what happens, as an agent does: what comes next when the last is kept.
    pub fn collect(&self, keep: impl Fn(Vec<FlowRecord>, u64, Done) + Send + 'static) {
        *self.keep.lock().unwrap() = Some(Box::new(keep));
        self.send(&ToWorker::Collect { is_last: false });
    }

    /// The next answer, which must come soon.
    pub fn answer(&self) -> FromWorker {
        self.answers.lock().unwrap().recv_timeout(Duration::from_secs(5)).unwrap()
    }

    /// Hands over the listeners of a hub, made in the namespace of this thread.
    pub fn hand_over_listeners(&self) {
        let datagrams = net::UdpSocket::bind((GATEWAY, 53)).unwrap();
        let streams = net::TcpListener::bind((GATEWAY, 53)).unwrap();
        for (purpose, listener) in [
            (Purpose::Tls, transparent(8443)),
            (Purpose::Tls, transparent(8443)),
            (Purpose::Http, transparent(8080)),
            (Purpose::Http, transparent(8080)),
            (Purpose::DnsUdp, datagrams.into()),
            (Purpose::DnsTcp, streams.into()),
        ] {
            self.hand_over(purpose, &listener);
        }
    }

    /// Hands over a listener.
    pub fn hand_over(&self, purpose: Purpose, listener: &OwnedFd) {
        send(&self.socket, &ToWorker::Listener { purpose }, Some(listener.as_fd()));
    }

    /// A plan that approves these names, by rules of the same names.
    pub fn plan(&mut self, names: &[&str]) -> HubPlan {
        self.revision += 1;
        let mut names: Vec<_> = names.iter().copied().map(rule).collect();
        names.sort_by(|one, other| one.rule.cmp(&other.rule));
        let leg = Leg {
            compute: ComputeId(uuid::Uuid::from_u128(2)),
            name: "dev".to_owned(),
            project: Some("churn".to_owned()),
            address: LEG,
        };
        HubPlan {
            version: PLAN_VERSION,
            hub: HubId(uuid::Uuid::nil()),
            name: "hub".to_owned(),
            stamp: Stamp { fence: 1, revision: self.revision },
            mode: Mode::ApprovedOutbound,
            subnet: "100.127.0.0/16".parse().unwrap(),
            legs: vec![leg],
            names,
            prefixes: Vec::new(),
            endpoints: Vec::new(),
            services: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Decides by a plan, told as an agent tells it; done when the firewall says so.
    pub fn apply(&mut self, plan: HubPlan) {
        let expected = plan.stamp;
        let change = self.applied.as_ref().and_then(|applied| NameChange::between(applied, &plan));
        self.applied = Some(plan.clone());
        self.send(&match change {
            Some(change) => ToWorker::Change { change },
            None => ToWorker::Plan { plan: Box::new(plan), attached: Vec::new() },
        });
        match self.answer() {
            FromWorker::Applied { stamp, .. } => assert_eq!(stamp, expected),
            other => panic!("{other:?}"),
        }
    }

    /// Says good-bye.
    pub fn end(&self) {
        let _ = self.socket.lock().unwrap().shutdown(net::Shutdown::Both);
    }
}

/// Runs `work` on a thread in a network namespace.
pub fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let place = fs::File::open(format!("/run/netns/{namespace}")).unwrap();
            move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn rule(name: &str) -> NameRule {
    NameRule { rule: RuleName(name.to_owned()), pattern: name.parse().unwrap(), ports: vec![80, 443] }
}

fn transparent(port: u16) -> OwnedFd {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
    set_socket_reuseaddr(&socket, true).unwrap();
    set_socket_reuseport(&socket, true).unwrap();
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(mem::size_of_val(&on)).unwrap();
    // SAFETY: the option takes an int, and is given the address and the length of one that outlives the call.
    let outcome = unsafe {
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&socket);
        libc::setsockopt(descriptor, libc::SOL_IP, libc::IP_TRANSPARENT, (&raw const on).cast(), length)
    };
    assert_eq!(outcome, 0);
    rustix::net::bind(&socket, &net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).unwrap();
    rustix::net::listen(&socket, 4096).unwrap();
    socket
}

fn upstream(transport: Transport) -> OwnedFd {
    match transport {
        Transport::Udp => {
            let socket = net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
            socket.connect(NAME_SERVER).unwrap();
            socket.into()
        }
        Transport::Tcp => net::TcpStream::connect(NAME_SERVER).unwrap().into(),
    }
}

fn send(control: &Mutex<UnixStream>, message: &ToWorker, descriptor: Option<BorrowedFd<'_>>) {
    let bytes = frame::encode(message).unwrap();
    let mut control = control.lock().unwrap();
    let mut sent = 0;
    if let Some(descriptor) = descriptor {
        let descriptors = [descriptor];
        let mut space = [mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
        sent = sendmsg(&*control, &[std::io::IoSlice::new(&bytes)], &mut ancillary, SendFlags::empty()).unwrap();
    }
    control.write_all(&bytes[sent..]).unwrap();
}

fn read(control: &mut UnixStream) -> Option<FromWorker> {
    let mut head = [0; frame::HEAD];
    control.read_exact(&mut head).ok()?;
    let mut json = vec![0; frame::length(head).unwrap()];
    control.read_exact(&mut json).ok()?;
    Some(frame::decode(&json).unwrap())
}

/// Runs a script, which must succeed.
pub fn shell(script: &str) {
    let mut child = Command::new("sh").args(["-eu"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{script}");
}

/// The namespaces, as the agent makes them: only what these tests are about.
pub fn make(tag: &str) -> String {
    format!(
        r"
for n in c r s; do ip netns add {tag}$n; ip -n {tag}$n link set lo up; done
ip -n {tag}c link add up0 type veth peer name leg netns {tag}r
ip -n {tag}r link add out type veth peer name net netns {tag}s
ip -n {tag}c addr add 100.127.0.2/16 dev up0
ip -n {tag}c link set up0 up
ip -n {tag}r addr add 100.127.0.1/16 dev leg
ip -n {tag}r addr add 100.127.255.1/32 dev leg
ip -n {tag}r link set leg up
ip -n {tag}r addr add 198.18.0.1/24 dev out
ip -n {tag}r link set out up
ip -n {tag}s addr add 198.18.0.2/24 dev net
ip -n {tag}s link set net up
ip -n {tag}s addr add 198.18.1.1/32 dev lo
ip -n {tag}s addr add 198.18.1.2/32 dev lo
ip -n {tag}s addr add 198.18.1.3/32 dev lo
ip -n {tag}c route add default via 100.127.0.1
ip -n {tag}r route add default via 198.18.0.2
ip -n {tag}r rule add fwmark 1 lookup 100
ip -n {tag}r route add local 0.0.0.0/0 dev lo table 100
ip netns exec {tag}r sysctl -q net.ipv4.ip_forward=1
ip netns exec {tag}r nft -f - <<'END'
table inet wall {{
    chain intercept {{
        type filter hook prerouting priority mangle; policy accept;
        iifname leg tcp dport 80 tproxy ip to 127.0.0.1:8080 meta mark set 1 accept
        iifname leg tcp dport 443 tproxy ip to 127.0.0.1:8443 meta mark set 1 accept
    }}
    chain forward {{ type filter hook forward priority filter; policy drop; }}
}}
END
"
    )
}
