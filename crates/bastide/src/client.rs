//! Finding a running Bastide and getting tokens from it, over the public API like every other client.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use url::Url;
use uuid::Uuid;

use crate::bootstrap::{Bootstrap, BootstrapError};
use crate::data_directory::{DataDirectory, DataDirectoryError};

/// A Bastide, and how we prove who we are.
pub(crate) enum Target {
    /// A local one, by the bootstrap client in its data directory.
    Local(Box<Bootstrap>),
    /// Any one, by a token somebody got us: `BASTIDE_ENDPOINT` and `BASTIDE_TOKEN`.
    Remote {
        /// `BASTIDE_TOKEN`.
        token: String,
    },
}

/// Why no Bastide was found, or it gave no token. No text holds a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error(
        "there is no Bastide in {}: start one with 'bastide up', name another directory with --data-dir, or set BASTIDE_ENDPOINT, BASTIDE_CA_FILE and BASTIDE_TOKEN",
        .0.display()
    )]
    NotFounded(PathBuf),
    #[error("BASTIDE_ENDPOINT is set, BASTIDE_TOKEN is not: set both, or name a data directory with --data-dir")]
    NoToken,
    #[error("cannot use the certificate in {}: {problem}", .path.display())]
    Certificate { path: PathBuf, problem: String },
    #[error("the endpoint '{0}' is not a URL")]
    Endpoint(String),
    #[error("cannot reach {endpoint}: is it running?")]
    Unreachable { endpoint: String, source: reqwest::Error },
    #[error("{endpoint} gave no token: {problem}")]
    Refused { endpoint: String, problem: String },
    #[error("{0}")]
    Answer(String),
    #[error("there are several subscriptions: name one with --subscription")]
    WhichSubscription,
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    #[error(transparent)]
    DataDirectory(#[from] DataDirectoryError),
}

impl Target {
    /// The Bastide in the named directory; when none is named the one in the environment, else the default directory's.
    pub(crate) fn find(named: Option<&Path>) -> Result<Self, ClientError> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        if named.is_none() && variable("BASTIDE_ENDPOINT").is_some() {
            let token = variable("BASTIDE_TOKEN").ok_or(ClientError::NoToken)?;
            return Ok(Self::Remote { token });
        }
        Ok(Self::Local(Box::new(local(named)?.1)))
    }
}

/// The data directory (absolute) and its bootstrap file.
pub(crate) fn local(named: Option<&Path>) -> Result<(PathBuf, Bootstrap), ClientError> {
    let directory = match named {
        Some(directory) => directory.to_owned(),
        None => DataDirectory::default_path()?,
    };
    let directory = fs::canonicalize(&directory).map_err(|_| ClientError::NotFounded(directory))?;
    let bootstrap = Bootstrap::read(&Bootstrap::file(&directory))?;
    match bootstrap {
        Some(bootstrap) => Ok((directory, bootstrap)),
        None => Err(ClientError::NotFounded(directory)),
    }
}

impl Bootstrap {
    /// An access token of the bootstrap client for `resource`, the endpoint itself when there is none.
    pub(crate) async fn token(&self, resource: Option<&str>) -> Result<String, ClientError> {
        let resource = resource.unwrap_or(&self.endpoint);
        // The scope that means "everything I may"; az and the SDKs ask the same way.
        let scope = format!("{}/.default", resource.strip_suffix('/').unwrap_or(resource));
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &self.client_id.to_string()),
            ("client_secret", &self.client_secret),
            ("scope", &scope),
        ];
        let unreachable = |source| ClientError::Unreachable { endpoint: self.endpoint.clone(), source };
        let url = format!("{}/{}/oauth2/v2.0/token", self.endpoint, self.tenant_id);
        let response =
            http(&self.endpoint, Some(&self.ca_file))?.post(url).form(&form).send().await.map_err(unreachable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unreachable)?;
        match serde_json::from_slice(&body) {
            Ok(Answer::Token { access_token }) => Ok(access_token),
            Ok(Answer::Refusal { error_description }) => {
                Err(ClientError::Refused { endpoint: self.endpoint.clone(), problem: error_description })
            }
            Err(_) => Err(ClientError::Refused {
                endpoint: self.endpoint.clone(),
                problem: format!("it answered {status}, and no token"),
            }),
        }
    }
}

