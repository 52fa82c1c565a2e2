//! The port as its peers see it: what they trust, what they are refused, and when they are let go.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use bastide_arm::clock::{Clock as _, ManualClock};
use http_body_util::{BodyExt as _, Empty};
use jiff::{SignedDuration, Timestamp};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::*;
use crate::origin::{Origin, Origins};

/// An authority in a directory of its own, at the present time (clients read the real clock).
struct Pki {
    directory: TempDir,
    clock: Arc<ManualClock>,
}

impl Pki {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), clock: Arc::new(ManualClock::at(Timestamp::now())) }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn authority(&self) -> Authority {
        Authority::open(self.path(), self.clock.now()).unwrap()
    }

    fn certificates(&self, names: &ServerNames) -> Certificates {
        Certificates::issued(self.authority(), names.clone(), self.clock.now()).unwrap()
    }

    fn connector(&self, protocols: &[&[u8]]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(Authority::certificate_file(self.path())).unwrap()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }
}

/// A served port, stopped when the value is dropped.
struct Port {
    pki: Pki,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Result<(), TlsError>>,
}

impl Port {
    async fn start(limits: Limits) -> Self {
        let pki = Pki::new();
        let certificates = pki.certificates(&zone_names());
        Self::with(pki, certificates, limits).await
    }

    async fn with(pki: Pki, certificates: Certificates, limits: Limits) -> Self {
        let socket = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let origin = Origin::parse("https://localhost:8443").unwrap();
        let listener = Listener::new(socket, certificates, Arc::clone(&pki.clock) as _, origin).with_limits(limits);
        let address = listener.address().unwrap();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(listener.serve(router(), async {
            let _ = stopped.await;
        }));
        Self { pki, address, stop: Some(stop), served }
    }

    async fn connect(&self, name: &str, protocols: &[&[u8]]) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        self.pki.connector(protocols).connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await
    }

    /// Sends bytes over TLS and reads to the end.
    async fn exchange(&self, request: &str) -> String {
        let mut stream = self.connect("localhost", &[]).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        read_to_end(&mut stream).await
    }
}

fn router() -> Router {
    Router::new()
        .route("/peer", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }))
        .route(
            "/slow",
            get(|| async {
                tokio::time::sleep(Duration::from_millis(400)).await;
                "done"
            }),
        )
}

fn zone_names() -> ServerNames {
    let origin = Origin::parse("https://localhost:8443").unwrap();
    ServerNames::of(&Origins::new(origin, Vec::new(), "bastide.localhost"))
}

