//! A whole server over a temporary store, driven without a socket.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bastide_arm::clock::{Clock, ManualClock};
use bastide_arm::resource_type::Parity;
use bastide_identity::{
    BootstrapNames, Identity, NewServicePrincipal, PasswordCost, Principal, Settings as IdentitySettings,
};
use bastide_server::origin::{Origin, Origins};
use bastide_server::{Founding, Server, Settings, found};
use bastide_store::{Location, Store};
use bastide_vault::Sealer;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;
use uuid::Uuid;

pub const API: &str = "api-version=2024-11-01";

pub struct House {
    pub router: Router,
    pub store: Store,
    pub identity: Identity,
    pub clock: Arc<ManualClock>,
    pub tenant: Uuid,
    pub subscription: Uuid,
    pub token: String,
    client_id: Uuid,
    client_secret: String,
    admin_password: String,
    _directory: TempDir,
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

#[derive(Default, Clone, Copy)]
pub struct Options {
    pub generic_resources: bool,
    pub parity: Parity,
}

impl House {
    pub async fn found() -> Self {
        Self::found_with(Options::default()).await
    }

    pub async fn found_with(options: Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&Location::Sqlite(directory.path().join("store.db"))).await.unwrap();
        let sealer = Sealer::open_or_create(&directory.path().join("seal.key")).unwrap();
        let clock = Arc::new(ManualClock::at("2026-11-22T10:00:00Z".parse().unwrap()));
        let (tenant, subscription) = (Uuid::from_u128(0xa1), Uuid::from_u128(0xb2));
        let origin = Origin::parse("https://localhost:8443").unwrap();
        let alias = Origin::parse("https://127.0.0.1:8443").unwrap();
        let origins = Origins::new(origin.clone(), vec![alias], "bastide.localhost");
        let mut settings =
            IdentitySettings::new(tenant, format!("{origin}/{tenant}/v2.0"), vec![origin.as_str().to_owned()]);
        settings.password_cost = PasswordCost::for_tests();
        settings.allow_password = true;
        let shared: Arc<dyn Clock> = clock.clone();
        let identity = Identity::open(store.clone(), sealer.clone(), Arc::clone(&shared), settings).await.unwrap();
        let names = BootstrapNames { admin: "admin@bastide.localhost".to_owned(), client: "bootstrap".to_owned() };
        let bootstrapped = identity.bootstrap(&names).await.unwrap();
        let secrets = bootstrapped.secrets.unwrap();
        let founding = Founding {
            subscription_id: subscription,
            display_name: "Bastide".to_owned(),
            client: principal(&identity, bootstrapped.ids.client_object_id).await,
            administrator: principal(&identity, bootstrapped.ids.admin_object_id).await,
        };
        found(&store, &founding, clock.now()).await.unwrap();
        let settings = Settings {
            origins,
            tenant_id: tenant,
            subscription_id: subscription,
            parity: options.parity,
            generic_resources: options.generic_resources,
        };
        let mut server = Server::new(settings, store.clone(), identity.clone(), sealer, shared);
        tokio::spawn(server.runner().unwrap());
        let mut house = Self {
            router: server.router(),
            store,
            identity,
            clock,
            tenant,
            subscription,
            token: String::new(),
            client_id: bootstrapped.ids.client_id,
            client_secret: secrets.client_secret.expose().to_owned(),
            admin_password: secrets.admin_password.expose().to_owned(),
            _directory: directory,
        };
        house.token = house.log_in(house.client_id, &house.client_secret.clone()).await;
        house
    }

    /// Signs in by client secret, over the wire.
    pub async fn log_in(&self, client_id: Uuid, secret: &str) -> String {
        let client_id = client_id.to_string();
        let form = [("grant_type", "client_credentials"), ("client_id", &client_id), ("client_secret", secret)];
        self.token(&format!("/{}/oauth2/v2.0/token", self.tenant), &form).await
    }

    /// Signs the administrator in by password, which only the adfs flavour allows.
    pub async fn log_in_admin(&self) -> String {
        let form = [
            ("grant_type", "password"),
            ("client_id", "04b07795-8ddb-461a-bbee-02f9e1bf7b46"),
            ("username", "admin@bastide.localhost"),
            ("password", &self.admin_password),
        ];
        self.token("/adfs/oauth2/v2.0/token", &form).await
    }

    async fn token(&self, path: &str, form: &[(&str, &str)]) -> String {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(form).append_pair("scope", "https://localhost:8443/.default openid offline_access");
        let request = Request::post(path)
            .header("host", "localhost:8443")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(body.finish()))
            .unwrap();
        let answer = self.send(request).await;
        answer.body["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer:?}")).to_owned()
    }

    /// A service principal without any rights, and its token.
    pub async fn stranger(&self) -> (Principal, String) {
        let new = NewServicePrincipal { display_name: "stranger".to_owned(), ..NewServicePrincipal::default() };
        let directory = self.identity.directory();
        let stranger = directory.create_service_principal(new).await.unwrap();
        let secret = directory.add_secret(stranger.object_id, "test", None).await.unwrap().secret;
        let token = self.log_in(stranger.app_id, secret.expose()).await;
        (principal(&self.identity, stranger.object_id).await, token)
    }

    pub fn group(&self, name: &str) -> String {
        format!("/subscriptions/{}/resourceGroups/{name}", self.subscription)
    }

    pub fn hub(&self, group: &str, name: &str) -> String {
        format!("{}/providers/Microsoft.MachineLearningServices/workspaces/{name}", self.group(group))
    }

    pub fn identity_id(&self, group: &str, name: &str) -> String {
        format!("{}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}", self.group(group))
    }

    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.call_as(&self.token, method, path, body, &[]).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, path, Some(body)).await
    }

    pub async fn call_as(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let separator = if path.contains('?') { '&' } else { '?' };
        let uri = if path.contains("api-version=") { path.to_owned() } else { format!("{path}{separator}{API}") };
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header("host", "localhost:8443")
            .header("authorization", format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.send(request.body(body).unwrap()).await
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&bytes).into_owned()))
        };
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub async fn make_group(&self, name: &str) {
        let answer = self.put(&self.group(name), json!({"location": "westeurope"})).await;
        assert!(answer.status.is_success(), "{answer:?}");
    }

    pub async fn make_hub(&self, group: &str, name: &str) -> Value {
        let answer = self.put(&self.hub(group, name), json!({"location": "westeurope", "kind": "hub"})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// Follows the URL of a long-running operation until it is not running.
    pub async fn wait(&self, answer: &Answer) -> Answer {
        let url = answer.header("azure-asyncoperation").to_owned();
        let path = url.strip_prefix("https://localhost:8443").unwrap();
        for _ in 0..200 {
            let polled = self.get(path).await;
            if polled.body["status"] != "Running" {
                return polled;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("still running: {url}");
    }
}

impl Answer {
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or("")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn principal(identity: &Identity, object_id: Uuid) -> Principal {
    let object = identity.directory().object(object_id).await.unwrap().unwrap();
    identity.directory().principal(&object).await.unwrap()
}
