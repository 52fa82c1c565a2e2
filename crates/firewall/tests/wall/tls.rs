//! Port 443: rows 1 to 11 and 22.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use bastide_plan::flow::{FlowKind, FlowVerdict};

use crate::client::{End, Outcome, connect, exchange, extension, handshake, hear, hello, hello_with, records};
use crate::internet::{EVIL, GOOD};
use crate::lab::Lab;
use crate::support::LEG;

const ACCESS_DENIED: u8 = 49;
const DECODE_ERROR: u8 = 50;
const UNRECOGNIZED_NAME: u8 = 112;

fn tls(lab: &Lab, to: Ipv4Addr, bytes: &[u8]) -> Outcome {
    lab.inside(|| exchange(to, 443, &[bytes]))
}

#[test]
fn an_approved_name_is_reached_and_logged() {
    let lab = Lab::new(&["good.example"]);
    let bytes = hello("good.example");
    let outcome = tls(&lab, GOOD, &bytes);
    assert_eq!(outcome.text(), format!("{GOOD}\n"));
    assert_eq!(
        lab.internet.heard_at(GOOD),
        std::slice::from_ref(&bytes),
        "exactly the bytes that were read are sent on"
    );
    let flow = lab.flow(|flow| flow.kind == FlowKind::Tls);
    assert_eq!(
        (flow.compute.as_deref(), flow.source, flow.name.as_deref(), flow.address, flow.port),
        (Some("dev"), LEG, Some("good.example"), Some(GOOD), 443)
    );
    assert_eq!(flow.rule.map(|rule| rule.0).as_deref(), Some("good.example"));
    assert_eq!((flow.verdict, flow.sent), (FlowVerdict::Allowed, bytes.len() as u64));
}

#[test]
fn row_1_an_approved_name_at_another_address_leads_to_the_approved_host() {
    let lab = Lab::new(&["good.example"]);
    assert_eq!(tls(&lab, EVIL, &hello("good.example")).text(), format!("{GOOD}\n"));
    assert!(lab.internet.heard_at(EVIL).is_empty());
}

#[test]
fn row_2_another_name_at_an_approved_address_gets_an_alert_and_a_line_in_the_log() {
    let lab = Lab::new(&["good.example"]);
    let outcome = tls(&lab, GOOD, &hello("evil.example"));
    assert_eq!((outcome.alert(), outcome.end), (Some(ACCESS_DENIED), End::Closed), "{outcome:?}");
    assert!(outcome.took < Duration::from_millis(200), "{outcome:?}");
    assert!(lab.internet.heard_at(GOOD).is_empty());
    let flow = lab.flow(|flow| flow.verdict == FlowVerdict::Denied);
    assert_eq!(flow.name.as_deref(), Some("evil.example"));
    let reason = flow.reason.unwrap();
    assert!(reason.contains("No rule of hub 'hub' approves 'evil.example'"), "{reason}");
    assert!(reason.contains("add an FQDN rule for 'evil.example'"), "{reason}");
}

#[test]
fn rows_4_and_8_exactly_one_name_and_that_of_a_host() {
    let lab = Lab::new(&["good.example", "*.good.example"]);
    let twice = [extension(0, &[0, 4, 0, 0, 1, b'a']), extension(0, &[0, 4, 0, 0, 1, b'b'])].concat();
    for (bytes, alert) in [
        (hello_with(&[], 0), UNRECOGNIZED_NAME),
        (hello_with(&[b"198.18.1.1"], 0), DECODE_ERROR),
        (hello_with(&[b"good.example", b"evil.example"], 0), DECODE_ERROR),
        (hello_with(&[b"good.example\0.evil.example"], 0), DECODE_ERROR),
        (hello_with(&[b"\x01.good.example"], 0), DECODE_ERROR),
        (hello_with(&[b""], 0), DECODE_ERROR),
        (handshake(&twice), DECODE_ERROR),
        (handshake(&extension(0, &[0, 40, 0, 0, 12])), DECODE_ERROR),
    ] {
        let outcome = tls(&lab, GOOD, &bytes);
        assert_eq!(outcome.alert(), Some(alert), "{:?}: {outcome:?}", String::from_utf8_lossy(&bytes));
    }
    assert!(lab.internet.heard_at(GOOD).is_empty());
}

