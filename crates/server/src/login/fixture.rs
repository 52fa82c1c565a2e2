//! A real token service on a store of its own, for tests of the routes.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use bastide_arm::clock::{Clock, ManualClock};
use bastide_identity::{BootstrapIds, BootstrapNames, BootstrapSecrets, Identity, PasswordCost, Settings};
use bastide_store::{AuditQuery, Change, Location, Store, Write};
use bastide_vault::Sealer;
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;
use uuid::Uuid;

use super::Login;
use crate::origin::{Origin, Origins};

pub(crate) const ORIGIN: &str = "https://localhost:8443";
pub(crate) const TENANT: Uuid = Uuid::from_u128(0x1111_2222_3333_4444_5555_6666_7777_8888);
pub(crate) const ADMIN: &str = "admin@bastide.localhost";

pub(crate) struct Fixture {
    pub(crate) identity: Identity,
    pub(crate) origins: Arc<Origins>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) ids: BootstrapIds,
    pub(crate) secrets: BootstrapSecrets,
    store: Store,
    _folder: TempDir,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Location::Sqlite(folder.path().join("bastide.db"))).await.unwrap();
        let sealer = Sealer::open_or_create(&folder.path().join("key")).unwrap();
        let clock = Arc::new(ManualClock::at("2026-11-22T06:00:00Z".parse::<Timestamp>().unwrap()));
        let audiences = [ORIGIN.to_owned(), format!("{ORIGIN}/graph"), "https://graph.microsoft.com".to_owned()];
        let mut settings = Settings::new(TENANT, format!("{ORIGIN}/{TENANT}/v2.0"), audiences.into());
        settings.password_cost = PasswordCost::for_tests();
        let identity = Identity::open(store.clone(), sealer, clock.clone(), settings).await.unwrap();
        let names = BootstrapNames { admin: ADMIN.to_owned(), client: "bootstrap".to_owned() };
        let bootstrapped = identity.bootstrap(&names).await.unwrap();
        let alias = Origin::parse("https://127.0.0.1:8443").unwrap();
        let origins = Origins::new(Origin::parse(ORIGIN).unwrap(), vec![alias], "bastide.localhost");
        let (ids, secrets) = (bootstrapped.ids, bootstrapped.secrets.unwrap());
        Self { identity, origins: Arc::new(origins), clock, ids, secrets, store, _folder: folder }
    }

    /// The routes under test.
    pub(crate) fn login(&self) -> Router {
        super::routes(Login {
            identity: self.identity.clone(),
            origins: Arc::clone(&self.origins),
            clock: self.clock.clone(),
        })
    }

    /// Writes to the store, as the front door would.
    pub(crate) async fn commit(&self, changes: Vec<Change>) {
        self.store.commit(Write { changes, ..Write::new(self.clock.now()) }).await.unwrap();
    }

    /// The newest record of the audit.
    pub(crate) async fn last_audit(&self) -> Value {
        let entries = self.store.audit(&AuditQuery { after: 0, limit: 1000 }).await.unwrap();
        entries.last().unwrap().record.clone()
    }

    /// Posts a form to a token-service path.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        send(&self.login(), form_request(path, fields)).await
    }

    /// The token answer for a client's secret.
    pub(crate) async fn client_credentials(&self, resource: &str) -> Answer {
        let client_id = self.ids.client_id.to_string();
        let scope = format!("{resource}/.default");
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", &client_id),
            ("client_secret", self.secrets.client_secret.expose()),
            ("scope", &scope),
        ];
        self.post("/adfs/oauth2/v2.0/token", &fields).await
    }

    /// An access token of the bootstrap client.
    pub(crate) async fn client_token(&self, resource: &str) -> String {
        let answer = self.client_credentials(resource).await;
        answer.json()["access_token"].as_str().unwrap_or_else(|| panic!("{}", answer.text)).to_owned()
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A form post to our own origin.
pub(crate) fn form_request(path: &str, fields: &[(&str, &str)]) -> Request<Body> {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    Request::post(path)
        .header("host", "localhost:8443")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(body))
        .unwrap()
}

/// A request without a body.
pub(crate) fn get(path: &str) -> Request<Body> {
    Request::builder().method(Method::GET).uri(path).header("host", "localhost:8443").body(Body::empty()).unwrap()
}

pub(crate) async fn send(router: &Router, request: Request<Body>) -> Answer {
    let (head, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    Answer { status: head.status, headers: head.headers, text }
}
