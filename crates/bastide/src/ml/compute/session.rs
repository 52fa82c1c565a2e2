//! A WebSocket into a compute.

use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use http::{HeaderMap, HeaderValue, header};
use reqwest::Upgraded;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use bastide_server::exec_frame::LONGEST;

use crate::client::ClientError;
use crate::ml::place::Workspace;

/// A session that did not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("what answers is no WebSocket of a Bastide")]
    Foreign,
    #[error("the connection was lost: {0}")]
    Lost(#[from] Error),
    #[error("the connection was lost")]
    Ended,
    #[error("{0}")]
    Closed(String),
    #[error("a message was not understood: {0}")]
    Frame(#[from] bastide_server::exec_frame::FrameError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl SessionError {
    /// As the commands tell it: a refusal of the API is one, wherever it was met.
    pub(super) fn told(self) -> Box<dyn std::error::Error> {
        match self {
            Self::Client(error) => error.into(),
            other => other.into(),
        }
    }
}

/// Opens one, to `exec` or `ssh` of a compute.
pub(super) async fn connect(
    workspace: &Workspace,
    compute: &str,
    what: &str,
    mut headers: HeaderMap,
) -> Result<(impl Sink<Message, Error = Error> + use<>, impl Stream<Item = Result<Message, Error>> + use<>), SessionError>
{
    let key = generate_key();
    for (name, value) in [
        (header::CONNECTION, "Upgrade"),
        (header::UPGRADE, "websocket"),
        (header::SEC_WEBSOCKET_VERSION, "13"),
        (header::SEC_WEBSOCKET_KEY, &key),
    ] {
        headers.insert(name, HeaderValue::from_str(value).map_err(|_| SessionError::Foreign)?);
    }
    let (answered, stream) = workspace.api.upgrade(&workspace.computes(&[compute, "bastide", what]), headers).await?;
    // RFC 6455, section 4.1.
    let accepted = answered.get(header::SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
    if accepted != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
        return Err(SessionError::Foreign);
    }
    let socket: WebSocketStream<Upgraded> =
        WebSocketStream::from_raw_socket(stream, Role::Client, Some(configuration())).await;
    Ok(socket.split())
}

/// Ends a sending half properly. Whoever is gone need not hear it.
pub(super) async fn close(mut sink: impl Sink<Message, Error = Error> + Unpin) {
    let _gone = sink.close().await;
}

fn configuration() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(LONGEST)).max_frame_size(Some(LONGEST))
}
