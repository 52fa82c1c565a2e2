//! Service tags: how soon 20,000 prefixes are in force, and what they cost those who pass.

use std::time::Instant;

use bastide_agent::network::ruleset::{Ruleset, ruleset};
use bastide_agent::network::table::Table;
use bastide_benches::numbers::{median, percentile};
use bastide_benches::report::{Aim, Report};
use bastide_plan::RuleName;
use bastide_plan::hub_plan::{Action, HubPlan, PortRange, PrefixRule, Protocol};
use ipnet::Ipv4Net;

use crate::firewall::facts;
use crate::lab::Lab;
use crate::load::Way;
use crate::paths::{Effort, metrics};
use crate::support::inside;

/// From a plan to a rule set that the kernel was read back to hold.
pub fn apply(lab: &mut Lab, rounds: usize, report: &mut Report) {
    report.progress("20,000 prefixes");
    let (few, many) = plans(lab);
    let facts = facts();
    lab.rules("");
    let mut times = inside(&format!("{}r", lab.tag), || {
        let mut table = Table::open().unwrap();
        let mut hold = |plan: &HubPlan| {
            let begin = Instant::now();
            table.hold(&Ruleset::new(plan, &facts)).unwrap();
            begin.elapsed().as_secs_f64() * 1e3
        };
        let mut times = Vec::new();
        for _ in 0..rounds {
            hold(&few);
            times.push(hold(&many));
        }
        times
    });
    let (time, slowest) = (median(&mut times), percentile(&mut times, 100));
    let what = format!("20,000 prefixes in 100 tags, from the plan to the kernel, median and slowest of {rounds}");
    report.add(&what, format!("{time:.0}, {slowest:.0} ms"), Some(Aim::new("< 300 ms", time < 300.0)));
}

/// What passes by the last of a hundred tags against what passes by a tag of one prefix, and nothing else there.
pub fn throughput(lab: &mut Lab, effort: &Effort, report: &mut Report) {
    let (few, many) = plans(lab);
    let facts = facts();
    let rules = [&few, &many].map(|plan| ruleset(plan, &facts));
    for metric in metrics(&["d1", "d8", "new"]) {
        report.progress(&format!("beside 20,000 prefixes: {}", metric.what));
        let (mut ratios, mut values) = (Vec::new(), [Vec::new(), Vec::new()]);
        for round in 0..effort.rounds {
            let mut found = [0.0; 2];
            for turn in 0..2 {
                let number = (turn + round) % 2;
                lab.rules(&rules[number]);
                found[number] = lab.measure_surely(metric.load, Way::Internet, effort.time);
                values[number].push(found[number]);
            }
            ratios.push(found[1] / found[0]);
        }
        let ratio = median(&mut ratios);
        let [few, many] = values.map(|mut values| median(&mut values));
        let what = format!("{} by the last of these tags to by one prefix alone", metric.what);
        let is_met = ratio >= 0.95;
        report.add(
            &what,
            format!("{ratio:.2} ({many:.1}, {few:.1} {})", metric.unit),
            Some(Aim::new(">= 0.95", is_met)),
        );
    }
}

/// One tag of one prefix, and a hundred tags of two hundred, the last of which has that prefix.
fn plans(lab: &mut Lab) -> (HubPlan, HubPlan) {
    let internet: Ipv4Net = "198.18.1.0/24".parse().unwrap();
    let ports = [80, 443].map(|port| PortRange { first: port, last: port }).to_vec();
    let tag = |number: usize, prefixes| PrefixRule {
        rule: RuleName(format!("tag-{number:03}")),
        action: Action::Allow,
        protocol: Protocol::Tcp,
        prefixes,
        ports: ports.clone(),
    };
    let plan = lab.firewall().plan(&[]);
    // Every second /24, so that no two are one.
    let prefix = |number: usize| Ipv4Net::new((0x0b00_0000 + u32::try_from(number).unwrap() * 512).into(), 24).unwrap();
    let mut many: Vec<_> =
        (0..TAGS).map(|each| tag(each, (each * SIZE..(each + 1) * SIZE).map(prefix).collect())).collect();
    if let Some(last) = many.last_mut().and_then(|tag| tag.prefixes.last_mut()) {
        *last = internet;
    }
    (HubPlan { prefixes: vec![tag(0, vec![internet])], ..plan.clone() }, HubPlan { prefixes: many, ..plan })
}

const TAGS: usize = 100;
const SIZE: usize = 200;
