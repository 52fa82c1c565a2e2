//! How the keys of an outside issuer are fetched, tried against a hostile one on the loopback.

use std::net::SocketAddr;
use std::sync::Arc;

use bastide_identity::{HttpsKeySource, KeySource as _, KeySourceError, TrustedIssuer};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const DISCOVERY: &str = "/.well-known/openid-configuration";

#[tokio::test]
async fn the_keys_are_found_through_the_discovery_document() {
    let issuer = Issuer::start(|path, origin| match path {
        DISCOVERY => ok(&json!({"issuer": origin, "jwks_uri": format!("{origin}/keys")})),
        "/keys" => ok(&json!({"keys": []})),
        _ => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
    })
    .await;
    assert_eq!(issuer.keys().await, Ok(json!({"keys": []})));
    let direct =
        TrustedIssuer { issuer: "anything".into(), jwks_uri: Some(format!("{}/keys", issuer.origin).parse().unwrap()) };
    assert_eq!(issuer.source().keys(&direct).await, Ok(json!({"keys": []})), "configured, no discovery needed");
}

#[tokio::test]
async fn a_document_of_another_issuer_is_refused() {
    let issuer = Issuer::start(|_, origin| ok(&json!({"issuer": format!("{origin}/"), "jwks_uri": origin}))).await;
    assert_eq!(issuer.keys().await, Err(KeySourceError::Invalid("OpenID configuration")));
}

#[tokio::test]
async fn redirects_lead_nowhere() {
    let issuer = Issuer::start(|path, origin| match path {
        "/elsewhere" => ok(&json!({"issuer": origin, "jwks_uri": format!("{origin}/elsewhere")})),
        _ => format!("HTTP/1.1 302 Found\r\nlocation: {origin}/elsewhere\r\ncontent-length: 0\r\n\r\n"),
    })
    .await;
    assert_eq!(issuer.keys().await, Err(KeySourceError::Status(302)));
}

#[tokio::test]
async fn keys_do_not_come_over_plain_http() {
    let issuer = Issuer::start(|_, origin| {
        ok(&json!({"issuer": origin, "jwks_uri": format!("{}/keys", origin.replace("https", "http"))}))
    })
    .await;
    assert_eq!(issuer.keys().await, Err(KeySourceError::Unreachable));
}

#[tokio::test]
async fn a_document_that_does_not_end_is_not_read_to_the_end() {
    let issuer = Issuer::start(|_, _| ok(&json!({"pad": "x".repeat(300 * 1024)}))).await;
    assert_eq!(issuer.keys().await, Err(KeySourceError::TooLong));
    let issuer = Issuer::start(|_, _| "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nno json!!".to_owned()).await;
    assert_eq!(issuer.keys().await, Err(KeySourceError::Invalid("OpenID configuration")));
}

#[tokio::test]
async fn an_issuer_with_a_certificate_nobody_vouches_for_is_not_believed() {
    let issuer = Issuer::start(|_, origin| ok(&json!({"issuer": origin, "jwks_uri": origin}))).await;
    let trusted = TrustedIssuer { issuer: issuer.origin.clone(), jwks_uri: None };
    let source = HttpsKeySource::new().unwrap();
    assert_eq!(source.keys(&trusted).await, Err(KeySourceError::Unreachable));
}

/// An https server that answers every request with what a function says.
struct Issuer {
    origin: String,
    certificate: CertificateDer<'static>,
}

impl Issuer {
    async fn start(answer: impl Fn(&str, &str) -> String + Send + Sync + 'static) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = parameters.self_signed(&key).unwrap().der().clone();
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .unwrap();
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let origin = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let (acceptor, own_origin) = (TlsAcceptor::from(Arc::new(config)), origin.clone());
        // Ends with the test's runtime.
        tokio::spawn(async move {
            loop {
                let Ok((connection, _)) = listener.accept().await else { return };
                let Ok(mut connection) = acceptor.accept(connection).await else { continue };
                let mut request = vec![0; 4096];
                let length = connection.read(&mut request).await.unwrap_or_default();
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                let path = request.split(' ').nth(1).unwrap_or_default();
                connection.write_all(answer(path, &own_origin).as_bytes()).await.ok();
                connection.shutdown().await.ok();
            }
        });
        Self { origin, certificate }
    }

    fn source(&self) -> HttpsKeySource {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let tls = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        HttpsKeySource::with_tls(tls).unwrap()
    }

    async fn keys(&self) -> Result<Value, KeySourceError> {
        let trusted = TrustedIssuer { issuer: self.origin.clone(), jwks_uri: None };
        self.source().keys(&trusted).await
    }
}

fn ok(body: &Value) -> String {
    let body = body.to_string();
    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
