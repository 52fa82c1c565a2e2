//! The port: TCP, TLS, HTTP/1.1 and HTTP/2, and the limits on what a peer may hold.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::IntoResponse as _;
use axum::{Json, Router};
use bastide_arm::clock::Clock;
use bastide_arm::error::ArmError;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::activity::{Activity, Counted, Watched};
use super::plain::{self, FirstByte};
use super::{Certificates, TlsError};
use crate::origin::Origin;

/// A bound port that serves a router over TLS.
///
/// Handlers find the peer's address as axum's `ConnectInfo<SocketAddr>`.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    inside: Option<UnixListener>,
    certificates: Arc<Certificates>,
    clock: Arc<dyn Clock>,
    origin: Origin,
    limits: Limits,
}

/// What one peer, and all together, may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections held at once; more wait in the kernel's queue.
    pub connections: usize,
    /// From the first byte to the end of the TLS handshake.
    pub handshake: Duration,
    /// From one answer on an HTTP/1.1 connection (or from its start) to the end of the next request's head.
    pub head: Duration,
    /// Bytes of a request's head; more get 431.
    pub head_bytes: u32,
    /// Header fields in a request over HTTP/1.1; more get 431.
    pub head_fields: usize,
    /// Requests under way at once on one HTTP/2 connection.
    pub streams: u32,
    /// How long a connection may rest with nothing asked, or with an answer that is not taken.
    pub idle: Duration,
    /// How long requests under way may still take once the server is told to stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            // Access tokens are at most 16 KiB.
            head_bytes: 32 * 1024,
            head_fields: 100,
            streams: 128,
            idle: Duration::from_secs(75),
            drain: Duration::from_secs(10),
        }
    }
}

impl Listener {
    /// Takes the port before anything is served on it, so that its number is known: port 0 means a free one. A Bastide
    /// that was killed a moment ago may still hold it, for as long as the disk takes to end its last write.
    pub async fn bind(address: SocketAddr) -> Result<TcpListener, TlsError> {
        let until = Instant::now() + PREDECESSOR;
        loop {
            match TcpListener::bind(address).await {
                Ok(listener) => return Ok(listener),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < until => {
                    tokio::time::sleep(LOOK).await;
                }
                Err(source) => return Err(TlsError::Listen { address, source }),
            }
        }
    }

    /// Will serve `socket` with `certificates`, looking after them by `clock`. `origin` is where peers that come with
    /// plain http are sent.
    pub fn new(socket: TcpListener, certificates: Certificates, clock: Arc<dyn Clock>, origin: Origin) -> Self {
        Self { socket, inside: None, certificates: Arc::new(certificates), clock, origin, limits: Limits::default() }
    }

    /// The same, served also at a socket of the file system: what hubs carry to the server from their inside, which no
    /// network of the host leads to.
    pub fn with_inside(self, inside: UnixListener) -> Self {
        Self { inside: Some(inside), ..self }
    }

    /// The same with other limits.
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The address and port really bound.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves `router` until `shutdown` resolves; then takes no new connection, lets requests under way finish within
    /// [`Limits::drain`], and returns.
    pub async fn serve(self, router: Router, shutdown: impl Future<Output = ()>) -> Result<(), TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.certificates) as _);
        config.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
        let (stop, stopping) = watch::channel(false);
        let port = Arc::new(Port {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            http1: self.limits.http1(),
            http2: self.limits.http2(),
            router,
            origin: self.origin,
            limits: self.limits.clone(),
            stopping,
        });
        let (mut connections, mut from_inside) = (JoinSet::new(), JoinSet::new());
        tokio::select! {
            () = accept(&self.socket, &port, &mut connections) => {}
            () = accept_inside(self.inside.as_ref(), &port, &mut from_inside) => {}
            () = self.certificates.keep_fresh(self.clock) => {}
            () = shutdown => {}
        }
        drop(self.socket);
        stop.send_replace(true);
        let ended = async {
            while connections.join_next().await.is_some() {}
            while from_inside.join_next().await.is_some() {}
        };
        if timeout(self.limits.drain, ended).await.is_err() {
            let left = connections.len() + from_inside.len();
            tracing::warn!("{left} connections were cut: they did not end in time");
        }
        connections.shutdown().await;
        from_inside.shutdown().await;
        Ok(())
    }
}

impl Limits {
    fn http1(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.head)
            // Twice what is allowed, so that the answer to somewhat more is ours and says what to do.
            .max_headers(self.head_fields * 2)
            .max_buf_size(usize::try_from(self.head_bytes).unwrap_or(usize::MAX).saturating_mul(2));
        builder
    }

    fn http2(&self) -> http2::Builder<TokioExecutor> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.streams)
            .max_header_list_size(self.head_bytes.saturating_mul(2))
            .max_send_buf_size(64 * 1024);
        builder
    }
}

/// What every connection of a port shares.
struct Port {
    acceptor: TlsAcceptor,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    router: Router,
    origin: Origin,
    limits: Limits,
    stopping: watch::Receiver<bool>,
}

