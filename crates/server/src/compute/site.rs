//! The origins of instances: `{name}-{mark}.instances.{zone}` is the JupyterLab of one, and
//! `{port}-{name}-{mark}.instances.{zone}` whatever listens there on that port of its loopback.
//!
//! Each is an origin of its own, so that a page of one instance can do nothing to another or to the portal. Programs come
//! with their token; browsers without anything are sent to sign in, and come back with a [`ticket`](super::ticket) that
//! becomes a cookie of that one host.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_hub::compute::host_name;
use bastide_hub::compute::user::Use;
use bastide_identity::Secret;
use bastide_plan::way_in::WayIn;
use bastide_store::{Resource, ResourceQuery};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use url::Url;
use uuid::Uuid;

use super::proxy;
use super::socket::is_asked_for;
use super::ticket::{self, Pass};
use super::visit::Standing;
use crate::bearer::bearer;
use crate::context::Context;
use crate::failure::Failure;
use crate::front::{self, Front};
use crate::login::Doorkeeper;
use crate::origin::host;

/// Whose origin a host name is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Site {
    /// Name and mark.
    label: String,
    /// A port of its loopback; its JupyterLab if none.
    port: Option<u16>,
}

/// Answers what is sent to the origin of an instance, and leaves everything else to whoever comes next.
pub(crate) async fn divert(State(front): State<Arc<Front>>, request: Request<Body>, next: Next) -> Response {
    let asked = host(request.headers(), request.uri()).unwrap_or_default().to_owned();
    match Site::parse(&asked, front.origins.zone()) {
        None => next.run(request).await,
        Some(site) => {
            let context =
                Context::read(request.method(), request.uri(), request.headers(), &front.origins, front.clock.now());
            match answer(&front, &site, &asked, request).await {
                Ok(response) => response,
                Err(failure) => front::reply_to_failure(&context, failure).into_response(),
            }
        }
    }
}

async fn answer(front: &Arc<Front>, site: &Site, asked: &str, mut request: Request<Body>) -> Result<Response, Failure> {
    let row = site.find(front).await?;
    let id = ResourceId::parse(&row.id)?;
    if request.uri().path() == TUNNEL {
        let way = format!("{id}/bastide/ssh?api-version={API_VERSION}");
        *request.uri_mut() = way.parse().map_err(|_| Failure::internal("an id is no path"))?;
        return Ok(front::serve(State(Arc::clone(front)), request).await);
    }
    if request.uri().path() == ticket::ENTRANCE {
        return ticket::enter(front, row.incarnation, request.headers(), request.uri());
    }
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    let token = bearer(request.headers()).map(|token| Standing::Token(Secret::new(token)));
    let is_by_token = token.is_some();
    let cookie = || ticket::of_cookie(front, row.incarnation, request.headers());
    let standing = token.or_else(cookie);
    if !is_by_token {
        same_origin(&request, asked)?;
    }
    let visit = match standing {
        Some(standing) => front.visit(standing, &id, Use::Application, from).await,
        None => Err(ArmError::authentication_failed().into()),
    };
    let visit = match visit {
        Err(Failure::Refused(error)) if error.status == 401 && is_navigation(&request) => {
            return Ok(ticket::to_sign_in(front, asked, request.uri()));
        }
        visit => visit?,
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        front.activity.touch(visit.compute);
    }
    let opened = match site.port {
        None => front.ways.starts.jupyter(&front.networks, visit.compute).await?,
        Some(port) => front.networks.open(visit.compute, WayIn::Port { port }).await.map_err(|away| {
            ArmError::new(502, "ComputeNotReachable", format!("Nothing answers on port {port}: {away}"))
        })?,
    };
    Ok(proxy::carry(Arc::clone(front), visit, opened, request, is_by_token).await?)
}

impl Site {
    fn parse(authority: &str, zone: &str) -> Option<Self> {
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host).to_ascii_lowercase();
        let label = host_name::parse(&host, zone)?;
        // Names of computes begin with a letter.
        let port = label.split_once('-').and_then(|(port, rest)| Some((port.parse().ok()?, rest)));
        Some(match port {
            Some((port, rest)) => Self { label: rest.to_owned(), port: Some(port) },
            None => Self { label: label.to_owned(), port: None },
        })
    }

    /// The compute of that name and mark.
    async fn find(&self, front: &Front) -> Result<Resource, Failure> {
        let name = self.label.rsplit_once('-').map(|(name, _)| name.to_owned());
        let query = ResourceQuery { types: vec![COMPUTE.to_owned()], name, ..ResourceQuery::default() };
        let namesakes = front.ledger.store().resources(&query).await?;
        let is_it = |row: &Resource| {
            let name = row.id.rsplit('/').next().unwrap_or_default();
            host_name::label(name, row.incarnation) == self.label
        };
        let message = || format!("There is no compute instance at '{}'. It may have been deleted.", self.label);
        Ok(namesakes.into_iter().find(is_it).ok_or_else(|| ArmError::not_found(message()))?)
    }
}

