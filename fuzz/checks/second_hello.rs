//! A second ClientHello: however a client cuts its bytes, none of a hello to another host is let through.

use bastide_inspect::Name;
use bastide_inspect::client_hello::Hello;
use bastide_inspect::retry::{RetryWatch, Watched};

/// Reads the first byte as a cut, a bit of it as who speaks first, and the rest as what a client sends behind its hello.
pub fn check(data: &[u8]) {
    let Some((how, flight)) = data.split_first() else { return };
    let at_once = passed(flight, flight.len().max(1), how & 1 == 0);
    let in_pieces = passed(flight, usize::from(how >> 1).max(1), how & 1 == 0);
    assert_eq!(at_once.1, in_pieces.1, "the cut decides");
    assert!(at_once.0 == in_pieces.0 || !at_once.1, "the cut decides");
    if let Hello::Found(hello) = Hello::read(flight)
        && hello.name.as_str() != NAME
    {
        assert_eq!(at_once.0, 0, "a hello to {} was let through", hello.name);
    }
}

/// How many bytes are let through, and whether the connection lives.
fn passed(flight: &[u8], step: usize, server_waits: bool) -> (usize, bool) {
    let mut watch = RetryWatch::new(Name::parse(NAME).expect("a name"));
    if !server_waits {
        // A retry request: see RFC 8446, section 4.1.3.
        watch.server(RETRY);
    }
    let (mut sent, mut arrived) = (0, 0);
    while arrived < flight.len() {
        arrived = (arrived + step).min(flight.len());
        match watch.client(&flight[sent..arrived]) {
            Watched::Pass => sent = arrived,
            Watched::Hold(count) => {
                assert!(sent + count <= arrived);
                sent += count;
            }
            Watched::Refuse(_) => return (sent, false),
        }
    }
    (sent, true)
}

const NAME: &str = "hello.example.org";
const RETRY: &[u8] =
    b"\x16\x03\x03\x00\x58\x02\x00\x00\x54\x03\x03\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91\
    \xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c";
