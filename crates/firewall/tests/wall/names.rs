//! Questions about names, from inside (rows 13 to 16).

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use bastide_plan::flow::{FlowKind, FlowVerdict};
use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Name, RData, RecordType};

use crate::internet::{EVIL, GOOD};
use crate::lab::Lab;
use crate::support::GATEWAY;

/// Asks the hub's resolver, as the compute.
fn ask(lab: &Lab, name: &str, kind: RecordType) -> Message {
    lab.inside(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.connect((GATEWAY, 53)).unwrap();
        let mut question = Message::query();
        question.metadata.recursion_desired = true;
        question.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), kind));
        question.set_edns(Edns::new());
        socket.send(&question.to_vec().unwrap()).unwrap();
        let mut buffer = [0; 1500];
        let length = socket.recv(&mut buffer).unwrap();
        Message::from_vec(&buffer[..length]).unwrap()
    })
}

fn addresses(message: &Message) -> Vec<Ipv4Addr> {
    let addresses = message.answers.iter().filter_map(|record| match &record.data {
        RData::A(address) => Some(address.0),
        _ => None,
    });
    addresses.collect()
}

#[test]
fn row_13_an_unapproved_name_is_refused_in_words_and_reaches_nobody() {
    let lab = Lab::new(&["good.example"]);
    for kind in [RecordType::A, RecordType::TXT, RecordType::NULL, RecordType::MX] {
        let message = ask(&lab, "secret.evil.example", kind);
        assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
        let options = message.edns.as_ref().unwrap().options().as_ref();
        let says = options.iter().any(|(_, option)| match option {
            EdnsOption::Unknown(15, data) => data.ends_with(b"add an FQDN rule for 'secret.evil.example' to hub 'hub'"),
            _ => false,
        });
        assert!(says, "{message}");
    }
    let flow = lab.flow(|flow| flow.kind == FlowKind::Dns && flow.verdict == FlowVerdict::Denied);
    assert_eq!((flow.compute.as_deref(), flow.name.as_deref()), (Some("dev"), Some("secret.evil.example")));
    assert!(lab.internet.asked().is_empty());
}

#[test]
fn row_13_an_approved_name_carries_nothing_but_itself() {
    let lab = Lab::new(&["good.example"]);
    for (name, kind) in [
        ("data.good.example", RecordType::A),
        ("good.example", RecordType::TXT),
        ("good.example", RecordType::NULL),
        ("good.example", RecordType::AAAA),
        ("good.example", RecordType::HTTPS),
        ("good.example", RecordType::ANY),
    ] {
        assert!(ask(&lab, name, kind).answers.is_empty(), "{name} {kind}");
    }
    assert_eq!(addresses(&ask(&lab, "GOOD.example", RecordType::A)), [GOOD]);
    assert_eq!(lab.internet.asked(), [("good.example".to_owned(), RecordType::A)]);
}

#[test]
fn row_13_a_tunnel_through_a_wildcard_runs_dry() {
    let lab = Lab::new(&["*.evil.example"]);
    let mut refused = 0;
    for number in 0..150 {
        let message = ask(&lab, &format!("chunk{number}.evil.example"), RecordType::A);
        refused += u32::from(message.metadata.response_code == ResponseCode::Refused);
    }
    let asked = lab.internet.asked().len();
    assert!((120..125).contains(&asked) && refused >= 25, "{asked} asked, {refused} refused");
    let flow = lab.flow(|flow| flow.verdict == FlowVerdict::Denied);
    assert_eq!(flow.rule.map(|rule| rule.0).as_deref(), Some("*.evil.example"));
}

#[test]
fn row_15_addresses_inside_are_not_given_out() {
    let lab = Lab::new(&["*.good.example"]);
    for (number, address) in ["169.254.169.254", "127.0.0.1", "10.0.0.1", "100.127.0.1", "0.0.0.0"].iter().enumerate() {
        let name = format!("n{number}.good.example");
        lab.internet.name(&name, &[address.parse().unwrap(), EVIL]);
        assert_eq!(addresses(&ask(&lab, &name, RecordType::A)), [EVIL], "{address}");
        let name = format!("m{number}.good.example");
        lab.internet.name(&name, &[address.parse().unwrap()]);
        assert!(ask(&lab, &name, RecordType::A).answers.is_empty(), "{address}");
        let flow = lab.flow(|flow| flow.name.as_ref() == Some(&name));
        assert_eq!((flow.verdict, flow.address), (FlowVerdict::Denied, Some(address.parse().unwrap())));
    }
}

#[test]
fn a_rule_works_from_the_next_question_on_and_no_longer_than_it_stands() {
    let mut lab = Lab::new(&["other.example"]);
    for _ in 0..3 {
        assert!(addresses(&ask(&lab, "good.example", RecordType::A)).is_empty());
        lab.approve(&["good.example"]);
        assert_eq!(addresses(&ask(&lab, "good.example", RecordType::A)), [GOOD]);
        lab.approve(&["other.example"]);
    }
}
