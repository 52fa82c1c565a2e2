use proptest::prelude::*;

use super::*;

/// What passes to the far side, as text; or why nothing does.
fn passes(head: &str) -> Result<String, HttpRefusal> {
    match Request::read(head.as_bytes(), 80) {
        Head::Found(request) => {
            let mut out = Vec::new();
            request.write(&mut out);
            Ok(String::from_utf8(out).unwrap())
        }
        Head::NeedMore => panic!("{head:?} has an end"),
        Head::Refuse(refusal) => Err(refusal),
    }
}

fn get(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: example.org\r\n{fields}\r\n")
}

#[test]
fn a_request_is_written_anew() {
    let head = "GET /simple/?q=1 HTTP/1.1\r\nUser-Agent: pip/24\r\nhost:  Example.ORG.:80 \r\nAccept:*/*\r\n\r\nrest";
    let expected = "GET /simple/?q=1 HTTP/1.1\r\nHost: example.org\r\nUser-Agent: pip/24\r\nAccept: */*\r\n\r\n";
    assert_eq!(passes(head).as_deref(), Ok(expected));
    let Head::Found(request) = Request::read(head.as_bytes(), 80) else { panic!("{head:?} is a request") };
    assert_eq!((request.host.as_str(), request.length), ("example.org", head.len() - 4));
    assert!(request.keeps_alive && !request.is_websocket);
}

#[test]
fn an_absolute_address_must_name_the_same_host() {
    let asked = |target: &str| passes(&format!("GET {target} HTTP/1.1\r\nHost: example.org\r\n\r\n"));
    for (target, expected) in [
        ("http://example.org/a?b", "/a?b"),
        ("HTTP://EXAMPLE.org.:80/", "/"),
        ("http://example.org", "/"),
        ("http://example.org//evil.org/", "//evil.org/"),
    ] {
        let written = asked(target).unwrap();
        assert_eq!(written, format!("GET {expected} HTTP/1.1\r\nHost: example.org\r\n\r\n"), "{target}");
    }
    for (target, refusal) in [
        ("http://evil.org/", HttpRefusal::OtherHost),
        ("http://example.org:8080/", HttpRefusal::Port),
        ("http://example.org@evil.org/", HttpRefusal::Name(crate::NameError::Character('@'))),
        ("http://example.org\\@evil.org/", HttpRefusal::Name(crate::NameError::Character('\\'))),
        ("http://example.org?x", HttpRefusal::Target),
        ("https://example.org/", HttpRefusal::Target),
        ("ftp://example.org/", HttpRefusal::Target),
        ("example.org:80", HttpRefusal::Target),
        ("*", HttpRefusal::Target),
        ("/a#b", HttpRefusal::Target),
        ("/a\tb", HttpRefusal::Target),
    ] {
        assert_eq!(asked(target), Err(refusal), "{target}");
    }
    let options = passes("OPTIONS http://example.org HTTP/1.1\r\nHost: example.org\r\n\r\n");
    assert_eq!(options.unwrap(), "OPTIONS * HTTP/1.1\r\nHost: example.org\r\n\r\n");
}

#[test]
fn there_is_exactly_one_host() {
    let hosts = |fields: &str| passes(&format!("GET / HTTP/1.1\r\n{fields}\r\n"));
    for (fields, refusal) in [
        ("", HttpRefusal::Host),
        ("Host: a.org\r\nHost: a.org\r\n", HttpRefusal::Host),
        ("Host: a.org\r\nhOST: b.org\r\n", HttpRefusal::Host),
        ("Host:\r\n", HttpRefusal::Name(crate::NameError::Empty)),
        ("Host: a.org, b.org\r\n", HttpRefusal::Name(crate::NameError::Character(','))),
        ("Host: a.org b.org\r\n", HttpRefusal::Name(crate::NameError::Character(' '))),
        ("Host: a@b.org\r\n", HttpRefusal::Name(crate::NameError::Character('@'))),
        ("Host: 203.0.113.1\r\n", HttpRefusal::Name(crate::NameError::Address)),
        ("Host: [::1]\r\n", HttpRefusal::Name(crate::NameError::Character(':'))),
        ("Host: a.org:443\r\n", HttpRefusal::Port),
        ("Host: a.org:080\r\n", HttpRefusal::Port),
        ("Host: a.org:\r\n", HttpRefusal::Port),
        ("Host: a.org:80:80\r\n", HttpRefusal::Name(crate::NameError::Character(':'))),
        ("Host : a.org\r\n", HttpRefusal::Line),
        (" Host: a.org\r\n", HttpRefusal::Line),
        ("X: y\r\n Host: a.org\r\nHost: b.org\r\n", HttpRefusal::Line),
        ("Host: a.org\0.evil.org\r\n", HttpRefusal::Line),
        ("Host: a.org\nX: y\r\n", HttpRefusal::LineEnd),
        ("Host: a.org\rX: y\r\n", HttpRefusal::LineEnd),
    ] {
        assert_eq!(hosts(fields), Err(refusal), "{fields:?}");
    }
}