#[test]
fn row_5_what_is_not_tls_is_reset_at_once() {
    let lab = Lab::new(&["good.example"]);
    for bytes in [b"SSH-2.0-OpenSSH_9.2\r\n" as &[u8], b"GET / HTTP/1.1\r\nHost: good.example\r\n\r\n", &[0; 300]] {
        let outcome = tls(&lab, GOOD, bytes);
        assert_eq!((outcome.end, outcome.bytes.len()), (End::Reset, 0), "{outcome:?}");
        assert!(outcome.took < Duration::from_millis(200), "{outcome:?}");
    }
    let silent = lab.inside(|| exchange(GOOD, 443, &[]));
    assert_eq!(silent.end, End::Reset);
    assert!((Duration::from_secs(4)..Duration::from_secs(6)).contains(&silent.took), "{silent:?}");
    assert!(lab.internet.heard_at(GOOD).is_empty());
}

#[test]
fn row_7_a_hello_in_pieces_is_read_as_a_whole() {
    let lab = Lab::new(&["good.example"]);
    for (name, reaches) in [("good.example", true), ("evil.example", false)] {
        let small = hello(name);
        let bytes: Vec<&[u8]> = small.chunks(1).collect();
        let large = hello_with(&[name.as_bytes()], 8000);
        let post_quantum = hello_with(&[name.as_bytes()], 1700);
        let two_records = records(&small[5..], small.len() / 2);
        let crumbs = records(&post_quantum[5..], 7);
        let (front, back) = small.split_at(60);
        for pieces in [bytes, vec![front, back], vec![&large], vec![&post_quantum], vec![&two_records], vec![&crumbs]] {
            let outcome = lab.inside(|| exchange(GOOD, 443, &pieces));
            let expected = if reaches { format!("{GOOD}\n") } else { String::new() };
            assert_eq!(outcome.alert().map_or(outcome.text(), |_| String::new()), expected, "{outcome:?}");
        }
    }
    let too_large = records(&hello_with(&[b"good.example"], 16_320)[5..], 9000);
    assert_eq!(tls(&lab, GOOD, &too_large).alert(), Some(DECODE_ERROR));
}

