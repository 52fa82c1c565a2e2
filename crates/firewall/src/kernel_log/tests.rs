use bastide_plan::AddressFilter;
use bastide_plan::HubPlan;
use bastide_plan::RuleName;
use bastide_plan::flow::FlowQuery;
use bastide_plan::hub_plan::{Action, Mode, PrefixRule, Protocol};
use proptest::prelude::*;

use super::*;
use crate::clock::ManualClock;
use crate::ending::tests::{UNANSWERED, WHOLE, bytes, on_request};
use crate::resolver::tests::plan;

// What Linux 6.18 sends for a SYN to 127.0.0.1:4444, five bytes to UDP 4445 and a ping, little-endian.
const SYN: &str = "8800000000040000000000000000000002000005080001000800030014000a00626173746964653a64656e6965643a000800\
    05000000000108000b000000000008000e0000000000400009004500003cb7814000400685387f0000017f000001a0ec115cd24b7b2a0000\
    0000a002ffd7fe3000000204ffd70402080a3f02989f000000000103030a";
const DATAGRAM: &str = "7c0000000004000000000000000000000200000508000100080003001e000a00626173746964653a616c6c6f776564\
    3a646174612d6c616b65000000080005000000000108000b000000000008000e00000000002500090045000021de3e400040115e8b7f0000\
    017f000001a9e3115d000dfe2068656c6c6f000000";
const PING: &str = "6800000000040000000000000000000002000005080001000800030014000a00626173746964653a64656e6965643a0008\
    0005000000000108000b000000000008000e0000000000200009004500001cdd5c400040015f827f0000017f00000108000000000100\
    01";

fn lake(action: Action) -> PrefixRule {
    PrefixRule {
        rule: RuleName("data-lake".into()),
        action,
        protocol: Protocol::Any,
        prefixes: vec!["198.18.0.0/24".parse().unwrap()],
        ports: Vec::new(),
    }
}

fn read(datagram: &[u8]) -> Vec<Packet> {
    packets(datagram).collect()
}

#[test]
fn what_a_kernel_sends_is_read() {
    let local = Ipv4Addr::LOCALHOST;
    let packet = |prefix: &str, kind, source_port, port, length| Packet {
        prefix: prefix.parse().unwrap(),
        ends: Ends { kind, source: local, source_port, destination: local, port },
        length,
    };
    let syn = packet("bastide:denied:", FlowKind::Tcp, 41196, 4444, 60);
    let datagram = packet("bastide:allowed:data-lake", FlowKind::Udp, 43491, 4445, 33);
    let ping = packet("bastide:denied:", FlowKind::Icmp, 1, 0, 28);
    let all = [bytes(SYN), bytes(DATAGRAM), bytes(PING)].concat();
    assert_eq!(read(&all), [syn, datagram, ping], "several in one datagram, as the kernel gathers them");
}

#[test]
fn what_is_cut_or_somebody_elses_is_passed_over() {
    let syn = bytes(SYN);
    for length in 0..syn.len() {
        assert_eq!(read(&syn[..length]), [], "{length}");
    }
    let mut other = syn.clone();
    other[4] = 3;
    assert_eq!(read(&other), []);
    let foreign = SYN.replace("62617374", "78787878");
    assert_eq!(read(&bytes(&foreign)), []);
    let mut six = syn.clone();
    let place = six.len() - 60;
    six[place] = 0x65;
    assert_eq!(read(&six), []);
}

#[test]
fn a_later_fragment_has_no_port() {
    let mut syn = bytes(SYN);
    let place = syn.len() - 60 + 6;
    syn[place..place + 2].copy_from_slice(&[0x20, 0x01]);
    assert_eq!(read(&syn).first().map(|packet| packet.ends.port), Some(0));
}

/// A kernel log over a plan, and where it writes.
fn log_of(plan: HubPlan) -> (KernelLog, Arc<FlowLog>) {
    let view = Arc::new(CurrentView::default());
    let (log, clock): (Arc<FlowLog>, Arc<dyn Clock>) = (Arc::default(), Arc::new(ManualClock::new()));
    let (need, _needed) = tokio::sync::mpsc::unbounded_channel();
    let resolver = Resolver::new(Arc::clone(&view), Arc::clone(&log), Arc::clone(&clock), need);
    view.replace(Arc::new(View::new(plan, Vec::new(), AddressFilter::default())));
    (KernelLog::new(view, resolver, Arc::clone(&log), clock), log)
}

fn written(log: &FlowLog) -> Vec<FlowRecord> {
    log.query(&FlowQuery { limit: 99, ..FlowQuery::default() }).records
}

