//! Asking one registry for the parts of one image.

use std::io;
use std::time::Duration;

use bastide_image::digest::Digest;
use bastide_plan::reference::{Reference, Registry};
use bastide_plan::registry_access::{Credentials, RegistryAccess};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Client, Response, StatusCode};
use serde::Deserialize;
use thiserror::Error;
use url::{Host, Url};

use crate::challenge::{Challenge, Realm};

/// Why an image is not fetched.
#[derive(Debug, Error)]
pub enum FetchError {
    /// No answer, or one that leads where nobody follows.
    #[error("{registry} cannot be asked for the image: {source}")]
    Unreachable {
        /// Who was asked.
        registry: Registry,
        /// What is wrong.
        source: reqwest::Error,
    },
    /// It wants to know who asks, and there is nobody to name.
    #[error(
        "{0} wants credentials for the image, or does not have it. The administrator of the node puts them into \
         'registries/config.json' of the data directory"
    )]
    Credentials(Registry),
    /// Who asks may not have it.
    #[error("{0} does not have the image, or not for whom 'registries/config.json' of the data directory names")]
    Refused(Registry),
    /// The authorities that it is to be known by cannot be read.
    #[error("the certificates in 'registries/{registry}/ca.crt' of the data directory cannot be used: {source}")]
    Authorities {
        /// Whose.
        registry: Registry,
        /// What is wrong with them.
        source: reqwest::Error,
    },
    /// There is none of that name.
    #[error("{registry} has no {part} of the image; see to its name and tag")]
    Missing {
        /// Who was asked.
        registry: Registry,
        /// For what.
        part: String,
    },
    /// Another answer.
    #[error("{registry} answered with status {status} when asked for {part} of the image")]
    Status {
        /// Who was asked.
        registry: Registry,
        /// For what.
        part: String,
        /// Its answer.
        status: StatusCode,
    },
    /// A token is to be fetched over a way that others read.
    #[error("{0} wants a token from an address that is not https")]
    Realm(Registry),
    /// A part is not what it should be.
    #[error("{part} of the image is {found}, and should be {wanted}")]
    Different {
        /// Which.
        part: String,
        /// What came.
        found: String,
        /// What was announced.
        wanted: String,
    },
    /// A description is longer than any real one.
    #[error("{0} of the image has more than {LONGEST_DESCRIPTION} bytes")]
    TooLong(String),
    /// A manifest of another kind.
    #[error("the manifest makes no sense: {0}. An OCI image, or one of Docker's schema 2, is expected")]
    Malformed(serde_json::Error),
    /// There is none for this node, or more than one.
    #[error("there are {0} images for {1} in it, and one is needed")]
    Choice(usize, String),
    /// More than an image may have.
    #[error("the image has {bytes} bytes in {layers} layers. At most {most_bytes} bytes in {most_layers} are fetched")]
    TooLarge {
        /// What it has, packed.
        bytes: u64,
        /// In so many.
        layers: usize,
        /// What is fetched.
        most_bytes: u64,
        /// In so many.
        most_layers: usize,
    },
    /// The archive cannot be written.
    #[error("the archive of the image cannot be written: {0}")]
    Archive(#[from] io::Error),
}

/// A conversation with a registry about one image.
pub(crate) struct Conversation<'a> {
    reference: &'a Reference,
    credentials: Option<&'a Credentials>,
    http: Client,
    /// Whether it is asked without TLS.
    is_plain: bool,
    /// What it was convinced by.
    authorization: Option<HeaderValue>,
}

impl<'a> Conversation<'a> {
    pub(crate) fn new(reference: &'a Reference, access: &'a RegistryAccess) -> Result<Self, FetchError> {
        let is_loopback = reference.registry.is_loopback();
        // Whoever says by which certificate it is known says that it has one.
        let is_plain = is_loopback && access.authorities.is_none();
        let mut builder = Client::builder()
            .redirect(Policy::custom(move |attempt| follow(attempt, is_plain)))
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(Duration::from_mins(1));
        if is_loopback {
            builder = builder.no_proxy();
        }
        if let Some(authorities) = &access.authorities {
            let registry = || reference.registry.clone();
            let certificates = Certificate::from_pem_bundle(authorities.as_bytes());
            let certificates =
                certificates.map_err(|source| FetchError::Authorities { registry: registry(), source })?;
            builder = builder.tls_certs_merge(certificates);
        }
        let http = builder.build().map_err(|source| unreachable(reference, source))?;
        Ok(Self { reference, credentials: access.credentials.as_ref(), http, is_plain, authorization: None })
    }

    /// A manifest or an index, by tag or digest. Not yet known to be what a digest says.
    pub(crate) async fn manifest(&mut self, version: &str) -> Result<Vec<u8>, FetchError> {
        let response = self.answer("manifests", version).await?;
        self.body(response, "the manifest").await
    }

    /// The answer that brings a part.
    pub(crate) async fn blob(&mut self, digest: &Digest) -> Result<Response, FetchError> {
        self.answer("blobs", &digest.to_string()).await
    }

