//! What a compute is told, and what the flow log says about it.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bastide_inspect::Name;
use bastide_plan::RuleName;
use bastide_plan::flow::{FlowKind, FlowRecord, FlowVerdict};
use bastide_plan::hub_plan::{Leg, NameRule};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr;
use hickory_proto::rr::rdata::{A, CNAME, PTR};
use hickory_proto::rr::{RData, Record, RecordType};

use super::Resolver;
use super::answer::{Answer, ErrorCode};
use super::cache::Remembered;
use super::lookup::{Leads, leads};
use super::question::{Question, spell};
use super::reading::{End, Known};
use super::upstream::Failure;
use super::verdict::{Refusal, Verdict, decide, refused_name};
use crate::explain::{capital, sentence};
use crate::view::View;

/// An answer, and what is worth a record about it.
pub(super) struct Reply {
    pub(super) answer: Answer,
    note: Option<Note>,
}

/// What a flow record says beyond the question.
struct Note {
    verdict: FlowVerdict,
    rule: Option<RuleName>,
    address: Option<Ipv4Addr>,
    reason: Option<String>,
}

/// A question that is not answered yet.
pub(super) struct Pending {
    pub(super) view: Arc<View>,
    pub(super) question: Question,
    pub(super) kind: RecordType,
    pub(super) rule: Option<NameRule>,
}

/// What can be said at once, or must be asked for.
pub(super) enum Step {
    Done(Reply),
    Wait(Pending),
}

impl Resolver {
    /// Decides about a question, and answers it if nobody need be asked.
    pub(super) fn begin(&self, view: &Arc<View>, question: &Question) -> Step {
        let reply = match decide(view, question) {
            Verdict::Ask(kind, rule) => {
                let rule = rule.cloned();
                let name = question.name.as_ref();
                let found = name.and_then(|name| self.cache.find(name, kind, self.clock.instant()));
                let pending = Pending { view: Arc::clone(view), question: question.clone(), kind, rule };
                match found {
                    Some(remembered) => self.conclude(&pending, remembered),
                    None => return Step::Wait(pending),
                }
            }
            Verdict::Own(address, rule) => {
                let records = vec![address_record(&question.spelled, address, OWN_TTL)];
                Reply::noted(Answer::found(records), FlowVerdict::Allowed, rule.cloned(), Some(address), None)
            }
            Verdict::Pointer(name) => {
                let data = RData::PTR(PTR(spell(&name)));
                Reply::plain(Answer::found(vec![Record::from_rdata(question.spelled.clone(), OWN_TTL, data)]))
            }
            Verdict::Nothing(_) => Reply::plain(Answer::nothing(ResponseCode::NoError, NOTHING_TTL)),
            Verdict::Refused(refusal) => Reply::refused(refusal),
        };
        Step::Done(reply)
    }

    /// Answers a question for which somebody must be asked.
    pub(super) async fn finish(self: &Arc<Self>, pending: &Pending, leg: Ipv4Addr) -> Reply {
        let Some(name) = &pending.question.name else {
            return Reply::plain(Answer::nothing(ResponseCode::ServFail, NOTHING_TTL));
        };
        let found = self.look_up(name, pending.kind, pending.rule.as_ref(), leg).await;
        // The rule may have been withdrawn while the host's resolver thought about it.
        if let Some(refusal) = self.view.load().and_then(|view| refused_name(&view, name)) {
            return Reply::refused(refusal);
        }
        match found {
            Ok(remembered) => self.conclude(pending, remembered),
            Err(overrun) => {
                let answer = Answer::nothing(ResponseCode::Refused, NOTHING_TTL);
                let answer = answer.because(ErrorCode::Prohibited, overrun.to_string());
                Reply::noted(
                    answer,
                    FlowVerdict::Denied,
                    pending.rule_name(),
                    None,
                    Some(capital(&overrun.to_string())),
                )
            }
        }
    }

    fn conclude(&self, pending: &Pending, remembered: Remembered) -> Reply {
        let left = seconds(remembered.left);
        match (&remembered.outcome, &pending.question.name) {
            (Ok(known), Some(name)) if pending.kind == RecordType::A => {
                self.lead(pending, name, known, remembered.left)
            }
            (Ok(known), _) => other(pending, known, left),
            (Err(failure), _) => {
                let reason = failure.to_string();
                let code = match failure {
                    Failure::Lie(_) => ErrorCode::InvalidData,
                    Failure::Silent | Failure::NoSocket | Failure::Code(_) => ErrorCode::NoReachableAuthority,
                };
                let answer = Answer::nothing(ResponseCode::ServFail, NOTHING_TTL).because(code, reason.clone());
                Reply::noted(answer, FlowVerdict::Failed, pending.rule_name(), None, Some(capital(&reason)))
            }
        }
    }

