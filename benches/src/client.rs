//! A client of the public API, with one kept connection.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Outcome;
use crate::api::{GROUP, GROUPS, group};
use crate::server::Server;

/// Signed in as the bootstrap client.
pub struct Client {
    http: reqwest::Client,
    certificates: Vec<reqwest::Certificate>,
    token: String,
    origin: String,
    subscription: String,
}

impl Client {
    /// Gets a token from the server.
    pub async fn sign_in(server: &Server) -> Outcome<Self> {
        #[derive(Deserialize)]
        struct Answer {
            access_token: String,
        }
        let bootstrap = &server.bootstrap;
        let certificates = reqwest::Certificate::from_pem_bundle(&std::fs::read(&bootstrap.ca_file)?)?;
        let http = connection(&certificates)?;
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &bootstrap.client_id),
            ("client_secret", &bootstrap.client_secret),
            ("scope", &format!("{}/.default", bootstrap.endpoint)),
        ];
        let url = format!("{}/{}/oauth2/v2.0/token", server.origin, bootstrap.tenant_id);
        let answer = http.post(url).form(&form).send().await?.error_for_status()?;
        let Answer { access_token } = answer.json().await?;
        let subscription = format!("/subscriptions/{}", bootstrap.subscription_id);
        Ok(Self { http, certificates, token: access_token, origin: server.origin.clone(), subscription })
    }

    /// Founds the resource group that a bench works in.
    pub async fn found_group(&self) -> Outcome<()> {
        self.put(&group(GROUP), GROUPS, &json!({"location": "local"})).await
    }

    /// The same client on a connection of its own.
    pub fn connect(&self) -> Outcome<Self> {
        Ok(Self {
            http: connection(&self.certificates)?,
            certificates: self.certificates.clone(),
            token: self.token.clone(),
            origin: self.origin.clone(),
            subscription: self.subscription.clone(),
        })
    }

    /// The path of the subscription.
    pub fn subscription(&self) -> &str {
        &self.subscription
    }

    /// Creates or replaces what is at this path below the subscription.
    pub async fn put(&self, path: &str, version: &str, body: &Value) -> Outcome<()> {
        let request = self.http.put(self.url(path, version)).json(body);
        request.bearer_auth(&self.token).send().await?.error_for_status()?.bytes().await?;
        Ok(())
    }

    /// Reads what is at this path below the subscription.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, version: &str) -> Outcome<T> {
        self.follow(&self.url(path, version)).await
    }

    /// Asks what is at this path below the subscription; `query` is text as it stands behind the version.
    pub async fn ask<T: DeserializeOwned>(&self, path: &str, version: &str, query: &str) -> Outcome<T> {
        self.follow(&format!("{}&{query}", self.url(path, version))).await
    }

    /// Reads what is at this address.
    pub async fn follow<T: DeserializeOwned>(&self, url: &str) -> Outcome<T> {
        Ok(self.http.get(url).bearer_auth(&self.token).send().await?.error_for_status()?.json().await?)
    }

    /// The status that another origin of the server's answers with: its name leads to the same address.
    pub async fn elsewhere(&self, url: &str) -> Outcome<u16> {
        let parsed = reqwest::Url::parse(url)?;
        let (host, port) = (parsed.host_str().ok_or("no host")?, parsed.port().ok_or("no port")?);
        let builder = reqwest::Client::builder().tls_certs_only(self.certificates.clone()).no_proxy();
        let http = builder.resolve(host, ([127, 0, 0, 1], port).into()).build()?;
        Ok(http.get(url).bearer_auth(&self.token).send().await?.status().as_u16())
    }

    fn url(&self, path: &str, version: &str) -> String {
        format!("{}{}{path}?api-version={version}", self.origin, self.subscription)
    }
}

/// A client that trusts these certificates only and keeps its connection.
pub fn connection(certificates: &[reqwest::Certificate]) -> Outcome<reqwest::Client> {
    let builder = reqwest::Client::builder().tls_certs_only(certificates.to_vec()).no_proxy();
    Ok(builder.pool_max_idle_per_host(1).build()?)
}
