//! The data path beside a raw kernel forward of the same minute (egress.md 2 and 8): medians of pairs, as ratios.
//!
//! ```text
//! cargo bench -p bastide-firewall --bench egress -- [--rounds N] [--seconds S] [--names N] [--only METRIC]
//! ```
//!
//! Three namespaces on one machine: a client, the hub with its firewall in a process of its own, an internet. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::cast_precision_loss, reason = "a bench")]

mod lab;
mod load;
mod server;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use lab::{Lab, Plane};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(place) = arguments.iter().position(|argument| argument == "--worker") {
        return lab::run_worker(arguments[place + 1].parse().unwrap());
    }
    let number = |name: &str, default: usize| {
        let place = arguments.iter().position(|argument| argument == name);
        place.map_or(default, |place| arguments[place + 1].parse().unwrap())
    };
    let rounds = number("--rounds", 5);
    let time = Duration::from_secs(number("--seconds", 2) as u64);
    let only = arguments.iter().position(|argument| argument == "--only").map(|place| arguments[place + 1].clone());
    let metrics: Vec<_> =
        load::METRICS.iter().filter(|(name, ..)| only.as_ref().is_none_or(|only| only == name)).collect();
    let mut lab = Lab::new();
    lab.approve(number("--names", 0));

    let mut ratios: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut values: BTreeMap<&str, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    for round in 0..rounds {
        for (name, unit, measure) in &metrics {
            let run = |plane| {
                lab.switch(plane);
                let before = lab.worker_seconds();
                let value = lab.inside(|| measure(time));
                (value, lab.worker_seconds() - before)
            };
            // Each pair in the other order than the one before: what warms up warms both.
            let (raw, (wall, seconds)) = if round % 2 == 0 {
                let raw = run(Plane::Raw).0;
                (raw, run(Plane::Wall))
            } else {
                let wall = run(Plane::Wall);
                (run(Plane::Raw).0, wall)
            };
            println!("{round} {name:12} raw {raw:12.2} wall {wall:12.2} {unit:8} ratio {:.3}", wall / raw);
            ratios.entry(name).or_default().push(wall / raw);
            let (raws, walls) = values.entry(name).or_default();
            raws.push(raw);
            walls.push(wall);
            if *name == "d1" {
                values.entry("CPU s/GB").or_default().1.push(seconds / (wall / 8.0 * time.as_secs_f64()));
            }
        }
    }
    println!("\n| metric | raw | wall | ratio |\n|---|---|---|---|");
    for (name, unit, _) in &metrics {
        let (raws, walls) = &values[name];
        println!("| {name} ({unit}) | {:.2} | {:.2} | **{:.2}** |", median(raws), median(walls), median(&ratios[name]));
    }
    if let Some((_, seconds)) = values.get("CPU s/GB") {
        println!("| firewall's CPU, s/GB (d1) | | {:.2} | |", median(seconds));
    }
    println!("| firewall's memory, MiB | | {:.1} | |", lab.worker_memory());
    let changes = lab.changes(50);
    println!("| one name more, applied, ms p50 / p99 | | {:.2} / {:.2} | |", changes.0, changes.1);
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
