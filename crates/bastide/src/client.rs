//! Finding a running Bastide and getting tokens from it, over the public API like every other client.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use reqwest::Upgraded;
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
    /// Any one, by a token somebody got us.
    Remote(Remote),
}

/// What the environment says of a Bastide.
pub(crate) struct Remote {
    /// `BASTIDE_ENDPOINT`, without a trailing slash.
    pub(crate) endpoint: String,
    /// `BASTIDE_TOKEN`.
    pub(crate) token: String,
    /// `BASTIDE_CA_FILE`; whom the system trusts if none.
    pub(crate) ca_file: Option<PathBuf>,
    /// `BASTIDE_SUBSCRIPTION`.
    pub(crate) subscription: Option<Uuid>,
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
    Refusal(Refusal),
    #[error("{0} takes too long to answer")]
    Slow(String),
    #[error("the API led to '{0}', which is not its own address")]
    Foreign(String),
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
        match variable("BASTIDE_ENDPOINT").filter(|_| named.is_none()) {
            Some(endpoint) => Ok(Self::Remote(Remote {
                endpoint: endpoint.trim_end_matches('/').to_owned(),
                token: variable("BASTIDE_TOKEN").ok_or(ClientError::NoToken)?,
                ca_file: variable("BASTIDE_CA_FILE").map(PathBuf::from),
                subscription: variable("BASTIDE_SUBSCRIPTION").and_then(|id| id.parse().ok()),
            })),
            None => Ok(Self::Local(Box::new(local(named)?.1))),
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
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
        let response = http(&self.endpoint, Some(&self.ca_file), PATIENCE)?
            .post(url)
            .form(&form)
            .send()
            .await
            .map_err(unreachable)?;
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
    ca_file: Option<PathBuf>,
    token: String,
    /// The subscription commands work in unless told otherwise.
    subscription: Option<Uuid>,
}

/// What was answered, and is no refusal.
pub(crate) struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    /// The body; null when there was none.
    pub(crate) body: Value,
}

impl Answered {
    /// What the API has done otherwise than asked, or not at all, in its own words.
    pub(crate) fn warning(&self) -> Option<&str> {
        self.headers.get("x-ms-bastide-warning").and_then(|value| value.to_str().ok())
    }
}

/// What the API does not do, in its own words.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: String,
    message: String,
}

impl Refusal {
    /// Whether what was asked for is not there.
    pub(crate) fn is_missing(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    /// From a status and the body that came with it, if it was ARM's.
    fn read(endpoint: &str, status: StatusCode, body: &Value) -> Self {
        let said = |name: &str| body.get("error").and_then(|error| error.get(name)?.as_str()).map(str::to_owned);
        let message = said("message").unwrap_or_else(|| format!("{endpoint} answered {status}"));
        Self { status, code: said("code").unwrap_or_default(), message }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.code.is_empty() {
            return formatter.write_str(&self.message);
        }
        write!(formatter, "({}) {}", self.code, self.message)
    }
}

impl Api {
    /// Signs in to the Bastide in the named directory, or as [`Target::find`] finds it.
    pub(crate) async fn open(named: Option<&Path>) -> Result<Self, ClientError> {
        match Target::find(named)? {
            Target::Local(bootstrap) => Self::as_bootstrap_client(&bootstrap).await,
            Target::Remote(Remote { endpoint, token, ca_file, subscription }) => {
                let http = http(&endpoint, ca_file.as_deref(), PATIENCE)?;
                Ok(Self { http, endpoint, ca_file, token, subscription })
            }
        }
    }

    /// Signs in as the first client of a Bastide.
    pub(crate) async fn as_bootstrap_client(bootstrap: &Bootstrap) -> Result<Self, ClientError> {
        Ok(Self {
            http: http(&bootstrap.endpoint, Some(&bootstrap.ca_file), PATIENCE)?,
            token: bootstrap.token(None).await?,
            subscription: Some(bootstrap.subscription_id),
            endpoint: bootstrap.endpoint.clone(),
            ca_file: Some(bootstrap.ca_file.clone()),
        })
    }

    /// The subscription to work in: the one given, else the one of the bootstrap file or the environment, else the only
    /// one there is.
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

    /// The body that GET of a path with its query answers.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, ClientError> {
        Ok(self.ask(Method::GET, path, None).await?.body)
    }

    /// Every item of a list, page after page, up to a number of them.
    pub(crate) async fn list(&self, path: &str, most: usize) -> Result<Vec<Value>, ClientError> {
        let mut items = Vec::new();
        let mut next = Some(path.to_owned());
        while let Some(path) = next.take().filter(|_| items.len() < most) {
            let mut page = self.get(&path).await?;
            if let Some(Value::Array(more)) = page.get_mut("value").map(Value::take) {
                items.extend(more);
            }
            next = page.get("nextLink").and_then(Value::as_str).map(|link| self.own(link)).transpose()?;
        }
        items.truncate(most);
        Ok(items)
    }

