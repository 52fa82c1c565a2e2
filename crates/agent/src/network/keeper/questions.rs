//! Those who wait for an answer: for a plan to be in force, or for what the firewall says.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bastide_plan::HubReport;
use bastide_plan::hub_plan::Stamp;
use bastide_plan::message::Answer;

use crate::network::hub::Reply;

/// Who waits, and until when.
#[derive(Default)]
pub(super) struct Questions {
    waiting: Vec<Waiting>,
    /// What the firewall was asked, by number.
    asked: HashMap<u64, (Instant, Reply)>,
    last: u64,
}

struct Waiting {
    stamp: Stamp,
    until: Instant,
    reply: Reply,
}

impl Questions {
    /// Somebody waits until a plan is in force.
    pub fn wait(&mut self, stamp: Stamp, reply: Reply) {
        self.waiting.push(Waiting { stamp, until: Instant::now() + SETTLING, reply });
    }

    /// A number for a question to the firewall.
    pub fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Somebody waits for the firewall's answer.
    pub fn ask(&mut self, number: u64, reply: Reply) {
        self.asked.insert(number, (Instant::now() + SETTLING, reply));
    }

    /// The firewall has answered.
    pub fn answer(&mut self, number: u64, answer: Answer) {
        if let Some((_, reply)) = self.asked.remove(&number) {
            reply(answer);
        }
    }

    /// Tells the report to those who waited for a plan that is `in_force`, and to those who have waited too long.
    pub fn report(&mut self, in_force: Option<Stamp>, report: &HubReport) {
        let now = Instant::now();
        let is_ready = |waiting: &mut Waiting| Some(waiting.stamp) <= in_force || waiting.until <= now;
        for waiting in self.waiting.extract_if(.., is_ready) {
            (waiting.reply)(Answer::Changed { report: Box::new(report.clone()) });
        }
    }

    /// Refuses what the firewall has not answered in time.
    pub fn refuse_late(&mut self, reason: impl Fn() -> String) {
        let now = Instant::now();
        for (_, (_, reply)) in self.asked.extract_if(|_, (until, _)| *until <= now) {
            reply(Answer::Refused { reason: reason() });
        }
    }

    /// When the next one has waited long enough.
    pub fn until(&self) -> Option<Instant> {
        let waits = self.waiting.iter().map(|waiting| waiting.until);
        waits.chain(self.asked.values().map(|(until, _)| *until)).min()
    }
}

/// How long an answer waits for the firewall to have taken a plan.
const SETTLING: Duration = Duration::from_secs(5);
