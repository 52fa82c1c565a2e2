//! Who sent a request, as far as the token service cares.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use std::convert::Infallible;
use uuid::Uuid;

use super::Login;
use crate::discovery::host;
use crate::origin::Origin;

/// Where a request came from and where it was sent to.
pub(super) struct Sender {
    /// The peer's address, which limits on failures count by. Behind a proxy all requests share one.
    pub(super) address: IpAddr,
    /// What the client calls the request.
    pub(super) correlation_id: Option<Uuid>,
    /// The origin that was asked.
    pub(super) origin: Origin,
    /// The headers.
    pub(super) headers: HeaderMap,
    /// Path and query as sent.
    pub(super) uri: Uri,
}

impl FromRequestParts<Login> for Sender {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, login: &Login) -> Result<Self, Infallible> {
        // Without a peer (in tests) everybody is the same somebody: limits get tighter, not looser.
        let address = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        let correlation = parts.headers.get("client-request-id").and_then(|id| id.to_str().ok());
        Ok(Self {
            address: address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            correlation_id: correlation.and_then(|id| Uuid::try_parse(id).ok()),
            origin: login.origins.asked(host(&parts.headers, &parts.uri)).clone(),
            headers: parts.headers.clone(),
            uri: parts.uri.clone(),
        })
    }
}
