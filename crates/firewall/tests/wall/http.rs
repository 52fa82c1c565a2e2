//! Port 80: rows 5, 17, 18 and 19.

use std::io::{Read, Write};
use std::time::Duration;

use bastide_plan::flow::{FlowKind, FlowVerdict};

use crate::client::{End, Outcome, connect, exchange};
use crate::internet::{EVIL, GOOD, OTHER};
use crate::lab::Lab;

fn http(lab: &Lab, text: &str) -> Outcome {
    lab.inside(|| exchange(GOOD, 80, &[text.as_bytes()]))
}

fn get(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[test]
fn a_request_to_an_approved_host_passes_and_others_get_a_page_that_says_what_to_do() {
    let lab = Lab::new(&["good.example"]);
    let outcome = http(&lab, &get("good.example", "/a"));
    assert!(outcome.text().ends_with(&format!("{GOOD} /a 0\n")), "{outcome:?}");
    let outcome = http(&lab, &get("evil.example", "/"));
    assert!(outcome.text().starts_with("HTTP/1.1 403 Forbidden\r\n"), "{}", outcome.text());
    assert!(outcome.text().contains("add an FQDN rule for 'evil.example' to hub 'hub'"), "{}", outcome.text());
    assert_eq!(outcome.end, End::Closed);
    let flow = lab.flow(|flow| flow.verdict == FlowVerdict::Denied);
    assert_eq!((flow.kind, flow.name.as_deref()), (FlowKind::Http, Some("evil.example")));
}

#[test]
fn row_17_every_request_on_a_connection_is_judged() {
    let lab = Lab::new(&["good.example", "other.example"]);
    // Pipelined, one after the other, and behind a body.
    let post = "POST /p HTTP/1.1\r\nHost: good.example\r\nContent-Length: 5\r\n\r\nhello";
    let chunked = "POST /c HTTP/1.1\r\nHost: good.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for first in [get("good.example", "/1"), post.to_owned(), chunked.to_owned()] {
        let outcome = http(&lab, &format!("{first}{}", get("evil.example", "/2")));
        let text = outcome.text();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("HTTP/1.1 403 Forbidden"), "{first}: {text}");
    }
    let outcome =
        http(&lab, &[get("good.example", "/1"), get("other.example", "/2"), get("good.example", "/3")].concat());
    for answer in [format!("{GOOD} /1 0"), format!("{OTHER} /2 0"), format!("{GOOD} /3 0")] {
        assert!(outcome.text().contains(&answer), "{}", outcome.text());
    }
    assert!(lab.internet.heard_at(EVIL).is_empty());
    let heard = lab.internet.heard_at(GOOD).concat();
    assert!(!heard.windows(4).any(|bytes| bytes == b"evil"), "{}", String::from_utf8_lossy(&heard));
}

#[test]
fn row_17_what_could_be_read_in_two_ways_is_refused() {
    let lab = Lab::new(&["good.example"]);
    for request in [
        "GET http://evil.example/ HTTP/1.1\r\nHost: good.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: good.example\r\nHost: evil.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: good.example\r\n Host: evil.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : good.example\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: good.example@evil.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: good.example\0\r\n\r\n",
        "GET / HTTP/1.1\nHost: good.example\n\n",
        "POST / HTTP/1.1\r\nHost: good.example\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: good.example\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        "POST / HTTP/1.1\r\nHost: good.example\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\n\r\n",
    ] {
        let outcome = http(&lab, request);
        assert!(outcome.text().starts_with("HTTP/1.1 400 Bad Request\r\n"), "{request:?}: {}", outcome.text());
        assert_eq!(outcome.end, End::Closed, "{request:?}");
    }
    assert!(lab.internet.heard_at(GOOD).is_empty() && lab.internet.heard_at(EVIL).is_empty());
}