#[test]
fn the_length_of_a_body_means_one_thing() {
    let framing = |fields: &str| match Request::read(get(fields).as_bytes(), 80) {
        Head::Found(request) => Ok(request.framing),
        Head::NeedMore => panic!("{fields:?} has an end"),
        Head::Refuse(refusal) => Err(refusal),
    };
    assert_eq!(framing(""), Ok(Framing::Empty));
    assert_eq!(framing("Content-Length: 0012\r\n"), Ok(Framing::Length(12)));
    assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
    for fields in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length:\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding:\r\n",
        "Content_Length: 5\r\n",
        "Transfer_Encoding: chunked\r\n",
    ] {
        assert_eq!(framing(fields), Err(HttpRefusal::Length), "{fields:?}");
    }
    let old = "POST / HTTP/1.0\r\nHost: a.org\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(passes(old), Err(HttpRefusal::Length));
}

#[test]
fn tunnels_and_http_2_do_not_pass() {
    assert_eq!(passes("CONNECT evil.org:443 HTTP/1.1\r\nHost: evil.org\r\n\r\n"), Err(HttpRefusal::Connect));
    assert_eq!(passes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Err(HttpRefusal::Http2));
    let h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n";
    assert_eq!(passes(&get(h2c)), Err(HttpRefusal::Http2));
    assert_eq!(passes(&get("Connection: upgrade\r\nUpgrade: websocket, h2c\r\n")), Err(HttpRefusal::Http2));
    assert_eq!(passes(&get("Connection: upgrade\r\nUpgrade: tls/1.0\r\n")), Err(HttpRefusal::Connection));
    assert_eq!(passes("GET / HTTP/1.2\r\n\r\n"), Err(HttpRefusal::Version));
    assert_eq!(passes("GET / HTTP/0.9\r\n\r\n"), Err(HttpRefusal::Version));
    for line in
        ["GET /\r\n\r\n", "\r\n\r\n", "GET  / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1 \r\n\r\n", "G(T / HTTP/1.1\r\n\r\n"]
    {
        assert_eq!(passes(line), Err(HttpRefusal::NotHttp), "{line:?}");
    }
}

#[test]
fn a_websocket_passes() {
    let fields = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n";
    let expected = "GET / HTTP/1.1\r\nHost: example.org\r\nSec-WebSocket-Version: 13\r\nConnection: Upgrade\r\n\
                    Upgrade: websocket\r\n\r\n";
    assert_eq!(passes(&get(fields)).as_deref(), Ok(expected));
    for fields in [
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 4\r\n",
    ] {
        assert_eq!(passes(&get(fields)), Err(HttpRefusal::Connection), "{fields:?}");
    }
}

#[test]
fn what_is_meant_for_this_hop_stays_here() {
    let fields = "Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nProxy-Connection: keep-alive\r\nX: y\r\n";
    let expected = "GET / HTTP/1.1\r\nHost: example.org\r\nX: y\r\nConnection: close\r\n\r\n";
    assert_eq!(passes(&get(fields)).as_deref(), Ok(expected));
    for member in ["Host", "content-length", "Transfer-Encoding", "Cookie"] {
        assert_eq!(passes(&get(&format!("Connection: {member}\r\n"))), Err(HttpRefusal::Connection), "{member}");
    }
    let old = "GET / HTTP/1.0\r\nHost: example.org\r\nConnection: Keep-Alive\r\n\r\n";
    let expected = "GET / HTTP/1.0\r\nHost: example.org\r\nConnection: keep-alive\r\n\r\n";
    assert_eq!(passes(old).as_deref(), Ok(expected));
}

#[test]
fn who_does_not_speak_http_is_refused_at_once() {
    for bytes in [b"\x16\x03\x01\x00" as &[u8], b"\0", b" ", b"SSH-2.0-OpenSSH_9.2\r\n", &[b'A'; 33]] {
        assert_eq!(Request::read(bytes, 80), Head::Refuse(read_refusal(bytes)), "{bytes:?}");
    }
    assert_eq!(Request::read(b"", 80), Head::NeedMore);
    assert_eq!(Request::read(b"GE", 80), Head::NeedMore);
    assert_eq!(Request::read(b"GET / HTTP/1.1\r", 80), Head::NeedMore);
}

/// A control character is found before it is known that the line is none of HTTP.
fn read_refusal(bytes: &[u8]) -> HttpRefusal {
    if bytes.first().is_some_and(|byte| *byte < b' ') { HttpRefusal::Line } else { HttpRefusal::NotHttp }
}

