//! The data path of a hub beside a raw kernel forward and beside what others put in its place (egress.md 2, 3 and 8): medians
//! of turns, as ratios to the raw forward of the same turn. And what belongs to it: relays, the flow log, service tags,
//! `explain`.
//!
//! ```text
//! cargo bench -p bastide-benches --bench egress -- [paths] [relay] [log] [tags] [explain]
//!     [--rounds N] [--seconds S] [--names N] [--only METRIC] [--peers nginx,haproxy,squid,sniproxy,envoy|none]
//! ```
//!
//! Three namespaces on one machine: a client, the hub with its firewall in a process of its own and with the rule set that an
//! agent makes, an internet. Needs root. A peer that is not installed is said to be missing; `make bench` installs all. Prints
//! tables and succeeds whatever the numbers are.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "a bench that cannot measure stops, and is not documented for others"
)]

mod explain;
mod firewall;
mod iperf;
mod lab;
mod load;
mod log;
mod paths;
mod peers;
mod server;
mod site;
#[path = "../../crates/firewall/tests/support/mod.rs"]
mod support;
mod tags;
mod wrk;

use std::time::Duration;

use bastide_benches::numbers::percentile;
use bastide_benches::report::{Aim, Report};
use lab::{Lab, Plane};
use load::Way;
use paths::{Column, Effort, measure, metrics};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let option = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1).cloned()
    };
    if let Some(control) = option("--firewall") {
        return firewall::run_process(control.parse().unwrap(), !arguments.iter().any(|word| word == "--forget"));
    }
    if !rustix::process::geteuid().is_root() {
        println!("egress: not measured, because only root can make network namespaces");
        return;
    }
    let number = |name: &str, default: usize| option(name).map_or(default, |value| value.parse().unwrap());
    let effort = Effort { rounds: number("--rounds", 5), time: Duration::from_secs(number("--seconds", 1) as u64) };
    let rules = number("--names", 10_000);
    let is_some_asked = PARTS.iter().any(|part| arguments.iter().any(|word| word == part));
    let is_asked = |part: &str| !is_some_asked || arguments.iter().any(|word| word == part);
    let mut lab = Lab::new(rules);
    let mut report = Report::begin("egress");
    if is_asked("paths") {
        lab.invite(option("--peers").as_deref().unwrap_or("all"));
        paths(&mut lab, option("--only").as_deref(), &effort, rules, &mut report);
        lab.peers.clear();
    }
    if is_asked("relay") {
        relay(&lab, &effort);
    }
    if is_asked("log") {
        log::cost(&mut lab, effort.rounds * 2, effort.time, &mut report);
        log::soak(&mut lab, Duration::from_secs(10), &mut report);
    }
    if is_asked("tags") {
        tags::apply(&mut lab, effort.rounds * 2 + 1, &mut report);
        tags::throughput(&mut lab, &effort, &mut report);
    }
    if is_asked("explain") {
        explain::explain(&mut lab, rules, &mut report);
    }
    report.print();
}

/// All peers beside the firewall, and what it takes to change one rule.
fn paths(lab: &mut Lab, only: Option<&str>, effort: &Effort, rules: usize, report: &mut Report) {
    let column = |title: &str, plane| Column { title: title.to_owned(), plane, way: Way::Internet };
    let mut columns = vec![column("raw", Plane::Raw), column("wall", Plane::Wall)];
    columns.extend(lab.peers.iter().enumerate().map(|(number, peer)| column(peer.name, Plane::Peer(number))));
    if !lab.has_tls() {
        println!("TLS is not measured: it takes nginx and wrk (Debian: nginx, wrk)");
    }
    let only: Vec<&str> = only.into_iter().collect();
    measure(lab, &columns, &metrics(&only), effort).print(Some(1));
    iperf3(lab, report);
    let memory = lab.firewall().memory();
    let what = format!("memory of the firewall after these loads, with {rules} names");
    report.add(&what, format!("{memory:.1} MiB"), Some(Aim::new("<= 15 MiB", memory <= 15.0)));
    let mut changes = lab.changes(CHANGES);
    let (p50, p99) = (percentile(&mut changes, 50), percentile(&mut changes, 99));
    let what = format!("one name more among {rules}, from the message to \"applied\", p50, p99 of {CHANGES}");
    report.add(&what, format!("{p50:.1}, {p99:.1} ms"), Some(Aim::new("< 5 ms", p99 < 5.0)));
}

/// What leads to a private endpoint beside what is spliced by name.
fn relay(lab: &Lab, effort: &Effort) {
    let column = |title: &str, plane, way| Column { title: title.to_owned(), plane, way };
    let columns = [
        column("wall", Plane::Wall, Way::Internet),
        column("relay", Plane::Wall, Way::Endpoint),
        column("raw", Plane::Raw, Way::Internet),
    ];
    let metrics = metrics(&["d1", "d8", "u1", "new", "ping"]);
    println!("\nRelays, to the wall's plane by name:");
    measure(lab, &columns, &metrics, effort).print(None);
}

/// How fast iperf3 finds the raw forward: the bench's own client must not find it much faster or slower.
fn iperf3(lab: &Lab, report: &mut Report) {
    lab.switch(Plane::Raw);
    match iperf::run(&lab.tag) {
        Ok(rate) => report.add("iperf3, one stream down the raw forward", format!("{rate:.1} Gbit/s"), None),
        Err(error) => println!("iperf3 does not check the raw forward: {error}"),
    }
}

const PARTS: [&str; 5] = ["paths", "relay", "log", "tags", "explain"];
const CHANGES: usize = 50;
