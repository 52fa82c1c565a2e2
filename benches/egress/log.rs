//! What the flow log costs, and what becomes of it when more comes than the data path could ever carry.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bastide_benches::numbers::{median, percentile};
use bastide_benches::report::{Aim, Report};
use bastide_firewall::flow_log::FlowLog;
use bastide_plan::RuleName;
use bastide_plan::flow::{FlowKind, FlowQuery, FlowRecord, FlowVerdict};

use crate::firewall::{Firewall, HUB, Log};
use crate::lab::{Lab, Plane};
use crate::load::{Load, Way, connections};

/// New connections a second and the firewall's processor time for each, with the log collected and written to disk, and with a
/// log that keeps nothing: pairs, each in the other order than the one before.
pub fn cost(lab: &mut Lab, pairs: usize, time: Duration, report: &mut Report) {
    lab.switch(Plane::Wall);
    let kept = Log::Kept(Arc::clone(&lab.store));
    let (mut ratios, mut added) = (Vec::new(), Vec::new());
    for pair in 0..pairs {
        report.progress(&format!("the log's cost, pair {} of {pairs}", pair + 1));
        let mut run = |log: &Log| {
            lab.restart(log);
            // What the first connections find out for those after them.
            lab.measure_surely(Load::Own(connections), Way::Internet, WARMING);
            let before = lab.seconds(Plane::Wall);
            let rate = lab.measure_surely(Load::Own(connections), Way::Internet, time);
            (rate, (lab.seconds(Plane::Wall) - before) * 1e6 / (rate * time.as_secs_f64()))
        };
        let (with, without) = if pair % 2 == 0 {
            let with = run(&kept);
            (with, run(&Log::None))
        } else {
            let without = run(&Log::None);
            (run(&kept), without)
        };
        ratios.push(with.0 / without.0);
        added.push(with.1 - without.1);
    }
    lab.restart(&kept);
    let (ratio, added) = (median(&mut ratios), median(&mut added));
    let aim = Aim::new("> 0.97", ratio > 0.97);
    report.add(
        &format!("new connections with the log on disk to without a log, {pairs} pairs"),
        format!("{ratio:.3}"),
        Some(aim),
    );
    report.add("... the firewall's processor time that it adds to a connection", format!("{added:.1} µs"), None);
}

/// Feeds the log of a firewall as its threads do, faster than they could, while the agent's half collects and writes it.
pub fn soak(lab: &mut Lab, time: Duration, report: &mut Report) {
    report.progress("the log under 50,000 flows a second");
    lab.stop();
    lab.store.settle();
    let before = lab.flows(FlowQuery { limit: 1, ..FlowQuery::default() });
    let log = Arc::new(FlowLog::default());
    let dropped = Arc::new(AtomicU64::new(0));
    let firewall = Firewall::in_this_process(&lab.tag, &Log::None, Arc::clone(&log));
    let (store, counter) = (Arc::clone(&lab.store), Arc::clone(&dropped));
    firewall.control.collect(move |records, lost, done| {
        counter.fetch_add(lost, Ordering::Relaxed);
        store.keep(HUB, records, lost, done);
    });
    let started = Instant::now();
    let mut pushes: Vec<f64> = thread::scope(|scope| {
        let feeders: Vec<_> = (0..FEEDERS)
            .map(|feeder| {
                scope.spawn({
                    let log = &log;
                    move || feed(log, feeder, time)
                })
            })
            .collect();
        feeders.into_iter().flat_map(|feeder| feeder.join().unwrap()).collect()
    });
    let took = started.elapsed();
    let fed = pushes.len() as u64;
    let ended = Instant::now();
    let (kept, dropped) = loop {
        let kept = lab.flows(FlowQuery { limit: 1, ..FlowQuery::default() }).next - before.next;
        let dropped = dropped.load(Ordering::Relaxed);
        if kept + dropped == fed {
            break (kept, dropped);
        }
        assert!(ended.elapsed() < PATIENCE, "{kept} kept, {dropped} counted, of {fed}");
        thread::sleep(Duration::from_millis(50));
    };
    drop(firewall);
    lab.restart(&Log::Kept(Arc::clone(&lab.store)));
    let rate = fed as f64 / took.as_secs_f64();
    report.add(
        "flows written to the log a second",
        format!("{rate:.0}"),
        Some(Aim::new("50,000", rate > 0.98 * RATE as f64)),
    );
    report.add("... kept on disk, let go and counted", format!("{kept}, {dropped} of {fed}"), None);
    let (p50, p999, most) = (percentile(&mut pushes, 50), pushes[pushes.len() * 999 / 1000], pushes[pushes.len() - 1]);
    let aim = Aim::new("never waits", p999 < 1000.0);
    report.add(
        "... a thread of the data path writes one in, p50, p99.9, longest",
        format!("{p50:.1}, {p999:.1}, {most:.0} µs"),
        Some(aim),
    );
}

/// Writes its share of the flows, in portions of a millisecond; how long each took, in microseconds.
fn feed(log: &FlowLog, feeder: u8, time: Duration) -> Vec<f64> {
    let portion = RATE / 1000 / usize::from(FEEDERS);
    let started = Instant::now();
    let mut times = Vec::new();
    for portions in 0.. {
        let due = Duration::from_millis(portions);
        if due >= time {
            break;
        }
        if let Some(early) = due.checked_sub(started.elapsed()) {
            thread::sleep(early);
        }
        for _ in 0..portion {
            let record = record(feeder, times.len());
            let begin = Instant::now();
            log.push(record);
            times.push(begin.elapsed().as_secs_f64() * 1e6);
        }
    }
    times
}

/// A connection like those of the data path, to a name of its own.
fn record(feeder: u8, number: usize) -> FlowRecord {
    FlowRecord {
        at: std::time::UNIX_EPOCH.elapsed().map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(0)),
        duration: 12,
        compute: Some("dev".into()),
        project: None,
        source: [100, 127, feeder, u8::try_from(number % 4).unwrap_or(0)].into(),
        kind: FlowKind::Tls,
        name: Some(format!("host-{number}.example.org")),
        address: Some([198, 18, 1, 1].into()),
        port: 443,
        verdict: FlowVerdict::Allowed,
        rule: Some(RuleName("hosts".into())),
        reason: None,
        sent: 1200,
        received: 5000,
        count: 1,
    }
}

const FEEDERS: u8 = 2;
/// Flows a second.
const RATE: usize = 50_000;
const WARMING: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(20);