/// The public API of a Bastide, for somebody who is signed in.
pub(crate) struct Api {
    http: reqwest::Client,
    endpoint: String,
    token: String,
    /// The subscription commands work in unless told otherwise.
    subscription: Option<Uuid>,
}

impl Api {
    /// Signs in to the Bastide in the named directory, or as [`Target::find`] finds it.
    pub(crate) async fn open(named: Option<&Path>) -> Result<Self, ClientError> {
        match Target::find(named)? {
            Target::Local(bootstrap) => Ok(Self {
                http: http(&bootstrap.endpoint, Some(&bootstrap.ca_file))?,
                token: bootstrap.token(None).await?,
                subscription: Some(bootstrap.subscription_id),
                endpoint: bootstrap.endpoint,
            }),
            Target::Remote { token } => {
                let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
                let endpoint = variable("BASTIDE_ENDPOINT").unwrap_or_default();
                let endpoint = endpoint.trim_end_matches('/').to_owned();
                let ca_file = variable("BASTIDE_CA_FILE").map(PathBuf::from);
                Ok(Self { http: http(&endpoint, ca_file.as_deref())?, endpoint, token, subscription: None })
            }
        }
    }

    /// The subscription to work in: the one given, else the bootstrap file's, else the only one there is.
    pub(crate) async fn subscription(&self, given: Option<Uuid>) -> Result<Uuid, ClientError> {
        if let Some(subscription) = given.or(self.subscription) {
            return Ok(subscription);
        }
        let list = self.get("/subscriptions?api-version=2022-12-01").await?;
        let ids = list.get("value").and_then(Value::as_array).into_iter().flatten();
        let mut ids = ids.filter_map(|subscription| subscription.get("subscriptionId")?.as_str()?.parse().ok());
        match (ids.next(), ids.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(ClientError::WhichSubscription),
        }
    }

    /// GET of a path with its query.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.send(self.http.get(format!("{}{path}", self.endpoint))).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value, ClientError> {
        let unreachable = |source| ClientError::Unreachable { endpoint: self.endpoint.clone(), source };
        let response = request.bearer_auth(&self.token).send().await.map_err(unreachable)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(unreachable)?;
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if status.is_success() {
            return Ok(body);
        }
        let said = |name: &str| {
            let text = body.get("error").and_then(|error| error.get(name)?.as_str());
            text.unwrap_or_default().to_owned()
        };
        Err(match said("message") {
            message if message.is_empty() => ClientError::Answer(format!("{} answered {status}", self.endpoint)),
            message => ClientError::Answer(format!("({}) {message}", said("code"))),
        })
    }
}

/// A client that trusts one Bastide's certificate and nothing else; without a file, whom the system trusts.
fn http(endpoint: &str, ca_file: Option<&Path>) -> Result<reqwest::Client, ClientError> {
    let named = ca_file.unwrap_or(Path::new("(the system's)"));
    let refuse = |problem: String| ClientError::Certificate { path: named.to_owned(), problem };
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        .timeout(Duration::from_secs(30));
    if let Some(ca_file) = ca_file {
        let pem = fs::read(ca_file).map_err(|error| refuse(error.to_string()))?;
        let trusted = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| refuse(error.to_string()))?;
        builder = builder.tls_certs_only(trusted);
    }
    if is_loopback(endpoint)? {
        // A proxy cannot reach our loopback, whatever HTTPS_PROXY says.
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| refuse(error.to_string()))
}

/// What a token endpoint answers, RFC 6749 sections 5.1 and 5.2.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Token { access_token: String },
    Refusal { error_description: String },
}

fn is_loopback(endpoint: &str) -> Result<bool, ClientError> {
    let url = Url::parse(endpoint).map_err(|_| ClientError::Endpoint(endpoint.to_owned()))?;
    Ok(match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    })
}
