//! A fresh identity service on a SQLite store in a temporary folder, with a clock that stands still.

use std::sync::Arc;

use bastide_arm::clock::{Clock as _, ManualClock};
use bastide_identity::{
    AuthenticationError, DirectoryObject, Flavour, Identity, NewSecret, NewServicePrincipal, NewUser, OAuthError,
    PasswordCost, Principal, Secret, ServicePrincipal, Settings, TokenAnswer, TokenEndpoint, TokenForm, User,
    UserPrincipalName,
};
use bastide_store::{AuditQuery, Location, Store};
use bastide_vault::Sealer;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

pub const TENANT: Uuid = Uuid::from_u128(0x7e_0000);
pub const ORIGIN: &str = "https://bastide.test:19643";
pub const SCOPE: &str = "https://bastide.test:19643/.default";
pub const PASSWORD: &str = "correct horse battery staple";
pub const REDIRECT: &str = "http://localhost:8400";
/// The verifier and, in [`authorize`], the challenge of the example in RFC 7636, appendix B.
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// The public client of az itself.
pub const AZ: &str = "04b07795-8ddb-461a-bbee-02f9e1bf7b46";

pub struct Fixture {
    pub identity: Identity,
    pub clock: Arc<ManualClock>,
    pub store: Store,
    pub settings: Settings,
    pub folder: TempDir,
}

impl Fixture {
    pub async fn new() -> Self {
        Self::with(settings()).await
    }

    pub async fn with(settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at("2026-11-22T12:00:00.25Z".parse().unwrap()));
        let store = Store::open(&Location::Sqlite(folder.path().join("bastide.db"))).await.unwrap();
        let sealer = Sealer::open_or_create(&folder.path().join("key")).unwrap();
        let identity = Identity::open(store.clone(), sealer, clock.clone(), settings.clone()).await.unwrap();
        Self { identity, clock, store, settings, folder }
    }

    /// Another service on the same store, as after a restart or in another replica.
    pub async fn again(&self) -> Identity {
        let sealer = Sealer::open(&self.folder.path().join("key")).unwrap();
        Identity::open(self.store.clone(), sealer, self.clock.clone(), self.settings.clone()).await.unwrap()
    }

    pub fn pass(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The newest record of the audit.
    pub async fn last_audit(&self) -> Value {
        let entries = self.store.audit(&AuditQuery { after: 0, limit: 1000 }).await.unwrap();
        entries.last().unwrap().record.clone()
    }

    pub async fn user(&self, name: &str) -> User {
        let new = NewUser {
            user_principal_name: UserPrincipalName::parse(name).unwrap(),
            display_name: name.to_owned(),
            password: Secret::new(PASSWORD),
        };
        self.identity.directory().create_user(new).await.unwrap()
    }

    pub async fn application(&self, name: &str) -> ServicePrincipal {
        let new = NewServicePrincipal { display_name: name.to_owned(), ..NewServicePrincipal::default() };
        self.identity.directory().create_service_principal(new).await.unwrap()
    }

    pub async fn application_with_secret(&self, name: &str) -> (ServicePrincipal, NewSecret) {
        let application = self.application(name).await;
        let secret = self.identity.directory().add_secret(application.object_id, "first", None).await.unwrap();
        (application, secret)
    }

    /// Signs a person in with the browser, for az: the answer with all three kinds of token.
    pub async fn sign_in(&self, user: &User) -> Value {
        let code = self.code(user, &authorize()).await;
        self.ask(&redeem(&code)).await.unwrap().to_body()
    }

    pub async fn code(&self, user: &User, authorize: &[(&str, &str)]) -> String {
        let request = self.identity.authorize_request(&TokenForm::from_pairs(authorize.iter().copied())).await.unwrap();
        let code = self.identity.issue_code(&self.principal(user).await, &request).await.unwrap();
        code.expose().to_owned()
    }

    pub async fn principal(&self, user: &User) -> Principal {
        self.identity.directory().principal(&DirectoryObject::User(user.clone())).await.unwrap()
    }

    /// An access token of a new application.
    pub async fn token(&self) -> String {
        let (application, secret) = self.application_with_secret("someone").await;
        let answer = self.ask(&client_credentials(&application, secret.secret.expose())).await.unwrap();
        answer.access_token().expose().to_owned()
    }

    pub async fn ask(&self, pairs: &[(&str, &str)]) -> Result<TokenAnswer, OAuthError> {
        self.ask_at(Flavour::Tenant, pairs).await
    }

    pub async fn ask_at(&self, flavour: Flavour, pairs: &[(&str, &str)]) -> Result<TokenAnswer, OAuthError> {
        let form = TokenForm::from_pairs(pairs.iter().copied());
        self.identity.token(&TokenEndpoint::new(flavour, ORIGIN, TENANT), &form).await
    }

    pub async fn refusal(&self, pairs: &[(&str, &str)]) -> OAuthError {
        self.ask(pairs).await.expect_err("a refusal")
    }

    pub async fn rejection(&self, token: &str) -> AuthenticationError {
        self.identity.authenticate(token).await.expect_err("a rejection")
    }
}

pub fn settings() -> Settings {
    let audiences = vec![ORIGIN.to_owned(), format!("{ORIGIN}/graph/"), "https://management.azure.com".to_owned()];
    Settings {
        password_cost: PasswordCost::for_tests(),
        ..Settings::new(TENANT, format!("{ORIGIN}/{TENANT}/v2.0"), audiences)
    }
}

pub fn client_credentials<'a>(application: &ServicePrincipal, secret: &'a str) -> Vec<(&'static str, &'a str)> {
    let client_id: &'static str = Box::leak(application.app_id.to_string().into_boxed_str());
    vec![
        ("grant_type", "client_credentials"),
        ("client_id", client_id),
        ("client_secret", secret),
        ("scope", SCOPE),
        ("client_info", "1"),
        ("claims", r#"{"access_token":{"xms_cc":{"values":["CP1"]}}}"#),
    ]
}

/// What az opens the browser with.
pub fn authorize() -> Vec<(&'static str, &'static str)> {
    vec![
        ("client_id", AZ),
        ("response_type", "code"),
        ("response_mode", "form_post"),
        ("redirect_uri", REDIRECT),
        ("scope", "https://bastide.test:19643/.default offline_access openid profile"),
        ("state", "some state"),
        ("nonce", "some nonce"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
        ("prompt", "select_account"),
    ]
}

/// What az sends when the code has come back.
pub fn redeem(code: &str) -> Vec<(&str, &str)> {
    vec![
        ("grant_type", "authorization_code"),
        ("client_id", AZ),
        ("code", code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
        ("client_info", "1"),
    ]
}

/// What az sends to carry a sign-in on.
pub fn refresh(token: &str) -> Vec<(&str, &str)> {
    vec![
        ("grant_type", "refresh_token"),
        ("client_id", AZ),
        ("refresh_token", token),
        ("scope", "https://bastide.test:19643/.default offline_access openid profile"),
        ("client_info", "1"),
    ]
}

/// The same form with one field changed, or taken away by an empty value.
pub fn but<'a>(pairs: &[(&'a str, &'a str)], name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut changed: Vec<_> = pairs.iter().copied().filter(|(other, _)| *other != name).collect();
    changed.push((name, value));
    changed
}

/// The header or payload of a token, unchecked.
pub fn part(token: &str, index: usize) -> Value {
    use base64::Engine as _;
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}
