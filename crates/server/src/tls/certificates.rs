//! The certificate the port presents, replaced while it is served.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bastide_arm::clock::Clock;
use jiff::{SignedDuration, Timestamp};
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Authority, ServerNames, TlsError, file};

/// Holds the certificate in use and knows where the next one comes from.
///
/// [`refresh`](Self::refresh) is cheap when nothing has changed; [`keep_fresh`](Self::keep_fresh) calls it for as long
/// as the server runs. A connection takes whichever certificate is current when it begins.
#[derive(Debug)]
pub struct Certificates {
    source: Mutex<Source>,
    current: RwLock<Arc<CertifiedKey>>,
}

#[derive(Debug)]
enum Source {
    /// Our own authority; renewed before it ends.
    Issued { authority: Box<Authority>, names: ServerNames },
    /// The operator's files, read again when their content changes.
    Provided { certificate: PathBuf, key: PathBuf, seen: Pair },
}

/// A certificate chain and its private key as PEM text, from two files or one.
#[derive(PartialEq, Eq)]
struct Pair {
    chain: String,
    key: String,
}

impl Certificates {
    /// Certificates for `names` from our own authority: the one kept beside it while it is good, else a new one.
    pub fn issued(authority: Authority, names: ServerNames, now: Timestamp) -> Result<Self, TlsError> {
        let current = match kept(&authority, &names, now) {
            Some(current) => current,
            None => issue(&authority, &names, now)?,
        };
        Ok(Self::new(Source::Issued { authority: Box::new(authority), names }, current))
    }

    /// The certificate chain and key in two PEM files of the operator's.
    pub fn provided(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let seen = Pair::read(certificate, key)?;
        let current = seen.certified_key(certificate, key)?;
        Ok(Self::new(Source::Provided { certificate: certificate.to_owned(), key: key.to_owned(), seen }, current))
    }

    /// Puts a new certificate in place when one is due; true when it did. An error leaves the old one in use.
    pub fn refresh(&self, now: Timestamp) -> Result<bool, TlsError> {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let next = match &mut *source {
            Source::Issued { authority, names } => {
                if is_good(&self.current(), authority, names, now) {
                    return Ok(false);
                }
                issue(authority, names, now)?
            }
            Source::Provided { certificate, key, seen } => {
                let found = Pair::read(certificate, key)?;
                if found == *seen {
                    return Ok(false);
                }
                let next = found.certified_key(certificate, key)?;
                *seen = found;
                next
            }
        };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(true)
    }

    /// Asks for other names from now on; takes effect at the next [`refresh`](Self::refresh). Names of a provided
    /// certificate are the operator's business.
    pub fn cover(&self, wanted: ServerNames) {
        if let Source::Issued { names, .. } = &mut *self.source.lock().unwrap_or_else(PoisonError::into_inner) {
            *names = wanted;
        }
    }

    /// Refreshes for ever, twice a minute.
    pub async fn keep_fresh(self: Arc<Self>, clock: Arc<dyn Clock>) {
        loop {
            tokio::time::sleep(REFRESH_INTERVAL).await;
            let (certificates, now) = (Arc::clone(&self), clock.now());
            // Reading, signing and syncing files block.
            match tokio::task::spawn_blocking(move || certificates.refresh(now)).await {
                Ok(Ok(true)) => tracing::info!("a new server certificate is in use"),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!("the server certificate in use stays: {error}"),
                Err(error) => tracing::warn!("the server certificate was not looked after: {error}"),
            }
        }
    }

    /// The chain in use, the server's own certificate first.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.current().cert.clone()
    }

    fn new(source: Source, current: CertifiedKey) -> Self {
        Self { source: Mutex::new(source), current: RwLock::new(Arc::new(current)) }
    }

    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

/// The certificate of an earlier start, when it still serves; anything wrong with it means a new one, not an error.
fn kept(authority: &Authority, names: &ServerNames, now: Timestamp) -> Option<CertifiedKey> {
    let path = authority.directory().join(SERVER_FILE);
    let text = file::read_private(&path).ok()??;
    let kept = Pair { chain: text.clone(), key: text }.certified_key(&path, &path).ok()?;
    is_good(&kept, authority, names, now).then_some(kept)
}

fn issue(authority: &Authority, names: &ServerNames, now: Timestamp) -> Result<CertifiedKey, TlsError> {
    let (chain, key) = authority.issue(names, now)?;
    let path = authority.directory().join(SERVER_FILE);
    // One file, so that no crash can part a certificate from its key.
    file::write(&path, format!("{chain}{key}").as_bytes(), 0o600)?;
    Pair { chain, key }.certified_key(&path, &path)
}

fn is_good(held: &CertifiedKey, authority: &Authority, names: &ServerNames, now: Timestamp) -> bool {
    let Some(der) = held.cert.first() else { return false };
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return false };
    let (from, until) = (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
    let Ok(not_before) = Timestamp::from_second(from) else { return false };
    let renewal = SignedDuration::from_secs((until - from) / 3 * 2);
    not_before <= now
        && now.duration_since(not_before) < renewal
        && authority.signed(&certificate)
        && ServerNames::of_certificate(der).is_some_and(|covered| covered == *names)
}

impl Pair {
    fn read(chain: &Path, key: &Path) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|source| TlsError::File {
                deed: "read",
                path: path.to_owned(),
                source,
            })
        };
        Ok(Self { chain: read(chain)?, key: read(key)? })
    }

    /// What the TLS library signs with; the paths are where the texts came from.
    fn certified_key(&self, chain_path: &Path, key_path: &Path) -> Result<CertifiedKey, TlsError> {
        let unreadable = |path: &Path, expected: &'static str, problem: String| TlsError::Unreadable {
            path: path.to_owned(),
            expected,
            problem,
        };
        let chain = CertificateDer::pem_slice_iter(self.chain.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unreadable(chain_path, "certificates in PEM", error.to_string()))?;
        if chain.is_empty() {
            return Err(unreadable(chain_path, "certificates in PEM", "there is none in it".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .map_err(|error| unreadable(key_path, "a private key in PEM", error.to_string()))?;
        CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::KeyMismatch { certificate: chain_path.to_owned(), key: key_path.to_owned() }
            }
            other => TlsError::Configuration(other),
        })
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pair")
    }
}

/// The server's own certificate followed by its key.
const SERVER_FILE: &str = "server.pem";

/// Operators' tools replace certificates weeks before they end; half a minute is soon enough and costs two small reads.
const REFRESH_INTERVAL: Duration = Duration::from_secs(30);
