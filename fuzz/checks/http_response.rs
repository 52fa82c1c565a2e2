//! A response: more bytes do not change where its head and its body end.

use bastide_inspect::http::{BodyReader, Head, Response};

/// Reads the input as a response to GET and to HEAD.
pub fn check(data: &[u8]) {
    for method in ["GET", "HEAD"] {
        let whole = Response::read(data, method);
        let part = Response::read(&data[..data.len() / 2], method);
        let both_refused = matches!((&part, &whole), (Head::Refuse(_), Head::Refuse(_)));
        assert!(part == Head::NeedMore || part == whole || both_refused, "{part:?}, then {whole:?}");
        let Head::Found(response) = whole else { continue };
        assert!(response.length <= data.len());
        assert!(!(response.is_interim() && response.switches()));
        let mut body = BodyReader::new(response.framing);
        let behind = &data[response.length..];
        if let Ok(count) = body.read(behind) {
            assert!(count <= behind.len());
            assert!(body.is_done() || count == behind.len());
        }
    }
}