impl Doorkeeper for Arc<Front> {
    fn admit<'a>(&'a self, user: Uuid, ask: &'a ticket::Ask) -> BoxFuture<'a, Result<Url, ArmError>> {
        async move {
            let refused = |failure| match failure {
                Failure::Refused(error) => error,
                _ => ArmError::service_unavailable("Whether you may enter could not be found out. Try again.", 1),
            };
            let site = Site::parse(&ask.site, self.origins.zone())
                .ok_or_else(|| ArmError::not_found("There is no such place."))?;
            let row = site.find(self).await.map_err(refused)?;
            let since = self.clock.now();
            let standing = Standing::SignedIn { object_id: user, since };
            let id = ResourceId::parse(&row.id)?;
            // Where they come from is asked of each request that they then make.
            let from = Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            self.visit(standing, &id, Use::Application, from).await.map_err(refused)?;
            ticket::issue(self, row.incarnation, &Pass { object_id: user, since }, ask)
        }
        .boxed()
    }

    fn address(&self, ask: &ticket::Ask) -> Option<Url> {
        Site::parse(&ask.site, self.origins.zone())?;
        Url::parse(&format!("https://{}{}/", ask.site.split(':').next()?, self.origins.public().port_suffix())).ok()
    }
}

/// A browser sends cookies along with whatever any page asks for: only what the instance's own pages ask for counts.
fn same_origin(request: &Request<Body>, asked: &str) -> Result<(), ArmError> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let is_websocket = is_asked_for(request.headers());
    let own = format!("https://{asked}");
    let origin = request.headers().get(header::ORIGIN).map(HeaderValue::as_bytes);
    let is_own = match origin {
        Some(origin) => origin.eq_ignore_ascii_case(own.as_bytes()),
        // Every browser says it with a WebSocket, and with whatever changes something.
        None => is_read && !is_websocket,
    };
    if is_own || (is_read && !is_websocket) {
        return Ok(());
    }
    let message = format!("This was asked for by a page that is not of '{own}'.");
    Err(ArmError::new(403, "ForeignOrigin", message))
}

/// Whether a person looks at a page, and is not a script that reads something.
fn is_navigation(request: &Request<Body>) -> bool {
    let accepts = |headers: &HeaderMap| {
        headers
            .get(header::ACCEPT)
            .and_then(|accept| accept.to_str().ok())
            .is_some_and(|accept| accept.contains("text/html"))
    };
    *request.method() == Method::GET && !is_asked_for(request.headers()) && accepts(request.headers())
}

const COMPUTE: &str = "Microsoft.MachineLearningServices/workspaces/computes";

/// Where Azure's clients look for the tunnel.
const TUNNEL: &str = "/nbip/v1.0/ws-tcp";

const API_VERSION: &str = "2024-10-01-preview";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_jupyter_a_port_or_none_of_ours() {
        let site = |host: &str| Site::parse(host, "bastide.localhost");
        let label = "ci-1-0a1b2c3d".to_owned();
        let jupyter = Site { label: label.clone(), port: None };
        assert_eq!(site("CI-1-0a1b2c3d.instances.bastide.localhost:8443"), Some(jupyter.clone()));
        assert_eq!(site("ci-1-0a1b2c3d.instances.bastide.localhost"), Some(jupyter));
        let port = Site { label, port: Some(8080) };
        assert_eq!(site("8080-ci-1-0a1b2c3d.instances.bastide.localhost:8443"), Some(port));
        for other in
            ["localhost:8443", "instances.bastide.localhost", "ci-1.instances.bastide.localhost", "[::1]:8443", ""]
        {
            assert_eq!(site(other), None, "{other}");
        }
    }

    #[test]
    fn what_another_origin_asks_for_does_not_count() {
        let asked = "ci-1-0a1b2c3d.instances.bastide.localhost:8443";
        let request = |method: &str, headers: &[(&str, &str)]| {
            let mut request = Request::builder().method(method).uri("/api");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            request.body(Body::empty()).unwrap()
        };
        let own = ("origin", "https://ci-1-0a1b2c3d.instances.bastide.localhost:8443");
        let foreign = ("origin", "https://localhost:8443");
        let websocket = [("connection", "upgrade"), ("upgrade", "websocket")];
        assert!(same_origin(&request("GET", &[]), asked).is_ok());
        assert!(same_origin(&request("POST", &[own]), asked).is_ok());
        assert!(same_origin(&request("GET", &[websocket[0], websocket[1], own]), asked).is_ok());
        assert!(same_origin(&request("POST", &[foreign]), asked).is_err());
        assert!(same_origin(&request("POST", &[]), asked).is_err());
        assert!(same_origin(&request("GET", &[websocket[0], websocket[1], foreign]), asked).is_err());
        assert!(same_origin(&request("GET", &[websocket[0], websocket[1]]), asked).is_err());
    }
}
