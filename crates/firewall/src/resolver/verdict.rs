//! What becomes of a question, before anybody else is asked. Pure.

use std::net::Ipv4Addr;

use bastide_inspect::Name;
use bastide_plan::RuleName;
use bastide_plan::hub_plan::{Mode, NameRule};
use bastide_plan::policy::NameVerdict;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{DNSClass, RecordType};

use super::answer::ErrorCode;
use super::question::Question;
use crate::explain;
use crate::view::View;

/// What becomes of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// An address of the hub's own.
    Own(Ipv4Addr, Option<&'a RuleName>),
    /// The name of an address of the hub's own.
    Pointer(Name),
    /// The name may be asked for, and has nothing of this type for the inside of a hub.
    Nothing(Option<&'a RuleName>),
    /// The host's resolver is to be asked for records of a type.
    Ask(RecordType, Option<&'a NameRule>),
    /// No.
    Refused(Refusal),
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The answer's code.
    pub code: ResponseCode,
    /// The extended error's code.
    pub error: ErrorCode,
    /// What to do, for the extended error.
    pub advice: String,
    /// Why, for the flow log.
    pub reason: String,
}

/// Decides about a question.
///
/// In approved mode a rule opens the addresses of its names and nothing else: `A`, and the aliases (`CNAME`) on the way
/// there. Text and other records would be a way in and out that no connection shows (egress.md row 13). In the other modes
/// the types of [`OPEN`] are asked for as well. `AAAA`, `HTTPS` and `SVCB` are empty in every mode: hubs have no IPv6, and
/// without their parameters a client shows the name it wants (rows 6 and 16).
pub fn decide<'a>(view: &'a View, question: &Question) -> Verdict<'a> {
    if question.class != DNSClass::IN || is_meta(question.kind) {
        let kind = question.kind;
        let reason = format!("questions of type {kind} in class {} are answered to nobody", question.class);
        let (code, error) = (ResponseCode::Refused, ErrorCode::NotSupported);
        return Verdict::Refused(Refusal { code, error, advice: "ask for addresses (type A)".to_owned(), reason });
    }
    let Some(name) = &question.name else {
        return refused("it is not the name of a host", "ask for the name of a host");
    };
    if let Some(address) = reversed(name) {
        return reverse(view, address, question.kind);
    }
    let is_address = question.kind == RecordType::A;
    match view.policy.resolve(name) {
        NameVerdict::Endpoint(endpoint) if is_address => Verdict::Own(endpoint.address, Some(&endpoint.rule)),
        NameVerdict::Endpoint(endpoint) => Verdict::Nothing(Some(&endpoint.rule)),
        NameVerdict::Service(_) if is_address => Verdict::Own(view.policy.rest().gateway(), None),
        NameVerdict::Service(_) => Verdict::Nothing(None),
        NameVerdict::Rule(rule) => match question.kind {
            RecordType::A | RecordType::CNAME => Verdict::Ask(RecordType::A, Some(rule)),
            kind if is_open(view) && OPEN.contains(&kind) => Verdict::Ask(kind, Some(rule)),
            _ => Verdict::Nothing(Some(&rule.rule)),
        },
        NameVerdict::Open if !is_local(name) => match question.kind {
            RecordType::A | RecordType::CNAME => Verdict::Ask(RecordType::A, None),
            kind if OPEN.contains(&kind) => Verdict::Ask(kind, None),
            _ => Verdict::Nothing(None),
        },
        NameVerdict::Open => Verdict::Refused(local_name()),
        NameVerdict::Refused => Verdict::Refused(unapproved_name(view, name)),
    }
}

/// Why a name is not resolved at all; `None` when it is.
pub fn refused_name(view: &View, name: &Name) -> Option<Refusal> {
    match view.policy.resolve(name) {
        NameVerdict::Open if is_local(name) => Some(local_name()),
        NameVerdict::Refused => Some(unapproved_name(view, name)),
        _ => None,
    }
}