    /// A request to a path with its query.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answered, ClientError> {
        let mut request = self.http.request(method, format!("{}{path}", self.endpoint)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|source| self.unreachable(source))?;
        self.answered(response).await
    }

    /// Waits until what was asked for has been done, looking with `look` in between.
    pub(crate) async fn finish<L: Future<Output = ()>>(
        &self,
        answered: Answered,
        mut look: impl FnMut() -> L,
    ) -> Result<(), ClientError> {
        let header = |name: &str| answered.headers.get(name).and_then(|value| value.to_str().ok());
        let (status, location) = (header("azure-asyncoperation"), header("location"));
        let Some(path) = status.or(location).map(|link| self.own(link)).transpose()? else { return Ok(()) };
        let mut pause = SHORTEST_PAUSE;
        loop {
            let now = self.ask(Method::GET, &path, None).await?;
            let word = now.body.get("status").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
            match word.as_str() {
                "succeeded" => return Ok(()),
                "failed" | "canceled" => {
                    return Err(ClientError::Refusal(Refusal::read(&self.endpoint, StatusCode::OK, &now.body)));
                }
                _ if status.is_none() && now.status != StatusCode::ACCEPTED => return Ok(()),
                _ => {}
            }
            look().await;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Makes a connection of HTTP/1.1 one of another protocol (RFC 9110, section 7.8).
    pub(crate) async fn upgrade(&self, path: &str, headers: HeaderMap) -> Result<(HeaderMap, Upgraded), ClientError> {
        // Such a connection lasts as long as it lasts.
        let http = http(&self.endpoint, self.ca_file.as_deref(), Duration::MAX)?;
        let request = http.get(format!("{}{path}", self.endpoint)).bearer_auth(&self.token).headers(headers);
        let opening = tokio::time::timeout(PATIENCE, request.send()).await;
        let response = opening.map_err(|_| ClientError::Slow(self.endpoint.clone()))?;
        let response = response.map_err(|source| self.unreachable(source))?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let headers = response.headers().clone();
            let stream = response.upgrade().await.map_err(|source| self.unreachable(source))?;
            return Ok((headers, stream));
        }
        let status = self.answered(response).await?.status;
        Err(ClientError::Refusal(Refusal::read(&self.endpoint, status, &Value::Null)))
    }

    /// The answer to a GET whose body goes on for as long as it goes on.
    pub(crate) async fn open_body(&self, path: &str) -> Result<reqwest::Response, ClientError> {
        let http = http(&self.endpoint, self.ca_file.as_deref(), Duration::MAX)?;
        let request = http.get(format!("{}{path}", self.endpoint)).bearer_auth(&self.token);
        let opening = tokio::time::timeout(PATIENCE, request.send()).await;
        let response = opening.map_err(|_| ClientError::Slow(self.endpoint.clone()))?;
        let response = response.map_err(|source| self.unreachable(source))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = self.answered(response).await?.status;
        Err(ClientError::Refusal(Refusal::read(&self.endpoint, status, &Value::Null)))
    }

    async fn answered(&self, response: reqwest::Response) -> Result<Answered, ClientError> {
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.map_err(|source| self.unreachable(source))?;
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if status.is_success() {
            return Ok(Answered { status, headers, body });
        }
        Err(ClientError::Refusal(Refusal::read(&self.endpoint, status, &body)))
    }

    /// The path and query of a link, which must lead here: the token goes nowhere else.
    fn own(&self, link: &str) -> Result<String, ClientError> {
        let path = link.strip_prefix(&self.endpoint).filter(|path| path.starts_with('/'));
        path.map(str::to_owned).ok_or_else(|| ClientError::Foreign(link.to_owned()))
    }

    fn unreachable(&self, source: reqwest::Error) -> ClientError {
        ClientError::Unreachable { endpoint: self.endpoint.clone(), source }
    }
}

/// A name as one segment of a path.
pub(crate) fn segment(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20")
}

/// A client that trusts one Bastide's certificate and nothing else; without a file, whom the system trusts.
fn http(endpoint: &str, ca_file: Option<&Path>, patience: Duration) -> Result<reqwest::Client, ClientError> {
    let named = ca_file.unwrap_or(Path::new("(the system's)"));
    let refuse = |problem: String| ClientError::Certificate { path: named.to_owned(), problem };
    let mut builder =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).connect_timeout(Duration::from_secs(10));
    if patience < Duration::MAX {
        builder = builder.timeout(patience);
    }
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

/// For an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at what takes longer.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
