//! The body of a request, bounded in size and in time: whoever reads one reads it here.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use http_body_util::BodyExt as _;

/// What a sender may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes a body may have.
    pub(crate) limit: usize,
    /// Bytes read and dropped, of a body that is too large, so that its sender hears about it: one that is still sending
    /// when the connection closes never sees the answer.
    pub(crate) drain: usize,
    /// From the end of the head to the end of the body.
    pub(crate) time: Duration,
}

/// Why there is no body to work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    /// More bytes than the limit: 413.
    #[error("the body is too large")]
    TooLarge,
    /// Not at its end in time: 408. The connection cannot be used again.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// The sender broke it off: 400.
    #[error("the body broke off before its end")]
    Broken,
}

/// Time for a body to arrive, anywhere. A connection with a request under way is never idle, so this is what keeps a
/// sender who says nothing more from holding one.
pub(crate) const TIME: Duration = Duration::from_secs(30);

/// Reads a body to its end. One that says beforehand that it is too large to be drained is not read at all.
pub(crate) async fn collect(body: Body, bounds: &Bounds) -> Result<Vec<u8>, BodyError> {
    if body.size_hint().lower() > u64::try_from(bounds.drain).unwrap_or(u64::MAX) {
        return Err(BodyError::TooLarge);
    }
    match tokio::time::timeout(bounds.time, gather(body, bounds)).await {
        Ok(gathered) => gathered,
        Err(_) => Err(BodyError::TooSlow),
    }
}

async fn gather(mut body: Body, bounds: &Bounds) -> Result<Vec<u8>, BodyError> {
    let (mut kept, mut length) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
        length += data.len();
        if length <= bounds.limit {
            kept.extend_from_slice(&data);
        } else if length > bounds.drain {
            break;
        }
    }
    if length > bounds.limit { Err(BodyError::TooLarge) } else { Ok(kept) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::stream::{self, StreamExt as _};

    use super::*;

    const BOUNDS: Bounds = Bounds { limit: 4, drain: 8, time: Duration::from_millis(100) };

    /// Sends the pieces, then nothing, without an end.
    fn silent_after(pieces: &[&'static str]) -> Body {
        let pieces: Vec<_> =
            pieces.iter().map(|piece| Ok::<_, std::io::Error>(Bytes::from_static(piece.as_bytes()))).collect();
        Body::from_stream(stream::iter(pieces).chain(stream::pending()))
    }

    #[tokio::test]
    async fn a_body_of_the_limit_is_read() {
        assert_eq!(collect(Body::from("abcd"), &BOUNDS).await.unwrap(), b"abcd");
        assert_eq!(collect(Body::empty(), &BOUNDS).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_whether_or_not_it_says_so() {
        assert_eq!(collect(Body::from("abcde"), &BOUNDS).await, Err(BodyError::TooLarge));
        assert_eq!(collect(Body::from("abcdefghi"), &BOUNDS).await, Err(BodyError::TooLarge));
        // More than is drained: it does not wait for the end.
        assert_eq!(collect(silent_after(&["abcde", "fghi"]), &BOUNDS).await, Err(BodyError::TooLarge));
    }

    #[tokio::test]
    async fn a_sender_who_falls_silent_or_drips_is_given_up_on() {
        assert_eq!(collect(silent_after(&["ab"]), &BOUNDS).await, Err(BodyError::TooSlow));
        let drips = stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_millis(40)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"a")), ()))
        });
        assert_eq!(collect(Body::from_stream(drips.boxed()), &BOUNDS).await, Err(BodyError::TooSlow));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_no_body() {
        let broken = stream::iter([Ok(Bytes::from_static(b"a")), Err(std::io::Error::other("reset"))]);
        assert_eq!(collect(Body::from_stream(broken), &BOUNDS).await, Err(BodyError::Broken));
    }
}
