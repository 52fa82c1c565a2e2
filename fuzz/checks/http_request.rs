//! A request: what is written anew is the same request, and read so by a reader with fewer scruples.

use bastide_inspect::http::{BodyReader, Head, Request};

/// Reads the input as a request at port 80, with its body.
pub fn check(data: &[u8]) {
    let whole = Request::read(data, 80);
    for cut in [1, data.len() / 2, data.len().saturating_sub(1)] {
        let part = Request::read(&data[..cut.min(data.len())], 80);
        let both_refused = matches!((&part, &whole), (Head::Refuse(_), Head::Refuse(_)));
        assert!(part == Head::NeedMore || part == whole || both_refused, "{part:?}, then {whole:?}");
    }
    let Head::Found(request) = whole else { return };
    assert!(request.length <= data.len());
    let mut written = Vec::new();
    request.write(&mut written);
    let Head::Found(again) = Request::read(&written, 80) else { panic!("{:?}", String::from_utf8_lossy(&written)) };
    assert_eq!((&again.host, again.framing, again.target), (&request.host, request.framing, request.target));
    assert_eq!((again.keeps_alive, again.is_websocket), (request.keeps_alive, request.is_websocket));
    let mut twice = Vec::new();
    again.write(&mut twice);
    assert_eq!(written, twice);
    read_carelessly(&written, request.host.as_str());

    let body = &data[request.length..];
    let at_once = end(&mut BodyReader::new(request.framing), body, body.len().max(1));
    for step in [1, 2, 7] {
        assert_eq!(end(&mut BodyReader::new(request.framing), body, step), at_once, "in pieces of {step}");
    }
}

/// Lines end in LF, whatever else is there; the last Host counts.
fn read_carelessly(head: &[u8], host: &str) {
    let lines: Vec<_> = head.split(|byte| *byte == b'\n').collect();
    let fields = lines.iter().skip(1).map(|line| line.trim_ascii()).filter(|line| !line.is_empty());
    let hosts: Vec<_> = fields
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            line[..colon].trim_ascii().eq_ignore_ascii_case(b"host").then(|| line[colon + 1..].trim_ascii())
        })
        .collect();
    assert_eq!(hosts, [host.as_bytes()]);
    assert!(lines[0].split(|byte| *byte == b' ').nth(1).is_some_and(|target| target[0] == b'/' || target == b"*"));
}

/// Where a body ends; `None` when it does not, or is refused.
fn end(reader: &mut BodyReader, body: &[u8], step: usize) -> Option<usize> {
    let mut taken = 0;
    for piece in body.chunks(step) {
        taken += reader.read(piece).ok()?;
        if reader.is_done() {
            return Some(taken);
        }
    }
    reader.is_done().then_some(taken)
}