#[test]
fn row_17_a_head_is_written_anew() {
    let lab = Lab::new(&["good.example"]);
    http(
        &lab,
        "GET http://GOOD.example:80/x HTTP/1.1\r\nhost: Good.Example.\r\nX:  y \r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\r\n",
    );
    let heard = String::from_utf8(lab.internet.heard_at(GOOD).concat()).unwrap();
    assert_eq!(heard, "GET /x HTTP/1.1\r\nHost: good.example\r\nX: y\r\nConnection: close\r\n\r\n");
}

#[test]
fn row_18_tunnels_and_http_2_are_refused_and_a_websocket_passes() {
    let lab = Lab::new(&["good.example"]);
    for request in [
        "CONNECT good.example:443 HTTP/1.1\r\nHost: good.example:443\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: good.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
    ] {
        let outcome = http(&lab, request);
        assert!(outcome.text().starts_with("HTTP/1.1 400 Bad Request\r\n"), "{request:?}: {}", outcome.text());
    }
    let upgrade = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: good.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    };
    let outcome = http(&lab, &format!("{}\x00anything {}", upgrade("/ws"), get("evil.example", "/")));
    assert!(outcome.text().starts_with("HTTP/1.1 101 "), "{}", outcome.text());
    assert!(outcome.text().contains("anything GET / HTTP/1.1\r\nHost: evil.example"), "{}", outcome.text());
    // A host that does not switch stays a host whose requests are read.
    let outcome = http(&lab, &format!("{}{}", upgrade("/other"), get("evil.example", "/")));
    assert!(outcome.text().contains("/other 0\nHTTP/1.1 403 Forbidden"), "{}", outcome.text());
}

#[test]
fn row_19_an_approved_host_at_another_address_is_the_approved_host() {
    let lab = Lab::new(&["good.example"]);
    let outcome = lab.inside(|| exchange(EVIL, 80, &[get("good.example", "/").as_bytes()]));
    assert!(outcome.text().ends_with(&format!("{GOOD} / 0\n")), "{outcome:?}");
    assert!(lab.internet.heard_at(EVIL).is_empty());
}

#[test]
fn row_5_what_is_not_http_does_not_pass() {
    let lab = Lab::new(&["good.example"]);
    for bytes in [&crate::client::hello("good.example") as &[u8], b"SSH-2.0-OpenSSH_9.2\r\n", &[0xff; 100]] {
        let outcome = lab.inside(|| exchange(GOOD, 80, &[bytes]));
        assert!(outcome.text().starts_with("HTTP/1.1 400 ") && outcome.took < Duration::from_secs(1), "{outcome:?}");
    }
    let silent = lab.inside(|| exchange(GOOD, 80, &[b"GET / HTTP/1.1\r\nHost: good"]));
    assert!((Duration::from_secs(4)..Duration::from_secs(6)).contains(&silent.took), "{silent:?}");
    assert!(lab.internet.heard_at(GOOD).is_empty());
}

#[test]
fn large_bodies_pass_both_kinds_of_framing() {
    let lab = Lab::new(&["good.example"]);
    let body = vec![b'x'; 3_000_000];
    let mut length =
        format!("POST /l HTTP/1.1\r\nHost: good.example\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    length.extend(&body);
    let mut chunked = b"POST /c HTTP/1.1\r\nHost: good.example\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(700_000) {
        chunked.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        chunked.extend(chunk);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    let counts = lab.inside(|| {
        let mut stream = connect(GOOD, 80);
        [&length, &chunked].map(|request| {
            stream.write_all(request).unwrap();
            let mut answer = [0; 1000];
            let count = stream.read(&mut answer).unwrap();
            String::from_utf8_lossy(&answer[..count]).trim_end().rsplit(' ').next().unwrap().to_owned()
        })
    });
    assert_eq!(counts[0], "3000000");
    // With the lines that delimit the chunks, as the host of the lab counts.
    let counted: usize = counts[1].parse().unwrap();
    assert_eq!(
        counted,
        chunked.len() - b"POST /c HTTP/1.1\r\nHost: good.example\r\nTransfer-Encoding: chunked\r\n\r\n".len()
    );
}