#[test]
fn a_head_has_limits() {
    let long = get(&format!("X: {}\r\n", "y".repeat(MAX_HEAD)));
    assert_eq!(passes(&long), Err(HttpRefusal::TooLong));
    assert_eq!(Request::read(&long.as_bytes()[..MAX_HEAD - 1], 80), Head::NeedMore);
    assert!(passes(&get(&"X: y\r\n".repeat(MAX_FIELDS - 1))).is_ok());
    assert_eq!(passes(&get(&"X: y\r\n".repeat(MAX_FIELDS))), Err(HttpRefusal::TooLong));
}

fn response(method: &str, head: &str) -> Result<(u16, Framing, bool), HttpRefusal> {
    match Response::read(head.as_bytes(), method) {
        Head::Found(response) => Ok((response.status, response.framing, response.keeps_alive)),
        Head::NeedMore => panic!("{head:?} has an end"),
        Head::Refuse(refusal) => Err(refusal),
    }
}

#[test]
fn the_end_of_a_response_is_known() {
    for (method, head, expected) in [
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", (200, Framing::Length(5), true)),
        ("GET", "HTTP/1.1 200\r\nContent-Length: 5\r\nConnection: x, Close\r\n\r\n", (200, Framing::Length(5), false)),
        ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", (200, Framing::Chunked, true)),
        ("GET", "HTTP/1.1 200 OK\r\n\r\n", (200, Framing::UntilClose, false)),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", (200, Framing::Empty, true)),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", (304, Framing::Empty, true)),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", (204, Framing::Empty, true)),
        ("POST", "HTTP/1.1 100 Continue\r\n\r\n", (100, Framing::Empty, true)),
        ("GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", (200, Framing::Length(5), false)),
        (
            "GET",
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n",
            (200, Framing::Length(5), true),
        ),
    ] {
        assert_eq!(response(method, head), Ok(expected), "{head:?}");
    }
}

#[test]
fn a_response_that_could_end_in_two_places_is_refused() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    ] {
        assert_eq!(response("GET", head), Err(HttpRefusal::Length), "{head:?}");
    }
    for head in
        ["HTTP/2 200\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000\r\n\r\n", "ICY 200 OK\r\n\r\n", "<html>\r\n"]
    {
        assert!(matches!(response("GET", head), Err(HttpRefusal::NotHttp)), "{head:?}");
    }
    assert_eq!(Response::read(b"SSH-2.0", "GET"), Head::Refuse(HttpRefusal::NotHttp));
    assert_eq!(Response::read(b"HTTP/1.1 2", "GET"), Head::NeedMore);
}

#[test]
fn only_101_switches_and_other_1xx_are_interim() {
    let read = |head: &str| match Response::read(head.as_bytes(), "GET") {
        Head::Found(response) => (response.is_interim(), response.switches()),
        other => panic!("{other:?}"),
    };
    assert_eq!(read("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"), (true, false));
    assert_eq!(read("HTTP/1.1 101 Switching Protocols\r\n\r\n"), (false, true));
    assert_eq!(read("HTTP/1.1 200 OK\r\n\r\n"), (false, false));
}

/// How many bytes belong to the body, when they arrive in pieces of at most `step`.
fn body(framing: Framing, bytes: &[u8], step: usize) -> Result<Option<usize>, BodyError> {
    let mut reader = BodyReader::new(framing);
    let mut taken = 0;
    for piece in bytes.chunks(step) {
        let read = reader.read(piece)?;
        taken += read;
        if reader.is_done() {
            return Ok(Some(taken));
        }
        assert_eq!(read, piece.len());
    }
    Ok(None)
}

#[test]
fn bodies_end_where_they_say() {
    let chunked = b"5\r\nhello\r\n0A;".to_vec();
    assert_eq!(body(Framing::Chunked, &chunked, 100), Ok(None));
    for (framing, bytes, expected) in [
        (Framing::Length(5), b"helloGET /" as &[u8], Some(5)),
        (Framing::Length(5), b"hell", None),
        (Framing::Chunked, b"5\r\nhello\r\n0\r\n\r\nGET /", Some(15)),
        (Framing::Chunked, b"0\r\nX-Sum: 1\r\n\r\nGET /", Some(15)),
        (Framing::Chunked, b"000a\r\n0123456789\r\n0", None),
        (Framing::UntilClose, b"all", None),
    ] {
        for step in [1, 2, 7, 100] {
            assert_eq!(body(framing, bytes, step), Ok(expected), "{framing:?} in {step}");
        }
    }
    assert!(BodyReader::new(Framing::Empty).is_done());
    assert!(BodyReader::new(Framing::Length(0)).is_done());
}

