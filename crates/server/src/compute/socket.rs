//! The handshake of a WebSocket (RFC 6455, section 4.2), and the connection after it.

use std::sync::Arc;

use bastide_arm::error::ArmError;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::frame::LONGEST;
use crate::front::Front;

/// A WebSocket, at the server.
pub(crate) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// What goes on over a connection after its first answer.
#[derive(Clone)]
pub(crate) struct Session(Arc<dyn Fn(Arc<Front>, Socket) -> BoxFuture<'static, ()> + Send + Sync>);

impl Session {
    /// What `carry` does.
    pub(crate) fn new<F>(carry: impl Fn(Arc<Front>, Socket) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self(Arc::new(move |front, socket| Box::pin(carry(front, socket))))
    }

    /// Goes on until it is over.
    pub(crate) async fn run(self, front: Arc<Front>, upgrade: OnUpgrade) {
        match upgrade.await {
            Ok(upgraded) => {
                let socket = Socket::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(configuration())).await;
                (self.0)(front, socket).await;
            }
            Err(error) => tracing::debug!("a WebSocket was not opened: {error}"),
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Session")
    }
}

/// The headers that answer the handshake in a request's headers, or why there is none. Of the sub-protocols that were
/// offered ours is taken.
pub(crate) fn accept(headers: &HeaderMap) -> Result<HeaderMap, ArmError> {
    let needed = || {
        let message = "This is a WebSocket: ask for it over HTTP/1.1 with 'Connection: Upgrade', 'Upgrade: websocket', \
                       'Sec-WebSocket-Version: 13' and a 'Sec-WebSocket-Key'.";
        ArmError::new(426, "UpgradeRequired", message)
    };
    let is_version_13 = headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    if !is_asked_for(headers) || !is_version_13 {
        return Err(needed());
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or_else(needed)?;
    let accepted = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(|_| needed())?;
    let mut answer = HeaderMap::from_iter([
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, accepted),
    ]);
    if words(headers, &header::SEC_WEBSOCKET_PROTOCOL).any(|offered| offered == PROTOCOL) {
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    }
    Ok(answer)
}

/// Whether a request asks for a WebSocket.
pub(crate) fn is_asked_for(headers: &HeaderMap) -> bool {
    words(headers, &header::CONNECTION).any(|word| word.eq_ignore_ascii_case("upgrade"))
        && words(headers, &header::UPGRADE).any(|word| word.eq_ignore_ascii_case("websocket"))
}

/// The words of a header that is a list.
pub(crate) fn words<'a>(headers: &'a HeaderMap, name: &'a HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Small buffers: a connection that rests holds little.
fn configuration() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(0)
        .max_write_buffer_size(4 * LONGEST)
        .max_message_size(Some(LONGEST))
        .max_frame_size(Some(LONGEST))
}

/// The sub-protocol of these sockets.
pub(crate) const PROTOCOL: &str = "bastide.v1";

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_handshake_is_answered_as_the_standard_says() {
        let mut asked = headers(&[
            (header::CONNECTION, "keep-alive, Upgrade"),
            (header::UPGRADE, "WebSocket"),
            (header::SEC_WEBSOCKET_VERSION, "13"),
            (header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
        ]);
        let answer = accept(&asked).unwrap();
        // The example of RFC 6455, section 1.3.
        assert_eq!(answer[header::SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(!answer.contains_key(header::SEC_WEBSOCKET_PROTOCOL));
        asked.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("bastide.bearer.a.b.c, bastide.v1"));
        assert_eq!(accept(&asked).unwrap()[header::SEC_WEBSOCKET_PROTOCOL], PROTOCOL);
    }

    #[test]
    fn what_is_no_handshake_is_told_what_would_be_one() {
        for wrong in [
            headers(&[]),
            headers(&[
                (header::CONNECTION, "Upgrade"),
                (header::UPGRADE, "h2c"),
                (header::SEC_WEBSOCKET_VERSION, "13"),
            ]),
            headers(&[(header::CONNECTION, "Upgrade"), (header::UPGRADE, "websocket")]),
        ] {
            assert_eq!(accept(&wrong).unwrap_err().status, 426);
        }
    }
}
