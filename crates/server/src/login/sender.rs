//! Who sent a request, as far as the token service cares.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use uuid::Uuid;

use super::Login;
use crate::origin::{Origin, host};

/// Where a request came from and where it was sent to.
pub(super) struct Sender {
    /// The peer's address, which limits on failures count by. Behind a proxy all requests share one.
    pub(super) address: Option<IpAddr>,
    /// What the client calls the request.
    pub(super) correlation_id: Option<Uuid>,
    /// The origin that was asked.
    pub(super) origin: Origin,
    /// The headers.
    pub(super) headers: HeaderMap,
    /// Path and query as sent.
    pub(super) uri: Uri,
}

impl<S: Sync> FromRequestParts<S> for Sender
where
    Login: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let login = Login::from_ref(state);
        let address = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        let correlation = parts.headers.get("client-request-id").and_then(|id| id.to_str().ok());
        Ok(Self {
            address,
            correlation_id: correlation.and_then(|id| Uuid::try_parse(id).ok()),
            origin: login.origins.asked(host(&parts.headers, &parts.uri)).clone(),
            headers: parts.headers.clone(),
            uri: parts.uri.clone(),
        })
    }
}
