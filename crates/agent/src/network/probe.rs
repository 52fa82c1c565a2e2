//! Whether a wall can be built on this host: builds a small one and tries it.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::mpsc::channel;
use std::time::Duration;

use bastide_plan::hub_plan::{
    Action, ComputeId, HubId, Leg, Mode, PLAN_VERSION, PrefixRule, Protocol, RuleName, Stamp,
};
use bastide_plan::{AddressFilter, HubPlan};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{UnshareFlags, gettid, unshare_unsafe};
use uuid::Uuid;

use super::facts::{NodeFacts, Slot};
use super::interface::{Interface, Route, settle};
use super::names::{INNER, UPLINK, leg_interface};
use super::namespace::Namespace;
use super::netlink::{endings_socket, log_socket};
use super::ruleset::{Ruleset, TLS_PORT};
use super::socket::transparent_listener;
use super::table::Table;
use super::{layout, namespace::NamespaceError};

/// Builds a wall in the network namespace of the calling thread, which must be a fresh one, and tries it from a leg: what
/// a rule by name would decide about arrives at the firewall, the rest is refused at once, and the kernel's log says so.
/// Gives a sentence about what was seen. Everything vanishes with the namespace.
pub fn probe() -> Result<String, Box<dyn Error>> {
    let (plan, slot) = (plan(), Slot::free(|_| false).ok_or("no slot")?);
    let facts = NodeFacts { filter: AddressFilter::default(), slot, externals: std::collections::BTreeSet::new() };
    let mut table = Table::open()?;
    table.hold(&Ruleset::new(&plan, &facts)).map_err(|error| format!("the rule set: {error}"))?;
    settle(&layout::HUB_SETTINGS).map_err(|error| format!("the settings: {error}"))?;
    table.netfilter().connections(2).map_err(|error| format!("the list of connections: {error}"))?;
    endings_socket().map_err(|error| format!("the ends of connections (ctnetlink): {error}"))?;
    let log = log_socket().map_err(|error| format!("the log of refusals (nfnetlink_log): {error}"))?;
    let listener = transparent_listener(TLS_PORT).map_err(|error| format!("a transparent listener: {error}"))?;
    let listener = TcpListener::from(listener);
    std::thread::scope(|scope| {
        let (born, wait) = channel();
        let (done, until) = channel::<()>();
        scope.spawn(move || {
            // SAFETY: descriptors are not unshared; the namespace is this thread's alone, and ends with it.
            let outcome = unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(io::Error::from);
            let leg = outcome.and_then(|()| Namespace::current());
            let _ = born.send(leg.map(|leg| (leg, gettid())));
            let _ = until.recv();
        });
        let (leg, thread) = wait.recv()??;
        let outcome = attempt(&plan, slot, &leg, &thread.as_raw_nonzero().to_string(), &listener);
        drop(done);
        outcome
    })?;
    let second = Timespec { tv_sec: 1, tv_nsec: 0 };
    if poll(&mut [PollFd::new(&log.as_fd(), PollFlags::IN)], Some(&second))? == 0 {
        return Err("a refused connection is not in the kernel's log: use a kernel with CONFIG_NFT_LOG".into());
    }
    Ok("a wall was built; what it should carry was carried, the rest was refused and logged".to_owned())
}

fn attempt(
    plan: &HubPlan,
    slot: Slot,
    leg: &Namespace,
    leg_thread: &str,
    listener: &TcpListener,
) -> Result<(), Box<dyn Error>> {
    let mut wanted = layout::hub(plan, slot, std::process::id());
    // A leg, and no way out: what this host is connected to is not touched.
    wanted.interfaces.remove(UPLINK);
    wanted.routes.remove(&Route::default_by(slot.host_address(), UPLINK));
    let inner = plan.legs.first().ok_or("no leg")?;
    let name = leg_interface(inner.compute);
    let made_by = format!("type veth peer name {INNER} netns {leg_thread}");
    wanted.interfaces.insert(name.clone(), Interface::up(made_by, []));
    // Without a way to anywhere, nothing is routed far enough to be refused.
    wanted.routes.insert(Route { destination: "203.0.113.0/24".parse()?, ..Route::to(inner.address, &name) });
    wanted.establish().map_err(|error| format!("interfaces: {error}"))?;
    leg.within(|| Ok(layout::leg(inner, plan.gateway()).establish()))??;
    let carried = connect(leg, 443)?;
    let arrived = match carried {
        Ok(_) => listener.accept()?.0.local_addr()?,
        Err(error) => return Err(format!("a connection is not carried to the firewall (TPROXY): {error}").into()),
    };
    if arrived != SocketAddr::from((OUTSIDE, 443)) {
        return Err(format!("a connection is carried to the firewall as one to {arrived} (TPROXY)").into());
    }
    match connect(leg, 22)? {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(format!("a connection that no rule admits is not refused at once: {error}").into()),
        Ok(_) => Err("a connection that no rule admits is let through".into()),
    }
}

fn connect(leg: &Namespace, port: u16) -> Result<io::Result<TcpStream>, NamespaceError> {
    let to = SocketAddrV4::new(OUTSIDE, port).into();
    leg.within(|| Ok(TcpStream::connect_timeout(&to, Duration::from_secs(2))))
}

fn plan() -> HubPlan {
    let leg = Leg {
        compute: ComputeId(Uuid::nil()),
        name: "probe".to_owned(),
        project: None,
        address: Ipv4Addr::new(10, 77, 0, 2),
    };
    HubPlan {
        version: PLAN_VERSION,
        hub: HubId(Uuid::nil()),
        name: "probe".to_owned(),
        stamp: Stamp::NONE,
        mode: Mode::ApprovedOutbound,
        subnet: ipnet::Ipv4Net::new_assert(Ipv4Addr::new(10, 77, 0, 0), 24),
        legs: vec![leg],
        names: Vec::new(),
        // What lets through by address has the kernel tell the end of it.
        prefixes: vec![PrefixRule {
            rule: RuleName("probe".to_owned()),
            action: Action::Allow,
            protocol: Protocol::Tcp,
            prefixes: vec![ipnet::Ipv4Net::new_assert(OTHER, 32)],
            ports: Vec::new(),
        }],
        endpoints: Vec::new(),
        services: Vec::new(),
        ends: Vec::new(),
    }
}

/// Of a range for documentation (RFC 5737): nobody is there.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