async fn accept(socket: &TcpListener, port: &Arc<Port>, connections: &mut JoinSet<()>) {
    let places = Arc::new(Semaphore::new(port.limits.connections));
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match socket.accept().await {
            Ok((stream, peer)) => {
                let port = Arc::clone(port);
                connections.spawn(async move {
                    port.converse(stream, peer).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Either this one peer is gone already, or we are out of file descriptors and must not spin.
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// As [`accept`], with places of their own: the inside of hubs cannot take those of everybody else.
async fn accept_inside(socket: Option<&UnixListener>, port: &Arc<Port>, connections: &mut JoinSet<()>) {
    let Some(socket) = socket else { return std::future::pending().await };
    let places = Arc::new(Semaphore::new(port.limits.connections / 4));
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match socket.accept().await {
            Ok((stream, _)) => {
                let port = Arc::clone(port);
                connections.spawn(async move {
                    match timeout(port.limits.handshake, port.acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => port.answer(stream, INSIDE).await,
                        Ok(Err(error)) => tracing::debug!("the TLS handshake from inside a hub failed: {error}"),
                        Err(_) => tracing::debug!("no TLS handshake from inside a hub in time"),
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("a connection from inside a hub could not be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

impl Port {
    /// One connection from its first byte to its end. What a peer does wrong ends its connection and is no error of ours.
    async fn converse(&self, stream: TcpStream, peer: SocketAddr) {
        let _ = stream.set_nodelay(true);
        let opening = async {
            match FirstByte::peek(&stream).await? {
                FirstByte::Tls => self.acceptor.accept(stream).await.map(Some),
                FirstByte::Http => plain::refuse(stream, self.origin.as_str()).await.map(|()| None),
                FirstByte::Other => Ok(None),
            }
        };
        match timeout(self.limits.handshake, opening).await {
            Ok(Ok(Some(stream))) => self.answer(stream, peer).await,
            Ok(Ok(None)) => {}
            Ok(Err(error)) => tracing::debug!(%peer, "the TLS handshake failed: {error}"),
            Err(_) => tracing::debug!(%peer, "no TLS handshake in time"),
        }
    }

    async fn answer<S>(&self, stream: tokio_rustls::server::TlsStream<S>, peer: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
        let activity = Activity::new();
        let service = service_fn(|request| self.call(request, peer, &activity));
        let io = TokioIo::new(Watched::new(stream, Arc::clone(&activity)));
        // What was agreed on in the handshake is what is spoken, from the first byte on and within its limits.
        if is_http2 {
            let connection = self.http2.serve_connection(io, service);
            self.attend(connection, http2::Connection::graceful_shutdown, &activity, peer).await;
        } else {
            let connection = self.http1.serve_connection(io, service).with_upgrades();
            self.attend(connection, http1::UpgradeableConnection::graceful_shutdown, &activity, peer).await;
        }
    }

    /// Sees a connection to its end, or ends it when nothing has happened on it for long.
    async fn attend<C>(&self, connection: C, finish: fn(Pin<&mut C>), activity: &Activity, peer: SocketAddr)
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut connection = std::pin::pin!(connection);
        let mut stopping = self.stopping.clone();
        let mut closing = false;
        loop {
            tokio::select! {
                outcome = connection.as_mut() => {
                    if let Err(error) = outcome {
                        tracing::debug!(%peer, "the connection ended: {error}");
                    }
                    return;
                }
                _ = stopping.wait_for(|stop| *stop), if !closing => {
                    closing = true;
                    finish(connection.as_mut());
                }
                () = tokio::time::sleep(self.limits.idle / 4) => {
                    let idle = activity.idle();
                    if idle >= self.limits.idle * 2 {
                        return;
                    }
                    if idle >= self.limits.idle && !closing {
                        closing = true;
                        finish(connection.as_mut());
                    }
                }
            }
        }
    }

    fn call(
        &self,
        mut request: Request<Incoming>,
        peer: SocketAddr,
        activity: &Arc<Activity>,
    ) -> impl Future<Output = Result<Response<Counted<Body>>, std::convert::Infallible>> + Send + 'static {
        let counted = activity.request();
        request.extensions_mut().insert(ConnectInfo(peer));
        let limits = self.limits.clone();
        let is_small =
            head_bytes(&request) <= u64::from(limits.head_bytes) && request.headers().len() <= limits.head_fields;
        let router = is_small.then(|| self.router.clone());
        async move {
            let response = match router {
                Some(router) => router.oneshot(request).await?,
                None => too_large_a_head(&limits),
            };
            Ok(response.map(|body| Counted::new(body, counted)))
        }
    }
}

fn too_large_a_head(limits: &Limits) -> Response<Body> {
    let message = format!(
        "The head of a request may have {} header fields and {} bytes, its URL included. Send fewer or shorter ones.",
        limits.head_fields, limits.head_bytes
    );
    let error = ArmError::new(431, "RequestHeaderFieldsTooLarge", message);
    let mut response = (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Json(error.to_body())).into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Bytes of a request's target and header fields.
fn head_bytes(request: &Request<Incoming>) -> u64 {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
    fields.chain([target]).map(|length| length as u64).sum()
}

/// How long a port that is taken is waited for, and how often it is tried.
const PREDECESSOR: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(20);

/// The peer of whatever comes from inside a hub: the relay does not tell which compute it is.
const INSIDE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The protocol name of HTTP/2 in a TLS handshake, RFC 9113 section 3.2.
const HTTP2: &[u8] = b"h2";