/// Whether a name still may be asked for by the view of another moment.
pub fn is_asked_for(view: &View, name: &Name) -> bool {
    match view.policy.resolve(name) {
        NameVerdict::Rule(_) | NameVerdict::Open => true,
        NameVerdict::Endpoint(_) | NameVerdict::Service(_) | NameVerdict::Refused => false,
    }
}

/// Whether the mode lets out what no rule speaks about.
pub fn is_open(view: &View) -> bool {
    view.policy.rest().mode != Mode::ApprovedOutbound
}

fn refused<'a>(reason: &str, advice: &str) -> Verdict<'a> {
    Verdict::Refused(Refusal::of_name(reason.to_owned(), advice.to_owned()))
}

fn local_name() -> Refusal {
    let reason = "names of this form are for local networks, and this network has none";
    Refusal::of_name(reason.to_owned(), "ask for a name of the internet".to_owned())
}

fn unapproved_name(view: &View, name: &Name) -> Refusal {
    let missing = explain::missing_name(view, name);
    Refusal::of_name(missing.reason, missing.advice)
}

impl Refusal {
    fn of_name(reason: String, advice: String) -> Self {
        Self { code: ResponseCode::NXDomain, error: ErrorCode::Blocked, advice, reason }
    }
}

/// Questions about addresses: who they are is told for the hub's own, and asked for where the internet is open.
fn reverse(view: &View, address: Ipv4Addr, kind: RecordType) -> Verdict<'_> {
    let plan = view.policy.rest();
    let is_pointer = kind == RecordType::PTR;
    let endpoint = plan.endpoints.iter().find(|endpoint| endpoint.address == address);
    let own = if address == plan.gateway() {
        plan.services.first().map(|service| service.name.clone())
    } else if let Some(leg) = view.leg(address) {
        Name::parse(&leg.name).ok()
    } else {
        endpoint.and_then(|endpoint| endpoint.names.first().cloned())
    };
    match own {
        Some(name) if is_pointer => Verdict::Pointer(name),
        Some(_) => Verdict::Nothing(None),
        None if is_open(view) && view.filter.refuses(address.into()).is_none() => match is_pointer {
            true => Verdict::Ask(RecordType::PTR, None),
            false => Verdict::Nothing(None),
        },
        None => refused("whose an address is, is told for the hub's own addresses only", "ask for a name"),
    }
}

/// The address whose name is asked for (RFC 1035, section 3.5).
fn reversed(name: &Name) -> Option<Ipv4Addr> {
    let mut bytes = [0; 4];
    let mut labels = name.labels();
    for byte in bytes.iter_mut().rev() {
        *byte = labels.next()?.parse().ok()?;
    }
    labels.eq(["in-addr", "arpa"]).then(|| bytes.into())
}

/// Names that no server of the internet holds (RFC 6761, 6762, 7686, 8375), and those of one label. The host's resolver
/// might know some of them, of its own network.
fn is_local(name: &Name) -> bool {
    let mut labels = name.labels().rev();
    let top = labels.next().unwrap_or_default();
    let second = labels.next();
    second.is_none() || LOCAL.contains(&top) || (top == "arpa" && matches!(second, Some("home" | "ip6")))
}

/// Types that ask for a transfer, for everything, or for something about the message itself (RFC 6895, section 3.1).
fn is_meta(kind: RecordType) -> bool {
    kind == RecordType::OPT || (128..=255).contains(&u16::from(kind))
}

/// The types of records that are asked for where the internet is open.
pub const OPEN: [RecordType; 11] = [
    RecordType::CAA,
    RecordType::MX,
    RecordType::NAPTR,
    RecordType::NS,
    RecordType::OPENPGPKEY,
    RecordType::PTR,
    RecordType::SOA,
    RecordType::SRV,
    RecordType::SSHFP,
    RecordType::TLSA,
    RecordType::TXT,
];

const LOCAL: [&str; 4] = ["invalid", "local", "localhost", "onion"];