async fn read_to_end(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    // A peer that is cut off sees an error instead of an end; what came before counts.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

// What clients trust.

#[tokio::test]
async fn a_port_that_a_bastide_killed_a_moment_ago_still_holds_is_waited_for() {
    let predecessor = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = predecessor.local_addr().unwrap();
    let ending = tokio::task::spawn_blocking(|| {
        std::thread::sleep(std::time::Duration::from_millis(200));
        drop(predecessor);
    });
    assert_eq!(Listener::bind(address).await.unwrap().local_addr().unwrap(), address);
    ending.await.unwrap();
}

#[tokio::test]
async fn clients_that_trust_the_authority_accept_every_name_it_serves() {
    let port = Port::start(Limits::default()).await;
    for name in ["localhost", "127.0.0.1", "::1", "x.bastide.localhost", "kv1.vault.bastide.localhost"] {
        port.connect(name, &[]).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for name in ["example.org", "a.kv1.vault.bastide.localhost"] {
        assert!(port.connect(name, &[]).await.is_err(), "{name} is not ours");
    }
}

/// OpenSSL's strict checks, which Python turns on by itself from 3.13 on, are those that home-made authorities fail.
#[tokio::test]
async fn python_accepts_the_chain_with_strict_checks() {
    let port = Port::start(Limits::default()).await;
    let program = "import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
context.verify_flags |= ssl.VERIFY_X509_STRICT
with socket.create_connection(('127.0.0.1', int(sys.argv[1]))) as raw:
    context.wrap_socket(raw, server_hostname=sys.argv[3]).close()
";
    let (port_number, file) = (port.address.port().to_string(), Authority::certificate_file(port.pki.path()));
    for name in ["localhost", "127.0.0.1", "kv1.vault.bastide.localhost"] {
        let mut python = Command::new("python3");
        python.args(["-c", program, &port_number]).arg(&file).arg(name);
        match tokio::task::spawn_blocking(move || python.output()).await.unwrap() {
            Ok(output) => assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return eprintln!("SKIP: there is no python3"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn the_authority_is_kept_and_its_key_is_private() {
    let pki = Pki::new();
    pki.authority();
    let certificate = fs::read(pki.path().join("ca.pem")).unwrap();
    assert_eq!((mode(&pki.path().join("ca.key")), mode(&pki.path().join("ca.pem"))), (0o600, 0o644));
    pki.authority();
    assert_eq!(fs::read(pki.path().join("ca.pem")).unwrap(), certificate, "clients have this one");
}

#[test]
fn a_stop_between_key_and_certificate_is_made_good() {
    let pki = Pki::new();
    pki.authority();
    let key = fs::read(pki.path().join("ca.key")).unwrap();
    fs::remove_file(pki.path().join("ca.pem")).unwrap();
    pki.authority();
    assert_eq!(fs::read(pki.path().join("ca.key")).unwrap(), key);
}

#[test]
fn what_is_wrong_with_an_authority_is_said() {
    let open = |pki: &Pki| Authority::open(pki.path(), pki.clock.now()).unwrap_err().to_string();

    let exposed = Pki::new();
    exposed.authority();
    fs::set_permissions(exposed.path().join("ca.key"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(open(&exposed).contains("can be read by others (mode 0644)"));

    let keyless = Pki::new();
    keyless.authority();
    fs::remove_file(keyless.path().join("ca.key")).unwrap();
    assert!(open(&keyless).contains("restore it from a backup"));

    let (mixed, other) = (Pki::new(), Pki::new());
    mixed.authority();
    other.authority();
    fs::copy(other.path().join("ca.pem"), mixed.path().join("ca.pem")).unwrap();
    assert!(open(&mixed).contains("does not belong to the certificate"));

    let ancient = Pki::new();
    ancient.authority();
    ancient.clock.advance(days(3651));
    assert!(open(&ancient).contains("has expired"));
}

// Renewal.

#[test]
fn a_certificate_is_renewed_after_two_thirds_of_its_life() {
    let pki = Pki::new();
    let certificates = pki.certificates(&zone_names());
    let first = certificates.chain();
    pki.clock.advance(days(59));
    assert!(!certificates.refresh(pki.clock.now()).unwrap());
    assert_eq!(certificates.chain(), first);
    pki.clock.advance(days(2));
    assert!(certificates.refresh(pki.clock.now()).unwrap());
    assert_ne!(certificates.chain(), first);
    assert!(!certificates.refresh(pki.clock.now()).unwrap(), "once is enough");
}

#[test]
fn a_certificate_from_the_future_is_renewed() {
    let pki = Pki::new();
    let certificates = pki.certificates(&zone_names());
    pki.clock.advance(days(-7));
    assert!(certificates.refresh(pki.clock.now()).unwrap(), "the clock was wrong when it was issued");
}

#[test]
fn a_start_keeps_the_certificate_unless_the_names_changed() {
    let pki = Pki::new();
    let first = pki.certificates(&zone_names()).chain();
    assert_eq!(pki.certificates(&zone_names()).chain(), first);
    let mut more = zone_names();
    more.insert("hub.example.org");
    assert_ne!(pki.certificates(&more).chain(), first);
}

#[test]
fn names_may_change_while_it_is_served() {
    let pki = Pki::new();
    let certificates = pki.certificates(&zone_names());
    let mut more = zone_names();
    more.insert("hub.example.org");
    certificates.cover(more.clone());
    assert!(certificates.refresh(pki.clock.now()).unwrap());
    assert_eq!(ServerNames::of_certificate(&certificates.chain()[0]), Some(more));
}

#[test]
fn a_certificate_of_an_earlier_authority_is_not_kept() {
    let pki = Pki::new();
    let first = pki.certificates(&zone_names()).chain();
    fs::remove_file(pki.path().join("ca.pem")).unwrap();
    fs::remove_file(pki.path().join("ca.key")).unwrap();
    assert_ne!(pki.certificates(&zone_names()).chain(), first);
}

#[test]
fn a_damaged_certificate_is_replaced() {
    let pki = Pki::new();
    let first = pki.certificates(&zone_names()).chain();
    let path = pki.path().join("server.pem");
    assert_eq!(mode(&path), 0o600, "its key is in it");
    for damaged in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        fs::write(&path, damaged).unwrap();
        assert_ne!(pki.certificates(&zone_names()).chain(), first);
    }
}

#[test]
fn no_certificate_outlives_its_authority() {
    let pki = Pki::new();
    let certificates = pki.certificates(&zone_names());
    pki.clock.advance(days(3640));
    certificates.refresh(pki.clock.now()).unwrap();
    let chain = certificates.chain();
    let (_, certificate) = X509Certificate::from_der(&chain[0]).unwrap();
    let left = certificate.validity().not_after.timestamp() - pki.clock.now().as_second();
    assert!(left <= 10 * 24 * 3600, "{left} seconds");
}

#[tokio::test]
async fn a_renewed_certificate_is_presented_to_the_next_connection() {
    let pki = Pki::new();
    let certificates = pki.certificates(&ServerNames::loopback());
    certificates.cover(zone_names());
    let before = certificates.chain();
    certificates.refresh(pki.clock.now()).unwrap();
    let port = Port::with(pki, certificates, Limits::default()).await;
    let stream = port.connect("kv1.vault.bastide.localhost", &[]).await.unwrap();
    assert_ne!(stream.get_ref().1.peer_certificates().unwrap(), before);
}

// The operator's own certificate.

/// Writes a certificate and key, as an operator's tool would.
fn provide(directory: &Path, name: &str) {
    let certified = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    fs::write(directory.join("tls.pem"), certified.cert.pem()).unwrap();
    fs::write(directory.join("tls.key"), certified.signing_key.serialize_pem()).unwrap();
}

#[test]
fn a_provided_certificate_is_read_again_when_its_files_change() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (directory.path().join("tls.pem"), directory.path().join("tls.key"));
    provide(directory.path(), "one.example");
    let certificates = Certificates::provided(&certificate, &key).unwrap();
    let first = certificates.chain();
    assert!(!certificates.refresh(Timestamp::UNIX_EPOCH).unwrap());

    fs::write(&key, "half a k").unwrap();
    let refusal = certificates.refresh(Timestamp::UNIX_EPOCH).unwrap_err().to_string();
    assert!(refusal.contains("does not hold a private key"), "{refusal}");
    assert_eq!(certificates.chain(), first, "a broken pair does not replace a good one");

    provide(directory.path(), "two.example");
    assert!(certificates.refresh(Timestamp::UNIX_EPOCH).unwrap());
    assert_ne!(certificates.chain(), first);
}

#[test]
fn a_certificate_and_a_key_that_are_no_pair_are_refused() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    provide(one.path(), "one.example");
    provide(two.path(), "two.example");
    let refusal = Certificates::provided(&one.path().join("tls.pem"), &two.path().join("tls.key")).unwrap_err();
    assert!(refusal.to_string().contains("does not belong to the certificate"), "{refusal}");
    let refusal = Certificates::provided(&one.path().join("tls.key"), &one.path().join("tls.key")).unwrap_err();
    assert!(refusal.to_string().contains("there is none in it"), "{refusal}");
}

#[test]
fn no_key_is_printed() {
    let directory = tempfile::tempdir().unwrap();
    provide(directory.path(), "one.example");
    let key = fs::read_to_string(directory.path().join("tls.key")).unwrap();
    let line = key.lines().nth(1).unwrap().to_owned();
    let provided =
        Certificates::provided(&directory.path().join("tls.pem"), &directory.path().join("tls.key")).unwrap();
    assert!(!format!("{provided:?}").contains(&line));
}

// What peers may do.

#[tokio::test]
async fn handlers_see_the_peer_over_both_protocols() {
    let port = Port::start(Limits::default()).await;
    let answer = port.exchange("GET /peer HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("127.0.0.1:"), "{answer}");

    let stream = port.connect("localhost", &[b"h2"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("https://localhost/peer").body(Empty::<bytes::Bytes>::new()).unwrap();
    let answer = client.send_request(request).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(body.starts_with(b"127.0.0.1:"), "{body:?}");
}

#[tokio::test]
async fn plain_http_is_told_where_to_go() {
    let port = Port::start(Limits::default()).await;
    for request in ["GET / HTTP/1.1\r\nhost: evil.example\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = TcpStream::connect(port.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(answer.ends_with("This is an https port: use https://localhost:8443\n"), "{answer}");
        assert!(!answer.contains("evil"), "{answer}");
    }
}

#[tokio::test]
async fn what_is_neither_tls_nor_http_is_cut() {
    let port = Port::start(Limits::default()).await;
    let mut stream = TcpStream::connect(port.address).await.unwrap();
    stream.write_all(&[0, 1, 2, 3]).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "");
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_cut() {
    let port = Port::start(Limits { handshake: Duration::from_millis(100), ..Limits::default() }).await;
    let began = Instant::now();
    for opening in [b"".as_slice(), b"\x16\x03\x01", b"GET / HT"] {
        let mut stream = TcpStream::connect(port.address).await.unwrap();
        stream.write_all(opening).await.unwrap();
        read_to_end(&mut stream).await;
    }
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut() {
    let port = Port::start(Limits { head: Duration::from_millis(100), ..Limits::default() }).await;
    let began = Instant::now();
    port.exchange("GET /peer HTTP/1.1\r\nhost: local").await;
    port.exchange("").await;
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_head_that_is_too_big_gets_431() {
    let port = Port::start(Limits::default()).await;
    let fields: Vec<String> = (0..101).map(|number| format!("x-{number}: y\r\n")).collect();
    let fields = fields.concat();
    let long = format!("x: {}\r\n", "y".repeat(40 * 1024));
    for head in [fields, long] {
        let answer = port.exchange(&format!("GET /peer HTTP/1.1\r\nhost: localhost\r\n{head}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        assert!(answer.contains(r#""code":"RequestHeaderFieldsTooLarge""#), "{answer}");
    }
}

#[tokio::test]
async fn a_connection_at_rest_is_closed_but_not_one_that_waits_for_us() {
    let limits = Limits { idle: Duration::from_millis(100), ..Limits::default() };
    let port = Port::start(limits).await;
    let answer = port.exchange("GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(answer.ends_with("done"), "{answer}");
    // HTTP/2 has no timer of its own for a connection with no request.
    let mut stream = port.connect("localhost", &[b"h2"]).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), read_to_end(&mut stream)).await.unwrap();
}

#[tokio::test]
async fn more_connections_than_places_wait_for_one() {
    let port = Port::start(Limits { connections: 1, ..Limits::default() }).await;
    let first = port.connect("localhost", &[]).await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(200), port.connect("localhost", &[])).await;
    assert!(waiting.is_err(), "there is one place");
    drop(first);
    port.connect("localhost", &[]).await.unwrap();
}

#[tokio::test]
async fn requests_under_way_finish_before_the_port_closes() {
    let mut port = Port::start(Limits::default()).await;
    let mut stream = port.connect("localhost", &[]).await.unwrap();
    stream.write_all(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    port.stop.take().unwrap().send(()).unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.ends_with("done"), "{answer}");
    (&mut port.served).await.unwrap().unwrap();
    assert!(TcpStream::connect(port.address).await.is_err(), "the port is closed");
}

#[tokio::test]
async fn a_request_that_does_not_finish_is_cut() {
    let mut port = Port::start(Limits { drain: Duration::from_millis(50), ..Limits::default() }).await;
    let mut stream = port.connect("localhost", &[]).await.unwrap();
    stream.write_all(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    port.stop.take().unwrap().send(()).unwrap();
    assert!(!read_to_end(&mut stream).await.contains("done"));
    (&mut port.served).await.unwrap().unwrap();
}