    pub(crate) fn unreachable(&self, source: reqwest::Error) -> FetchError {
        unreachable(self.reference, source)
    }

    async fn answer(&mut self, kind: &str, name: &str) -> Result<Response, FetchError> {
        let (registry, repository) = (&self.reference.registry, &self.reference.repository);
        let scheme = if self.is_plain { "http" } else { "https" };
        let address = format!("{scheme}://{registry}/v2/{repository}/{kind}/{name}");
        let mut response = self.get(&address).await?;
        // A token lasts for minutes, and layers may take longer: a second one is asked for like the first.
        if response.status() == StatusCode::UNAUTHORIZED {
            self.authorization = Some(self.convince(&response).await?);
            response = self.get(&address).await?;
        }
        let part = format!("{kind}/{name}");
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.not_for_us()),
            StatusCode::NOT_FOUND => Err(FetchError::Missing { registry: registry.clone(), part }),
            status => Err(FetchError::Status { registry: registry.clone(), part, status }),
        }
    }

    async fn get(&self, address: &str) -> Result<Response, FetchError> {
        let mut request = self.http.get(address).header(ACCEPT, MANIFESTS.join(", "));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.send().await.map_err(|source| self.unreachable(source))
    }

    /// What it asks for: a token, in the name of whoever there are credentials of, or the credentials themselves.
    async fn convince(&self, refusal: &Response) -> Result<HeaderValue, FetchError> {
        let headers = refusal.headers().get_all(WWW_AUTHENTICATE).iter();
        let challenges: Vec<_> = headers.filter_map(|header| Challenge::parse(header.to_str().ok()?)).collect();
        let realm = challenges.iter().find_map(|challenge| match challenge {
            Challenge::Token(realm) => Some(realm),
            Challenge::Password => None,
        });
        match (realm, self.credentials) {
            (Some(realm), _) => self.secret("Bearer", &self.fetch_token(realm).await?),
            (None, Some(credentials)) if !challenges.is_empty() => self.secret("Basic", credentials.as_str()),
            _ => Err(self.not_for_us()),
        }
    }

    async fn fetch_token(&self, realm: &Realm) -> Result<String, FetchError> {
        let address = realm.address();
        if !is_admitted(&address, self.is_plain) {
            return Err(FetchError::Realm(self.reference.registry.clone()));
        }
        let mut request = self.http.get(address);
        if let Some(credentials) = self.credentials {
            request = request.header(AUTHORIZATION, self.secret("Basic", credentials.as_str())?);
        }
        let response = request.send().await.map_err(|source| self.unreachable(source))?;
        if response.status() != StatusCode::OK {
            return Err(self.not_for_us());
        }
        let body = self.body(response, "the token").await?;
        let given: Given = serde_json::from_slice(&body).map_err(FetchError::Malformed)?;
        given.token.or(given.access_token).ok_or_else(|| self.not_for_us())
    }

    fn secret(&self, scheme: &str, secret: &str) -> Result<HeaderValue, FetchError> {
        let mut header = HeaderValue::try_from(format!("{scheme} {secret}")).map_err(|_| self.not_for_us())?;
        header.set_sensitive(true);
        Ok(header)
    }

    fn not_for_us(&self) -> FetchError {
        let registry = self.reference.registry.clone();
        if self.credentials.is_some() { FetchError::Refused(registry) } else { FetchError::Credentials(registry) }
    }

    async fn body(&self, mut response: Response, part: &str) -> Result<Vec<u8>, FetchError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|source| self.unreachable(source))? {
            if body.len() + chunk.len() > LONGEST_DESCRIPTION {
                return Err(FetchError::TooLong(part.to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// What an authority says of tokens; either name is used.
#[derive(Deserialize)]
struct Given {
    token: Option<String>,
    access_token: Option<String>,
}

/// An address may carry a signature of its own, and stays unsaid.
fn unreachable(reference: &Reference, source: reqwest::Error) -> FetchError {
    FetchError::Unreachable { registry: reference.registry.clone(), source: source.without_url() }
}

/// Tokens and credentials do not go along to another host: reqwest sees to that.
fn follow(attempt: Attempt, is_plain: bool) -> reqwest::redirect::Action {
    if attempt.previous().len() > MOST_REDIRECTS {
        return attempt.error("it leads from one address to another, again and again");
    }
    if is_admitted(attempt.url(), is_plain) {
        return attempt.follow();
    }
    let host = attempt.url().host_str().unwrap_or_default().to_owned();
    attempt.error(format!("it leads to {host} without TLS, and only https is followed"))
}

/// https; and on this host, for whoever began there, http.
fn is_admitted(address: &Url, is_plain: bool) -> bool {
    let is_here = match address.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    address.scheme() == "https" || (is_plain && is_here && address.scheme() == "http")
}

/// OCI's and Docker's forms of manifests and indexes.
const MANIFESTS: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

const MOST_REDIRECTS: usize = 5;

/// As the reader of images has it.
const LONGEST_DESCRIPTION: usize = 4 << 20;
