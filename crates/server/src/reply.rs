//! Answers as values: a status, a JSON body and the few headers ARM gives meaning to.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bastide_arm::error::ArmError;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;

use crate::compute::Session;
use crate::front::Front;

/// An answer of the front door.
#[derive(Debug, Clone)]
pub struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Option<Value>,
    session: Option<Session>,
    written: Option<Written>,
}

/// A body that is not JSON.
#[derive(Debug, Clone)]
enum Written {
    Text(String),
    Stream(Stream),
}

/// A body that is written while it is read.
#[derive(Clone)]
pub(crate) struct Stream(Arc<dyn Fn(Arc<Front>) -> Body + Send + Sync>);

impl Stream {
    /// What `open` writes.
    pub(crate) fn new(open: impl Fn(Arc<Front>) -> Body + Send + Sync + 'static) -> Self {
        Self(Arc::new(open))
    }

    /// Begins to write it.
    pub(crate) fn open(&self, front: Arc<Front>) -> Body {
        (self.0)(front)
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Stream")
    }
}

impl Reply {
    /// 200 with a body.
    pub fn ok(body: Value) -> Self {
        Self::with_status(StatusCode::OK, Some(body))
    }

    /// Any status with a body.
    pub fn json(status: u16, body: Value) -> Self {
        Self::with_status(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Some(body))
    }

    /// 200 with a text.
    pub(crate) fn text(content_type: &'static str, text: String) -> Self {
        let reply = Self::empty(StatusCode::OK).header(header::CONTENT_TYPE, content_type);
        Self { written: Some(Written::Text(text)), ..reply }
    }

    /// 200 with a body that goes on.
    pub(crate) fn streaming(content_type: &'static str, stream: Stream) -> Self {
        let reply = Self::empty(StatusCode::OK).header(header::CONTENT_TYPE, content_type);
        Self { written: Some(Written::Stream(stream)), ..reply }
    }

    /// The body that is written while it is read, if it is one.
    pub(crate) fn stream(&self) -> Option<Stream> {
        match &self.written {
            Some(Written::Stream(stream)) => Some(stream.clone()),
            _ => None,
        }
    }

    /// A status alone.
    pub fn empty(status: StatusCode) -> Self {
        Self::with_status(status, None)
    }

    /// An error in ARM's envelope.
    pub fn error(error: &ArmError) -> Self {
        let mut reply = Self::json(error.status, error.to_body());
        // Clients repeat a 4xx that carries Retry-After, so only throttling may have one (wire-azure-ai-ml.md section 3).
        if let Some(seconds) = error.retry_after.filter(|_| error.status == 429 || error.status >= 500) {
            reply = reply.header(header::RETRY_AFTER, &seconds.to_string());
        }
        reply
    }

    /// 101: from here on the connection is a WebSocket, over which a session goes on.
    pub(crate) fn switching(headers: HeaderMap, session: Session) -> Self {
        let reply = Self::empty(StatusCode::SWITCHING_PROTOCOLS);
        Self { headers, session: Some(session), ..reply }
    }

    /// What goes on over the connection after this answer.
    pub(crate) fn session(&self) -> Option<Session> {
        self.session.clone()
    }

    /// Adds a header; a value that cannot be one is left out.
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The text of a header.
    pub fn header_text(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body, for the step of something larger that asked for it.
    pub fn into_body(self) -> Option<Value> {
        self.body
    }

    fn with_status(status: StatusCode, body: Option<Value>) -> Self {
        Self { status, headers: HeaderMap::new(), body, session: None, written: None }
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let body = match (&self.body, self.written) {
            (Some(body), _) => Body::from(body.to_string()),
            (None, Some(Written::Text(text))) => Body::from(text),
            (None, _) => Body::empty(),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        if self.body.is_some() {
            let json = HeaderValue::from_static("application/json; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        let headers = response.headers_mut();
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}
