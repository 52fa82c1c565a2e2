//! What is said between the keeper of a hub and the hub's firewall.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use bastide_plan::flow::{FlowQuery, Flows};
use bastide_plan::message::Answer;
use bastide_plan::worker::{FromWorker, ToWorker};

use super::Keeper;
use crate::network::hub::{Command, Reply};

impl Keeper {
    pub(super) fn ask(&mut self, question: impl FnOnce(u64) -> ToWorker, reply: Reply) {
        let number = self.questions.number();
        match self.firewall.say(&question(number)) {
            Ok(()) => self.questions.ask(number, reply),
            Err(error) => {
                let reason = format!("the firewall of {} cannot be asked: {error}. Try again", self.hub_name());
                reply(Answer::Refused { reason });
            }
        }
    }

    /// What the firewall has not handed over yet, behind what is on disk.
    pub(super) fn tell_flows(&mut self, query: FlowQuery, reply: Reply) {
        let (flows, hub) = (Arc::clone(&self.surroundings.flows), self.record.plan.hub);
        if query.after.is_some() || query.before.is_some() {
            return flows.answer(hub, query, Flows::default(), reply);
        }
        let question = query.clone();
        let and_kept = Box::new(move |answer| match answer {
            Answer::Flows { flows: fresh } => flows.answer(hub, query, fresh, reply),
            // Without a firewall there is still what the ones before it have seen.
            _ => flows.answer(hub, query, Flows::default(), reply),
        });
        self.ask(|number| ToWorker::Flows { number, query: question }, and_kept);
    }

    /// Keeps what the firewall knows before it is ended.
    pub(super) fn hear_last_words(&mut self, receiver: &Receiver<Command>) {
        if self.firewall.say(&ToWorker::Collect { is_last: true }).is_err() {
            return;
        }
        let until = Instant::now() + LAST_WORDS;
        while let Ok(command) = receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
            let Command::Worker(life, message) = command else { continue };
            let Some(message) = message else { return };
            let is_last = matches!(message, FromWorker::Collected { is_last: true, .. });
            self.hear(life, message);
            if is_last {
                return;
            }
        }
    }

    pub(super) fn hear(&mut self, life: u64, message: FromWorker) {
        if !self.firewall.hear(life, &message) {
            return;
        }
        match message {
            FromWorker::Confined | FromWorker::Applied { .. } => {}
            FromWorker::NeedUpstream { transport } => {
                let user = self.record.slot.user();
                let outcome = self.surroundings.host.upstream(transport, user).map_err(|error| error.to_string());
                let outcome = outcome.and_then(|socket| {
                    let message = ToWorker::Upstream { transport };
                    self.firewall.hand(&message, Some(&socket)).map_err(|error| error.to_string())
                });
                if let Err(error) = outcome {
                    tracing::warn!("{} has no socket to the host's resolver: {error}", self.hub_name());
                }
            }
            FromWorker::NeedHost { number, address, port } => self.reach_host(number, SocketAddrV4::new(address, port)),
            FromWorker::Explained { number, explanation } => {
                self.questions.answer(number, Answer::Explained { explanation });
            }
            FromWorker::Flows { number, flows } => self.questions.answer(number, Answer::Flows { flows }),
            FromWorker::Collected { records, dropped, is_last: _ } => {
                let to_self = self.to_self.clone();
                let done = move || drop(to_self.send(Command::Kept(life)));
                self.surroundings.flows.keep(self.record.plan.hub, records, dropped, done);
            }
        }
    }

    /// Hands the firewall a connection to a service of this host, if an Owner has admitted it.
    fn reach_host(&mut self, number: u64, to: SocketAddrV4) {
        let admitted = self.compiled.as_ref().map(|compiled| &compiled.uplink.beside);
        let outcome = if admitted.is_some_and(|admitted| admitted.contains(&(*to.ip(), to.port()))) {
            self.surroundings.host.beside(to, self.record.slot.user()).map_err(|error| error.to_string())
        } else {
            Err(format!("nobody has admitted {to}"))
        };
        let said = match outcome {
            Ok(socket) => self.firewall.hand(&ToWorker::Host { number }, Some(&socket)),
            Err(reason) => self.firewall.say(&ToWorker::NoHost { number, reason }),
        };
        if let Err(error) = said {
            tracing::debug!("the firewall of {} does not listen: {error}", self.hub_name());
        }
    }
}

/// How long a firewall that is to end may take to say what it knows.
const LAST_WORDS: Duration = Duration::from_millis(500);