/// A first packet that a rule let through, from and to where [`WHOLE`] ends.
fn first_packet() -> Vec<u8> {
    // `allowed:` takes the room of `denied:` and the zero behind it.
    let mut syn = bytes(&SYN.replace("64656e6965643a00", "616c6c6f7765643a"));
    let place = syn.len() - 60;
    syn[place + 12..place + 20].copy_from_slice(&[100, 127, 0, 2, 198, 18, 0, 2]);
    syn[place + 20..place + 24].copy_from_slice(&[0xc9, 0xd2, 0, 22]);
    syn
}

#[tokio::test]
async fn a_refused_packet_becomes_a_record_that_says_what_to_do() {
    let (kernel, log) = log_of(plan(Mode::ApprovedOutbound));
    let mut syn = bytes(SYN);
    let place = syn.len() - 60 + 16;
    syn[place..place + 4].copy_from_slice(&[198, 18, 0, 9]);
    kernel.note_packets(&[syn.clone(), syn].concat());
    kernel.note_packets(&bytes(SYN));

    let records = written(&log);
    let [missing, local] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((missing.compute.as_deref(), missing.project.as_deref()), (Some("dev"), Some("churn")));
    assert_eq!((missing.count, missing.port, missing.verdict), (2, 4444, FlowVerdict::Denied));
    assert_eq!(
        missing.reason.as_deref(),
        Some(
            "No rule of hub 'research' approves TCP port 4444 to 198.18.0.9; add a ServiceTag rule with the address \
             prefix 198.18.0.9/32 for TCP port 4444 to hub 'research'."
        )
    );
    assert!(local.reason.as_deref().unwrap().contains("inside hub 'research'"), "{local:?}");
}

#[tokio::test]
async fn a_forwarded_connection_is_seen_while_it_lasts_and_written_when_it_is_over() {
    let (kernel, log) = log_of(plan(Mode::InternetOutbound));
    kernel.note_packets(&first_packet());
    let open = kernel.records();
    assert_eq!((open.len(), written(&log).len()), (1, 0));
    assert_eq!((open[0].kind, open[0].port, open[0].verdict), (FlowKind::Tcp, 22, FlowVerdict::Allowed));

    kernel.note_endings(&bytes(WHOLE));
    assert_eq!(kernel.records(), []);
    let records = written(&log);
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((record.at, record.sent, record.received), (STARTED, 325, 266));
    assert_eq!((record.verdict, record.reason.as_ref()), (FlowVerdict::Allowed, None));
    assert_eq!((record.source, record.address), ([100, 127, 0, 2].into(), Some([198, 18, 0, 2].into())));
}

#[tokio::test]
async fn the_end_alone_says_enough_when_the_beginning_was_not_seen() {
    let mut plan = plan(Mode::ApprovedOutbound);
    plan.prefixes.push(lake(Action::Allow));
    let (kernel, log) = log_of(plan);
    kernel.note_endings(&[on_request(WHOLE), bytes(UNANSWERED)].concat());
    let records = written(&log);
    let [cut, failed] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((cut.verdict, cut.rule.as_ref()), (FlowVerdict::Cut, Some(&RuleName("data-lake".into()))));
    assert_eq!((cut.at, cut.duration), (STARTED, 3001), "what is cut was not waited for");
    assert!(cut.reason.is_some() && failed.reason.is_some());
    assert_eq!((failed.verdict, failed.received, failed.duration), (FlowVerdict::Failed, 0, 0));
}

#[tokio::test]
async fn connections_that_are_not_over_take_bounded_room_and_one_pair_of_ends_stands_once() {
    let (kernel, _) = log_of(plan(Mode::InternetOutbound));
    let mut packet = first_packet();
    let place = packet.len() - 60 + 20;
    for port in 0..=u16::try_from(MOST_OPEN).unwrap() {
        packet[place..place + 2].copy_from_slice(&port.to_be_bytes());
        kernel.note_packets(&packet);
    }
    kernel.note_packets(&packet);
    assert_eq!((kernel.records().len(), kernel.open().places.len()), (MOST_OPEN, MOST_OPEN));
}

#[test]
fn a_rule_that_denies_is_named() {
    let mut plan = plan(Mode::ApprovedOutbound);
    plan.prefixes.push(lake(Action::Deny));
    let packet = &read(&bytes(DATAGRAM))[0];
    assert_eq!(packet.prefix.rule_of(&plan.prefixes), Some(RuleName("data-lake".into())));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
    }

    #[test]
    fn damaged_messages_are_read_without_harm(place in 0usize..136, byte: u8, second in 0usize..136, other: u8) {
        let mut bytes = bytes(SYN);
        (bytes[place], bytes[second]) = (byte, other);
        prop_assert!(read(&bytes).len() <= 4);
    }
}

/// When the connection of [`WHOLE`] began.
const STARTED: i64 = 1_795_361_929_697;
