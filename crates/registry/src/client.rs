//! Asking one registry for the parts of one image.

use std::io;
use std::time::Duration;

use bastide_image::digest::Digest;
use bastide_plan::reference::{Reference, Registry};
use reqwest::header::{ACCEPT, WWW_AUTHENTICATE};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use thiserror::Error;
use url::{Host, Url};

use crate::challenge::Challenge;

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
    /// It wants to know who asks, beyond a token that anybody gets.
    #[error(
        "{0} wants credentials for the image, or does not have it. Images are pulled without credentials, which Bastide \
         does not support yet: copy the image to the node as an OCI archive instead"
    )]
    Credentials(Registry),
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
    http: Client,
    token: Option<String>,
}

impl<'a> Conversation<'a> {
    pub(crate) fn new(reference: &'a Reference) -> Result<Self, FetchError> {
        let is_loopback = reference.registry.is_loopback();
        let mut builder = Client::builder()
            .redirect(Policy::custom(move |attempt| follow(attempt, is_loopback)))
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(Duration::from_mins(1));
        if is_loopback {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|source| unreachable(reference, source))?;
        Ok(Self { reference, http, token: None })
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
        let scheme = if registry.is_loopback() { "http" } else { "https" };
        let address = format!("{scheme}://{registry}/v2/{repository}/{kind}/{name}");
        let mut response = self.get(&address).await?;
        // A token lasts for minutes, and layers may take longer: a second one is asked for like the first.
        if response.status() == StatusCode::UNAUTHORIZED {
            self.token = Some(self.fetch_token(&response).await?);
            response = self.get(&address).await?;
        }
        let part = format!("{kind}/{name}");
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(FetchError::Credentials(registry.clone())),
            StatusCode::NOT_FOUND => Err(FetchError::Missing { registry: registry.clone(), part }),
            status => Err(FetchError::Status { registry: registry.clone(), part, status }),
        }
    }

    async fn get(&self, address: &str) -> Result<Response, FetchError> {
        let mut request = self.http.get(address).header(ACCEPT, MANIFESTS.join(", "));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        request.send().await.map_err(|source| self.unreachable(source))
    }

    async fn fetch_token(&self, refusal: &Response) -> Result<String, FetchError> {
        let registry = &self.reference.registry;
        let mut challenges = refusal.headers().get_all(WWW_AUTHENTICATE).iter();
        let challenge = challenges.find_map(|header| Challenge::parse(header.to_str().ok()?));
        let address = challenge.ok_or_else(|| FetchError::Credentials(registry.clone()))?.address();
        if !is_admitted(&address, registry.is_loopback()) {
            return Err(FetchError::Realm(registry.clone()));
        }
        let response = self.http.get(address).send().await.map_err(|source| self.unreachable(source))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Credentials(registry.clone()));
        }
        let body = self.body(response, "the token").await?;
        let given: Given = serde_json::from_slice(&body).map_err(FetchError::Malformed)?;
        given.token.or(given.access_token).ok_or_else(|| FetchError::Credentials(registry.clone()))
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

/// Tokens do not go along to another host: reqwest sees to that.
fn follow(attempt: Attempt, is_loopback: bool) -> reqwest::redirect::Action {
    if attempt.previous().len() > MOST_REDIRECTS {
        return attempt.error("it leads from one address to another, again and again");
    }
    if is_admitted(attempt.url(), is_loopback) {
        return attempt.follow();
    }
    let host = attempt.url().host_str().unwrap_or_default().to_owned();
    attempt.error(format!("it leads to {host} without TLS, and only https is followed"))
}

/// https; and on this host, for whoever began there, http.
fn is_admitted(address: &Url, is_loopback: bool) -> bool {
    let is_here = match address.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    address.scheme() == "https" || (is_loopback && is_here && address.scheme() == "http")
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