#[test]
fn row_9_what_is_changed_after_it_was_read_is_not_sent_on() {
    let lab = Lab::new(&["good.example"]);
    let (good, evil) = (hello("good.example"), hello("evil.example"));
    let pages = std::fs::File::from(rustix::fs::memfd_create("hello", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
    lab.inside(|| {
        for round in 0..70 {
            pages.write_all_at(&good, 0).unwrap();
            let stream = connect(GOOD, 443);
            let sent = rustix::fs::sendfile(&stream, &pages, Some(&mut 0), good.len()).unwrap();
            assert_eq!(sent, good.len());
            // Sooner and later: before it was read it is another hello, which is refused.
            std::thread::sleep(Duration::from_micros(round * 20));
            pages.write_all_at(&evil, 0).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            hear(stream, Instant::now());
        }
    });
    let heard = lab.internet.heard_at(GOOD);
    assert!(heard.iter().all(|bytes| *bytes == good), "a changed name came through");
    assert!(!heard.is_empty());
}

#[test]
fn rows_10_and_11_names_have_one_form_and_wildcards_one_meaning() {
    let lab = Lab::new(&["good.example", "*.other.example"]);
    for name in ["www.other.example", "a.b.other.example"] {
        lab.internet.name(name, &[GOOD]);
    }
    for name in ["good.example", "GOOD.Example", "good.example.", "www.other.example", "A.b.OTHER.example."] {
        assert_eq!(tls(&lab, GOOD, &hello(name)).text(), format!("{GOOD}\n"), "{name}");
    }
    for name in [
        "good.example..",
        "goodxexample",
        "xgood.example",
        "www.good.example",
        "good.example.evil.example",
        "good",
        "other.example",
        "evilother.example",
        "xn--good-example",
        "good.examp1e",
    ] {
        let outcome = tls(&lab, GOOD, &hello(name));
        assert!(outcome.alert().is_some(), "{name}: {outcome:?}");
    }
}

#[test]
fn row_15_a_name_that_leads_inside_is_not_followed() {
    let lab = Lab::new(&["good.example"]);
    for address in ["169.254.169.254", "127.0.0.1", "10.0.0.1", "100.127.0.1", "192.168.1.1"] {
        lab.internet.name("good.example", &[address.parse().unwrap()]);
        let outcome = tls(&lab, GOOD, &hello("good.example"));
        assert_eq!((outcome.bytes.len(), outcome.end), (0, End::Reset), "{address}: {outcome:?}");
    }
}

#[test]
fn a_second_hello_to_another_host_is_cut_off() {
    let lab = Lab::new(&["good.example"]);
    let (good, evil) = (hello("good.example"), hello("evil.example"));
    let early = [23, 3, 3, 0, 3, 1, 2, 3];
    for flight in [[good.as_slice(), &evil].concat(), [&good, early.as_slice(), &evil].concat()] {
        tls(&lab, GOOD, &flight);
    }
    let heard = lab.internet.heard_at(GOOD).concat();
    assert!(!heard.windows(12).any(|bytes| bytes == b"evil.example"), "{}", String::from_utf8_lossy(&heard));
    let same = tls(&lab, GOOD, &[good.as_slice(), &good].concat());
    assert!(same.text().starts_with(&format!("{GOOD}\n")), "{same:?}");
}

#[test]
fn row_22_who_says_nothing_does_not_keep_others_out() {
    let lab = Lab::new(&["good.example"]);
    lab.inside(|| {
        let idle: Vec<_> = (0..2000).map(|_| connect(GOOD, 443)).collect();
        let slow: Vec<_> = (0..300)
            .map(|_| {
                let mut stream = connect(GOOD, 443);
                stream.write_all(&hello("good.example")[..20]).unwrap();
                stream
            })
            .collect();
        let outcome = exchange(GOOD, 443, &[&hello("good.example")]);
        assert_eq!(outcome.text(), format!("{GOOD}\n"));
        assert!(outcome.took < Duration::from_millis(800), "{outcome:?}");
        std::thread::sleep(Duration::from_millis(5500));
        for mut stream in idle.into_iter().chain(slow) {
            stream.set_nonblocking(true).unwrap();
            let end = stream.read(&mut [0; 1]).map_err(|error| error.kind());
            assert!(matches!(end, Ok(0) | Err(std::io::ErrorKind::ConnectionReset)), "still held: {end:?}");
        }
    });
}

#[test]
fn bytes_pass_both_ways_whole_and_halves_are_closed_apart() {
    let lab = Lab::new(&["good.example"]);
    let received = lab.inside(|| {
        let mut stream = connect(GOOD, 443);
        stream.write_all(&hello("good.example")).unwrap();
        let mut name = vec![0; format!("{GOOD}\n").len()];
        stream.read_exact(&mut name).unwrap();
        let data: Vec<u8> = (0..20_000_000_u32).map(|number| (number >> 3).to_le_bytes()[0]).collect();
        let mut writer = stream.try_clone().unwrap();
        let sent = data.clone();
        let writing = std::thread::spawn(move || {
            writer.write_all(&sent).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        writing.join().unwrap();
        assert!(received == data, "{} of {} bytes came back", received.len(), data.len());
        received.len() as u64
    });
    let flow = lab.flow(|flow| flow.kind == FlowKind::Tls && flow.received > 1000);
    assert_eq!(flow.received, received + format!("{GOOD}\n").len() as u64);
}
