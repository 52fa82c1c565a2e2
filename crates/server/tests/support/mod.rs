//! A whole server over a temporary store, driven without a socket.

#![allow(dead_code, reason = "every test file uses some of it")]

pub mod agent;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bastide_arm::clock::{Clock, ManualClock};
use bastide_arm::resource_type::Parity;
use bastide_identity::{
    BootstrapNames, Identity, NewServicePrincipal, PasswordCost, Principal, Settings as IdentitySettings,
};
use bastide_server::origin::{Origin, Origins};
use bastide_server::{Founding, NetworkSettings, Server, Settings, found};
use bastide_store::{Change, Location, ResourcePut, Store, Write};
use bastide_vault::Sealer;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
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
    /// Holds the store and the mirror of linked templates.
    pub directory: TempDir,
    settings: Settings,
    sealer: Sealer,
    runner: JoinHandle<()>,
    planner: JoinHandle<()>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

#[derive(Default, Clone)]
pub struct Options {
    pub generic_resources: bool,
    pub parity: Parity,
    pub network: NetworkSettings,
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
        let mut settings = IdentitySettings::new(
            tenant,
            format!("{origin}/{tenant}/v2.0"),
            vec![origin.to_string(), format!("{origin}/graph/")],
        );
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
            network: options.network,
            template_mirror: BTreeMap::from([("https://mirror.example".to_owned(), directory.path().join("mirror"))]),
        };
        let mut server = Server::new(settings.clone(), store.clone(), identity.clone(), sealer.clone(), shared);
        let runner = tokio::spawn(server.runner().unwrap());
        let planner = tokio::spawn(server.planner().unwrap());
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
            settings,
            sealer,
            runner,
            planner,
            admin_password: secrets.admin_password.expose().to_owned(),
            directory,
        };
        house.token = house.log_in(house.client_id, &house.client_secret.clone()).await;
        house
    }

    /// The server stops between any two lines, as if it had been killed.
    pub async fn kill(&mut self) {
        self.planner.abort();
        self.runner.abort();
        let _ = (&mut self.runner).await;
    }

    /// Another server over the same store.
    pub fn start_again(&mut self) {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let (store, identity) = (self.store.clone(), self.identity.clone());
        let mut server = Server::new(self.settings.clone(), store, identity, self.sealer.clone(), clock);
        self.runner = tokio::spawn(server.runner().unwrap());
        self.planner = tokio::spawn(server.planner().unwrap());
        self.router = server.router();
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
        body.extend_pairs(form);
        if !form.iter().any(|(name, _)| *name == "scope") {
            body.append_pair("scope", "https://localhost:8443/.default openid offline_access");
        }
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

    /// The bootstrap client's token for the directory.
    pub async fn directory_token(&self) -> String {
        self.log_in_to_directory(self.client_id, &self.client_secret).await
    }

    /// Signs in for the directory by client secret.
    pub async fn log_in_to_directory(&self, client_id: Uuid, secret: &str) -> String {
        let client_id = client_id.to_string();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &client_id),
            ("client_secret", secret),
            ("scope", "https://localhost:8443/graph/.default"),
        ];
        self.token("/adfs/oauth2/v2.0/token", &form).await
    }

    /// Assigns a built-in role on the subscription, straight into the store; the id of the assignment.
    pub async fn grant(&self, principal: Uuid, role: &str) -> String {
        self.grant_at(&format!("/subscriptions/{}", self.subscription), principal, role).await
    }

    /// As [`House::grant`], at another scope.
    pub async fn grant_at(&self, scope: &str, principal: Uuid, role: &str) -> String {
        let name = Uuid::new_v4();
        let above = scope.trim_end_matches('/');
        let id = format!("{above}/providers/Microsoft.Authorization/roleAssignments/{name}");
        let body = json!({
            "name": name,
            "properties": {"roleDefinitionId": role, "principalId": principal, "scope": scope},
        });
        let put = ResourcePut {
            id: id.clone(),
            type_name: "Microsoft.Authorization/roleAssignments".to_owned(),
            incarnation: name,
            listed: false,
            tags: BTreeMap::new(),
            body,
            by: "test".to_owned(),
            by_type: "Application".to_owned(),
        };
        self.change(vec![Change::PutResource(put), Change::RaiseAccessEpoch]).await;
        id
    }

    /// Takes an assignment away again.
    pub async fn revoke(&self, assignment: &str) {
        self.change(vec![Change::DeleteResource(assignment.to_lowercase()), Change::RaiseAccessEpoch]).await;
    }

    async fn change(&self, changes: Vec<Change>) {
        let write = Write { changes, ..Write::new(self.clock.now()) };
        self.store.commit(write).await.unwrap();
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
