//! How long the firewall takes to say what it would do, asked over its control socket.

use std::time::Instant;

use bastide_benches::numbers::percentile;
use bastide_benches::report::{Aim, Report};
use bastide_plan::explanation::Question;
use bastide_plan::worker::{FromWorker, ToWorker};

use crate::lab::Lab;

/// Asks about approved and unapproved names, and addresses.
pub fn explain(lab: &mut Lab, rules: usize, report: &mut Report) {
    report.progress("explain");
    let mut times: Vec<f64> = (0..QUESTIONS)
        .map(|number| {
            let to = match number % 4 {
                0 => format!("host-{number}.site-{}.example.org", number % 97),
                1 => format!("host-{number}.nowhere.example.com"),
                2 => format!("below.host-{number}.site-{}.example.org", number % 97),
                _ => format!("203.0.113.{}", number % 256),
            };
            let question = Question { compute: Some("dev".into()), to, port: None };
            let control = &lab.firewall().control;
            let begin = Instant::now();
            control.send(&ToWorker::Explain { number, question });
            match control.answer() {
                FromWorker::Explained { number: answered, .. } => assert_eq!(answered, number),
                other => panic!("{other:?}"),
            }
            begin.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
    let what = format!("explain among {rules} rules, over the firewall's control socket, p50, p99 of {QUESTIONS}");
    report.add(&what, format!("{p50:.2}, {p99:.2} ms"), Some(Aim::new("< 5 ms", p99 < 5.0)));
}

const QUESTIONS: u64 = 2000;
