//! The body of a request, bounded in size and in time: whoever reads one reads it here.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;

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

/// Bytes of a body that are read and dropped at least, so that its sender hears why nobody wants it.
pub(crate) const DRAIN: usize = 32 * 1024 * 1024;

/// Hears a sender out whose request was answered before its body was read, as is one that nobody is allowed to make. A
/// connection that is closed while it is being sent on takes the answer with it: the sender sees a broken pipe, not the
/// reason.
pub(crate) async fn heard_out(request: Request, next: Next) -> Response {
    // Who asks first whether to send the body has not sent it.
    if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
        return next.run(request).await;
    }
    let until = Instant::now() + TIME;
    let (parts, body) = request.into_parts();
    let body = Arc::new(Mutex::new(Rest { body, is_over: false }));
    let response = next.run(Request::from_parts(parts, Body::new(Shared(Arc::clone(&body))))).await;
    let was_given_up_on = matches!(response.status(), StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT);
    // Whoever still reads goes on.
    if let Some(rest) = Arc::into_inner(body).filter(|_| !was_given_up_on) {
        let rest = rest.into_inner().unwrap_or_else(PoisonError::into_inner);
        let _ = tokio::time::timeout_at(until, rest.drop_out()).await;
    }
    response
}

/// What is left of a body.
struct Rest {
    body: Body,
    /// Nobody may ask a stream again that has ended.
    is_over: bool,
}

impl Rest {
    async fn drop_out(mut self) {
        let mut length = 0;
        if self.is_over || self.body.size_hint().lower() > u64::try_from(DRAIN).unwrap_or(u64::MAX) {
            return;
        }
        while let Ok(Some(Ok(frame))) = tokio::time::timeout(SILENCE, self.body.frame()).await {
            length += frame.data_ref().map_or(0, Bytes::len);
            if length > DRAIN {
                return;
            }
        }
    }
}

/// A body whose rest is there for somebody else when its reader is gone.
struct Shared(Arc<Mutex<Rest>>);

impl Shared {
    fn rest(&self) -> MutexGuard<'_, Rest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut rest = self.rest();
        let polled = Pin::new(&mut rest.body).poll_frame(context);
        rest.is_over = matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.rest().body.size_hint()
    }
}

/// A sender who is silent for so long is not sending.
const SILENCE: Duration = Duration::from_secs(5);

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
    use axum::{Router, middleware};
    use futures_util::stream::{self, StreamExt as _};
    use tower::ServiceExt as _;

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

    /// What is left of a body of three pieces when a reader of the first has answered with a status.
    async fn left_of(status: StatusCode, headers: &[(header::HeaderName, &str)]) -> usize {
        left_by(1, status, headers).await
    }

    /// The same of a reader of so many pieces; the fourth is the end.
    async fn left_by(reads: usize, status: StatusCode, headers: &[(header::HeaderName, &str)]) -> usize {
        let left = Arc::new(Mutex::new(3));
        let counted = Arc::clone(&left);
        let pieces = stream::iter(["a", "b", "c"]).map(move |piece| {
            *counted.lock().unwrap() -= 1;
            Ok::<_, std::io::Error>(Bytes::from_static(piece.as_bytes()))
        });
        let answer = move |request: Request| async move {
            let mut body = request.into_body();
            for _ in 0..reads {
                let _ = body.frame().await;
            }
            status
        };
        let router = Router::new().fallback(answer).layer(middleware::from_fn(heard_out));
        let mut request = Request::new(Body::from_stream(pieces));
        request.headers_mut().extend(headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())));
        assert_eq!(router.oneshot(request).await.unwrap().status(), status);
        *left.lock().unwrap()
    }

    #[tokio::test]
    async fn who_is_refused_before_the_end_of_a_body_is_heard_out() {
        assert_eq!(left_of(StatusCode::FORBIDDEN, &[]).await, 0);
        assert_eq!(left_by(4, StatusCode::FORBIDDEN, &[]).await, 0, "what has ended is not read again");
        assert_eq!(left_of(StatusCode::PAYLOAD_TOO_LARGE, &[]).await, 2, "its reader has dropped what it was to drop");
        assert_eq!(left_of(StatusCode::FORBIDDEN, &[(header::EXPECT, "100-continue")]).await, 2, "nothing is coming");
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_no_body() {
        let broken = stream::iter([Ok(Bytes::from_static(b"a")), Err(std::io::Error::other("reset"))]);
        assert_eq!(collect(Body::from_stream(broken), &BOUNDS).await, Err(BodyError::Broken));
    }
}
