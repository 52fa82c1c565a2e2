//! Questions of computes: what we read the library reads alike, what is asked on is approved, what is written fits.

use bastide_firewall::resolver::answer::{Answer, ErrorCode, datagram_limit};
use bastide_firewall::resolver::question::read;
use bastide_firewall::resolver::verdict::{Verdict, decide};
use bastide_firewall::view::View;
use bastide_inspect::Name;
use bastide_plan::AddressFilter;
use bastide_plan::hub_plan::{HubPlan, Mode};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;

/// Reads the input as a question, decides about it and answers it.
pub fn check(data: &[u8]) {
    let Ok(question) = read(data) else { return };
    match Message::from_vec(data) {
        Ok(theirs) => {
            assert_eq!(theirs.queries.len(), 1);
            assert!(theirs.queries[0].name.eq_case(&question.spelled));
            assert_eq!((theirs.queries[0].query_type, theirs.queries[0].query_class), (question.kind, question.class));
            assert_eq!(theirs.edns.is_some(), question.payload.is_some());
        }
        // The library looks into options, which mean nothing to us.
        Err(error) => assert!(question.payload.is_some(), "{error}: ours is the stricter reader"),
    }
    if let Some(name) = &question.name {
        assert_eq!(Name::parse(name.as_str()).as_ref(), Ok(name), "a name is in its one form");
    }

    for mode in [Mode::ApprovedOutbound, Mode::InternetOutbound] {
        let view = View::new(plan(mode), Vec::new(), AddressFilter::default());
        let verdict = decide(&view, &question);
        let is_approved = question
            .name
            .as_ref()
            .is_some_and(|name| name.as_str() == "exact.org" || name.as_str().ends_with(".wild.org"));
        match (mode, &verdict) {
            (Mode::ApprovedOutbound, Verdict::Ask(kind, rule)) => {
                assert!(is_approved && rule.is_some() && *kind == RecordType::A);
            }
            (Mode::ApprovedOutbound, Verdict::Nothing(Some(_))) => assert!(is_approved),
            _ => {}
        }
        let answer = match verdict {
            Verdict::Refused(refusal) => Answer::nothing(refusal.code, 1).because(refusal.error, refusal.advice),
            _ => Answer::nothing(ResponseCode::ServFail, 1).because(ErrorCode::NoReachableAuthority, "x".repeat(2000)),
        };
        let limit = datagram_limit(&question);
        let written = answer.write(&question, limit);
        assert!(written.len() <= limit);
        let again = Message::from_vec(&written).expect("what is written can be read");
        assert_eq!(again.metadata.id, question.id);
        assert!(again.queries[0].name.eq_case(&question.spelled));
    }
}

fn plan(mode: Mode) -> HubPlan {
    let mode = match mode {
        Mode::ApprovedOutbound => "approvedOutbound",
        Mode::InternetOutbound => "internetOutbound",
        Mode::Disabled => "disabled",
    };
    serde_json::from_value(serde_json::json!({
        "version": 1,
        "hub": "00000000-0000-0000-0000-000000000000",
        "name": "hub",
        "stamp": {"fence": 1, "revision": 1},
        "mode": mode,
        "subnet": "100.127.0.0/16",
        "legs": [],
        "names": [
            {"rule": "exact", "pattern": "exact.org", "ports": [80, 443]},
            {"rule": "wild", "pattern": "*.wild.org", "ports": [80, 443]},
        ],
        "prefixes": [],
        "endpoints": [],
        "services": [],
    }))
    .expect("a plan")
}
