//! HTTP and WebSockets between a browser and a page in a compute.
//!
//! What proves the visitor to this server stays here: neither the token nor our cookie reaches what runs in the compute.
//! Everything else passes as it is, sub-protocols of WebSockets included; a WebSocket is not taken apart.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bastide_arm::error::ArmError;
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, Version, header};
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio::time::timeout;

use super::end::End;
use super::socket::{is_asked_for, words};
use super::visit::Visit;
use crate::front::Front;
use crate::network::Opened;
use crate::origin::host;

/// Carries a request to what listens at the other end, and its answer back; ends when the visit must.
pub(super) async fn carry(
    front: Arc<Front>,
    visit: Visit,
    mut opened: Opened,
    mut request: Request<Body>,
    is_by_token: bool,
) -> Result<Response, ArmError> {
    let broken = |what: &str| ArmError::new(502, "ComputeNotReachable", format!("What runs in the compute {what}."));
    let end = opened.ends.pop().and_then(|end| End::new(end).ok()).ok_or_else(|| broken("cannot be reached"))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(end)).await.map_err(|_| broken("does not speak HTTP"))?;
    tokio::spawn(connection.with_upgrades());
    let is_websocket = is_asked_for(request.headers());
    let outside = request.extensions_mut().remove::<OnUpgrade>().filter(|_| is_websocket);
    // HTTP/2 names the host in the target only.
    if let Some(host) = host(request.headers(), request.uri()).and_then(|host| HeaderValue::from_str(host).ok()) {
        request.headers_mut().insert(header::HOST, host);
    }
    *request.version_mut() = Version::HTTP_11;
    *request.uri_mut() = request.uri().path_and_query().cloned().map(Uri::from).unwrap_or_default();
    clean(request.headers_mut(), is_websocket);
    if is_by_token {
        agree_on_xsrf(request.headers_mut());
    }
    let answered = timeout(PATIENCE, sender.send_request(request)).await;
    let mut answer = match answered {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => return Err(broken("broke off before it had answered")),
        Err(_) => return Err(broken("takes too long to answer")),
    };
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(outside) = outside
    {
        let inside = hyper::upgrade::on(&mut answer);
        tokio::spawn(async move { join(&front, &visit, outside, inside).await });
        return Ok(answer.map(|_| Body::empty()).into_response());
    }
    for name in hop_by_hop(answer.headers()) {
        answer.headers_mut().remove(name);
    }
    Ok(answer.map(|body| {
        let until = async move { front.revoked(&visit).await };
        Body::from_stream(Body::new(body).into_data_stream().take_until(Box::pin(until)))
    }))
}

/// Two upgraded connections become one.
async fn join(front: &Front, visit: &Visit, outside: OnUpgrade, inside: OnUpgrade) {
    let (Ok(outside), Ok(inside)) = (outside.await, inside.await) else { return };
    let (mut outside, mut inside) = (TokioIo::new(outside), TokioIo::new(inside));
    tokio::select! {
        // Whoever breaks off has its reasons.
        _ = copy_bidirectional(&mut outside, &mut inside) => {}
        _ = front.revoked(visit) => {}
    }
}

/// Takes out what is for this server alone.
fn clean(headers: &mut HeaderMap, is_websocket: bool) {
    let upgrade = headers.get(header::UPGRADE).cloned().filter(|_| is_websocket);
    for name in hop_by_hop(headers) {
        headers.remove(name);
    }
    headers.remove(header::AUTHORIZATION);
    let forwarded = headers.keys().filter(|name| name.as_str().starts_with("x-forwarded-")).cloned();
    for name in forwarded.chain([header::FORWARDED]).collect::<Vec<_>>() {
        headers.remove(name);
    }
    let cookies: Vec<String> = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .map(str::trim)
        .filter(|cookie| !cookie.is_empty() && !cookie.starts_with(OUR_COOKIES))
        .map(str::to_owned)
        .collect();
    headers.remove(header::COOKIE);
    if let Ok(value) = HeaderValue::from_str(&cookies.join("; "))
        && !cookies.is_empty()
    {
        headers.insert(header::COOKIE, value);
    }
    if let Some(upgrade) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, upgrade);
    }
}

/// Jupyter guards against pages that make a browser send what its user did not mean to (its `_xsrf`). Who sends a token in
/// a header is no such page: for them cookie and header are made to agree.
fn agree_on_xsrf(headers: &mut HeaderMap) {
    let cookies = headers.get(header::COOKIE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let others = cookies.split("; ").filter(|cookie| !cookie.is_empty() && !cookie.starts_with("_xsrf="));
    let agreed = others.chain(["_xsrf=bastide"]).collect::<Vec<_>>().join("; ");
    if let Ok(value) = HeaderValue::from_str(&agreed) {
        headers.insert(header::COOKIE, value);
        headers.insert(XSRF_TOKEN, HeaderValue::from_static("bastide"));
    }
}

/// What is about one connection only (RFC 9110, section 7.6.1).
fn hop_by_hop(headers: &HeaderMap) -> Vec<HeaderName> {
    let named = words(headers, &header::CONNECTION).filter_map(|word| word.parse().ok());
    named.chain(HOP_BY_HOP).collect()
}

const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Where Jupyter's pages repeat the value of its cookie `_xsrf`.
const XSRF_TOKEN: HeaderName = HeaderName::from_static("x-xsrftoken");

/// How the names of our own cookies begin.
pub(super) const OUR_COOKIES: &str = "__Host-bastide-";

/// For the head of an answer: what runs in a compute may take its time.
const PATIENCE: Duration = Duration::from_mins(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn what_proves_the_visitor_stays_here_and_jupyters_own_passes() {
        let mut sent = headers(&[
            ("authorization", "Bearer secret"),
            ("cookie", "__Host-bastide-visit=secret; _xsrf=2|a|b; username=x"),
            ("x-xsrftoken", "2|a|b"),
            ("x-forwarded-for", "10.0.0.1"),
            ("connection", "keep-alive, x-once"),
            ("x-once", "1"),
            ("host", "ci-1-0a1b2c3d.instances.bastide.localhost:8443"),
        ]);
        clean(&mut sent, false);
        let expected = headers(&[
            ("cookie", "_xsrf=2|a|b; username=x"),
            ("x-xsrftoken", "2|a|b"),
            ("host", "ci-1-0a1b2c3d.instances.bastide.localhost:8443"),
        ]);
        assert_eq!(sent, expected);
    }

    #[test]
    fn a_websocket_keeps_its_handshake_and_sub_protocols() {
        let mut sent = headers(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-key", "k"),
            ("sec-websocket-protocol", "v1.kernel.websocket.jupyter.org"),
        ]);
        clean(&mut sent, true);
        assert_eq!(sent["connection"], "Upgrade");
        assert_eq!(sent["upgrade"], "websocket");
        assert_eq!(sent["sec-websocket-protocol"], "v1.kernel.websocket.jupyter.org");
    }

    #[test]
    fn who_comes_with_a_token_is_no_page_that_must_prove_itself() {
        let mut sent = HeaderMap::new();
        agree_on_xsrf(&mut sent);
        assert_eq!(sent, headers(&[("cookie", "_xsrf=bastide"), ("x-xsrftoken", "bastide")]));
        let mut sent = headers(&[("cookie", "username=x; _xsrf=own"), ("x-xsrftoken", "other")]);
        agree_on_xsrf(&mut sent);
        assert_eq!(sent, headers(&[("cookie", "username=x; _xsrf=bastide"), ("x-xsrftoken", "bastide")]));
    }
}