#[test]
fn chunks_are_read_strictly() {
    for (bytes, error) in [
        (b"5;x=y\r\nhello\r\n" as &[u8], BodyError::Size),
        (b"5 \r\nhello\r\n", BodyError::Size),
        (b"+5\r\nhello\r\n", BodyError::Size),
        (b"0x5\r\nhello\r\n", BodyError::Size),
        (b"5\nhello\r\n", BodyError::Size),
        (b"\r\n", BodyError::Size),
        (b"10000000000000000\r\n", BodyError::Size),
        (b"00000000000000000000000005\r\n", BodyError::Size),
        (b"5\r\nhelloo\r\n", BodyError::ChunkEnd),
        (b"5\r\nhello\n", BodyError::ChunkEnd),
        (b"5\r\nhell\r\n0\r\n", BodyError::ChunkEnd),
        (b"0\r\nHost: evil.org\r\n\r\n", BodyError::Trailer),
        (b"0\r\nContent-Length: 5\r\n\r\n", BodyError::Trailer),
        (b"0\r\nbroken\r\n\r\n", BodyError::Trailer),
        (b"0\r\nX: y\n\r\n", BodyError::Trailer),
        (b"0\r\nX: \0\r\n\r\n", BodyError::Trailer),
        (b"0\r\n folded\r\n\r\n", BodyError::Trailer),
    ] {
        for step in [1, 3, 100] {
            assert_eq!(body(Framing::Chunked, bytes, step), Err(error), "{:?}", String::from_utf8_lossy(bytes));
        }
    }
    let endless = [b"0\r\n".to_vec(), b"X: y\r\n".repeat(3000)].concat();
    assert_eq!(body(Framing::Chunked, &endless, 64), Err(BodyError::Trailer));
}

#[test]
fn what_passes_unseen_is_counted() {
    let mut reader = BodyReader::new(Framing::Chunked);
    assert_eq!(reader.opaque(), 0);
    assert_eq!(reader.read(b"64\r\nab"), Ok(6));
    assert_eq!(reader.opaque(), 98);
    reader.skip(98);
    assert_eq!((reader.opaque(), reader.is_done()), (0, false));
    assert_eq!(reader.read(b"\r\n0\r\n\r\n"), Ok(7));
    assert!(reader.is_done());
}

proptest! {
    // What is written is read as the same request: nobody behind the wall can understand anything else.
    #[test]
    fn a_request_written_anew_is_the_same_request(
        method in "(GET|POST|OPTIONS|x-[a-z]{0,5})",
        target in "(/|http://(a\\.org|A\\.ORG)(:80)?/)[ -~]{0,12}",
        fields in proptest::collection::vec(
            prop_oneof![
                "(Content-Length|Transfer-Encoding|Connection|Upgrade|TE|X): (5|chunked|close|keep-alive|upgrade|websocket|x)",
                "[!-9;-~]{1,6}:[ -~]{0,8}",
            ],
            0..4,
        ),
        version in "HTTP/1\\.[01]",
    ) {
        let head = format!("{method} {target} {version}\r\nHost: a.org\r\n{}\r\n\r\n", fields.join("\r\n"));
        let head = head.replace("\r\n\r\n\r\n", "\r\n\r\n");
        if let Head::Found(request) = Request::read(head.as_bytes(), 80) {
            let mut written = Vec::new();
            request.write(&mut written);
            let Head::Found(again) = Request::read(&written, 80) else {
                return Err(TestCaseError::fail(format!("{:?}", String::from_utf8_lossy(&written))));
            };
            prop_assert_eq!(again.length, written.len());
            prop_assert_eq!((&again.host, again.framing, again.target), (&request.host, request.framing, request.target));
            prop_assert_eq!((again.keeps_alive, again.is_websocket), (request.keeps_alive, request.is_websocket));
            let mut twice = Vec::new();
            again.write(&mut twice);
            prop_assert_eq!(twice, written);
        }
    }

    #[test]
    fn more_bytes_do_not_change_an_answer(head in "[GHPS][ETO/1.\\r\\n: -~]{0,60}", cut in any::<prop::sample::Index>()) {
        let whole = Request::read(head.as_bytes(), 80);
        let part = Request::read(&head.as_bytes()[..cut.index(head.len() + 1)], 80);
        let is_refused_either_way = matches!((&part, &whole), (Head::Refuse(_), Head::Refuse(_)));
        prop_assert!(part == Head::NeedMore || part == whole || is_refused_either_way, "{part:?}, then {whole:?}");
    }

    #[test]
    fn a_body_ends_in_the_same_place_however_it_arrives(bytes in "[0-2aX:\\r\\n]{0,40}", step in 1_usize..8) {
        let at_once = body(Framing::Chunked, bytes.as_bytes(), 100);
        let in_pieces = body(Framing::Chunked, bytes.as_bytes(), step);
        prop_assert_eq!(at_once.is_ok_and(|end| end.is_some()), in_pieces.is_ok_and(|end| end.is_some()));
    }
}