    /// Says where a name leads, and pins it.
    fn lead(&self, pending: &Pending, name: &Name, known: &Known, left: Duration) -> Reply {
        let ttl = seconds(left);
        let rule = pending.rule_name();
        let (aliases, addresses, ttl) = match leads(&pending.view, known) {
            Leads::To(aliases, addresses) => {
                self.pins.put(name, &addresses, left, self.clock.instant());
                (aliases, addresses, ttl)
            }
            Leads::Own(aliases, address) => (aliases, vec![address], OWN_TTL),
            Leads::Astray(address, class) => {
                let reason = format!("'{name}' leads to {address}, {class}");
                let advice = "only a private endpoint reaches such an address";
                let answer = Answer::nothing(ResponseCode::NoError, NOTHING_TTL);
                let answer = answer.because(ErrorCode::Filtered, format!("{reason}; {advice}"));
                let reason = sentence(&reason, advice);
                return Reply::noted(answer, FlowVerdict::Denied, rule, Some(address), Some(reason));
            }
            Leads::Nowhere => return other(pending, known, ttl),
        };
        let mut records = Vec::with_capacity(aliases.len() + addresses.len());
        let mut owner = pending.question.spelled.clone();
        for alias in aliases {
            let target = spell(alias);
            records.push(Record::from_rdata(owner, ttl, RData::CNAME(CNAME(target.clone()))));
            owner = target;
        }
        let first = addresses.first().copied();
        if pending.question.kind == RecordType::CNAME {
            records.truncate(1);
        } else {
            records.extend(addresses.into_iter().map(|address| address_record(&owner, address, ttl)));
        }
        let answer = match records.is_empty() {
            true => Answer::nothing(ResponseCode::NoError, ttl),
            false => Answer::found(records),
        };
        Reply::noted(answer, FlowVerdict::Allowed, rule, first, None)
    }

    /// Writes the record of a question.
    pub(super) fn note(&self, reply: Reply, exchange: &Exchange<'_>) {
        let Some(note) = reply.note else { return };
        self.log.push(FlowRecord {
            at: exchange.at,
            duration: u64::try_from(exchange.duration.as_millis()).unwrap_or(u64::MAX),
            compute: exchange.leg.map(|leg| leg.name.clone()),
            project: exchange.leg.and_then(|leg| leg.project.clone()),
            source: exchange.source,
            kind: FlowKind::Dns,
            name: exchange.name.clone(),
            address: note.address,
            port: PORT,
            verdict: note.verdict,
            rule: note.rule,
            reason: note.reason,
            sent: exchange.sent,
            received: exchange.received,
            count: 1,
        });
    }
}

/// What went over the wire.
pub(super) struct Exchange<'a> {
    pub(super) at: i64,
    pub(super) duration: Duration,
    pub(super) leg: Option<&'a Leg>,
    pub(super) source: Ipv4Addr,
    pub(super) name: Option<String>,
    pub(super) sent: u64,
    pub(super) received: u64,
}

impl Reply {
    /// Without a record: what says nothing about what may leave.
    fn plain(answer: Answer) -> Self {
        Self { answer, note: None }
    }

    fn noted(
        answer: Answer,
        verdict: FlowVerdict,
        rule: Option<RuleName>,
        address: Option<Ipv4Addr>,
        reason: Option<String>,
    ) -> Self {
        Self { answer, note: Some(Note { verdict, rule, address, reason }) }
    }

    fn refused(refusal: Refusal) -> Self {
        let Refusal { code, error, advice, reason } = refusal;
        let reason = sentence(&reason, &advice);
        let answer = Answer::nothing(code, REFUSED_TTL).because(error, advice);
        Self::noted(answer, FlowVerdict::Denied, None, None, Some(reason))
    }

    /// For a message of which nothing more is known than that it was turned down.
    pub(super) fn turned_down(reason: &str) -> Self {
        let answer = Answer::nothing(ResponseCode::FormErr, REFUSED_TTL);
        Self::noted(answer, FlowVerdict::Denied, None, None, Some(reason.to_owned()))
    }
}

impl Pending {
    fn rule_name(&self) -> Option<RuleName> {
        self.rule.as_ref().map(|rule| rule.rule.clone())
    }
}

/// Says what is known when it is no address.
fn other(pending: &Pending, known: &Known, ttl: u32) -> Reply {
    let rule = pending.rule_name();
    match &known.end {
        End::Records(records) => {
            let owner = known.aliases.last().map_or_else(|| pending.question.spelled.clone(), spell);
            let records = records.iter().map(|record| Record::from_rdata(owner.clone(), ttl, record.data.clone()));
            let aliases = aliases(pending, known, ttl);
            let answer = Answer::found(aliases.into_iter().chain(records).collect());
            Reply::noted(answer, FlowVerdict::Allowed, rule, None, None)
        }
        End::NoName => {
            let reason = "The name does not exist.".to_owned();
            let answer = Answer::nothing(ResponseCode::NXDomain, ttl);
            Reply::noted(answer, FlowVerdict::Failed, rule, None, Some(reason))
        }
        End::Addresses(_) | End::Nothing | End::Cut => {
            let reason = format!("The name has no record of type {}.", pending.kind);
            let answer = Answer::nothing(ResponseCode::NoError, ttl);
            Reply::noted(answer, FlowVerdict::Failed, rule, None, Some(reason))
        }
    }
}

/// Whole seconds, for a client. What was asked for a moment ago holds as long as its servers said.
fn seconds(left: Duration) -> u32 {
    u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}

fn aliases(pending: &Pending, known: &Known, ttl: u32) -> Vec<Record> {
    let owners = std::iter::once(pending.question.spelled.clone()).chain(known.aliases.iter().map(spell));
    let pairs = owners.zip(known.aliases.iter().map(spell));
    pairs.map(|(owner, target)| Record::from_rdata(owner, ttl, RData::CNAME(CNAME(target)))).collect()
}

fn address_record(owner: &rr::Name, address: Ipv4Addr, ttl: u32) -> Record {
    Record::from_rdata(owner.clone(), ttl, RData::A(A(address)))
}

/// Seconds for which an address of the hub's own holds: the plan may change it.
const OWN_TTL: u32 = 10;

/// Seconds for which a refusal holds: a rule that is added works at once.
const REFUSED_TTL: u32 = 1;

/// Seconds for which it holds that a name has nothing of a type; that changes with the plan only.
const NOTHING_TTL: u32 = 10;

/// Where questions arrive.
const PORT: u16 = 53;
