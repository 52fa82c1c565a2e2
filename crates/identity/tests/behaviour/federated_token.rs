//! An application or managed identity is vouched for by a trusted outside issuer.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bastide_identity::{
    Identity, IdentityError, KeySource, KeySourceError, NewFederatedCredential, ServicePrincipal, Settings,
    TrustedIssuer,
};
use bastide_store::Write;
use bastide_vault::Sealer;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fixture::{Fixture, SCOPE, settings};
use crate::forge::{Signer, changed, hs256};

const ISSUER: &str = "https://kubernetes.test";
const SUBJECT: &str = "system:serviceaccount:ml:trainer";
const AUDIENCE: &str = "api://AzureADTokenExchange";

/// Answers from memory and counts how often it is asked.
#[derive(Debug, Default)]
struct LocalKeys {
    keys: Mutex<Option<Value>>,
    asked: AtomicUsize,
}

impl LocalKeys {
    fn publish(&self, keys: &[Value]) {
        *self.keys.lock().unwrap() = Some(json!({"keys": keys}));
    }

    fn vanish(&self) {
        *self.keys.lock().unwrap() = None;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl KeySource for LocalKeys {
    fn keys<'a>(
        &'a self,
        _: &'a TrustedIssuer,
    ) -> Pin<Box<dyn Future<Output = Result<Value, KeySourceError>> + Send + 'a>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let keys = self.keys.lock().unwrap().clone();
        Box::pin(async move { keys.ok_or(KeySourceError::Unreachable) })
    }
}

struct Federated {
    fixture: Fixture,
    application: ServicePrincipal,
    signer: Signer,
    source: Arc<LocalKeys>,
}

impl Federated {
    async fn new() -> Self {
        let trusted_issuers = vec![TrustedIssuer { issuer: ISSUER.into(), jwks_uri: None }];
        let mut fixture = Fixture::with(Settings { trusted_issuers, ..settings() }).await;
        let source = Arc::new(LocalKeys::default());
        let sealer = Sealer::open(&fixture.folder.path().join("key")).unwrap();
        let (store, clock, settings) = (fixture.store.clone(), fixture.clock.clone(), fixture.settings.clone());
        fixture.identity = Identity::open_with(store, sealer, clock, settings, source.clone()).await.unwrap();
        let application = fixture.application("trainer").await;
        let signer = Signer::new();
        source.publish(&[signer.jwk("one")]);
        let federated = Self { fixture, application, signer, source };
        federated.trust(federated.application.object_id).await.unwrap();
        federated
    }

    async fn trust(&self, service_principal: Uuid) -> Result<(), IdentityError> {
        let new = NewFederatedCredential {
            service_principal,
            display_name: "kubernetes".into(),
            issuer: ISSUER.into(),
            subject: SUBJECT.into(),
            audience: AUDIENCE.into(),
        };
        self.fixture.identity.directory().add_federated_credential(new).await.map(|_| ())
    }

    fn header() -> Value {
        json!({"alg": "RS256", "kid": "one"})
    }

    fn claims(&self) -> Value {
        let now = self.fixture.now().as_second();
        json!({"iss": ISSUER, "sub": SUBJECT, "aud": [AUDIENCE], "iat": now, "nbf": now, "exp": now + 3600})
    }

    async fn send(&self, token: &str) -> Result<Uuid, Vec<u32>> {
        self.send_as(self.application.app_id, token).await
    }

    async fn send_as(&self, client_id: Uuid, token: &str) -> Result<Uuid, Vec<u32>> {
        let client_id = client_id.to_string();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", client_id.as_str()),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", token),
            ("scope", SCOPE),
        ];
        let answer = self.fixture.ask(&form).await.map_err(|refusal| refusal.error_codes)?;
        Ok(self.fixture.identity.authenticate(answer.access_token().expose()).await.unwrap().object_id)
    }

    async fn with_claim(&self, name: &str, value: Value) -> Result<Uuid, Vec<u32>> {
        self.send(&self.signer.rs256(&Self::header(), &changed(&self.claims(), name, value))).await
    }
}

#[tokio::test]
async fn a_workload_exchanges_its_issuers_token_as_often_as_it_likes() {
    let federated = Federated::new().await;
    let token = federated.signer.rs256(&Federated::header(), &federated.claims());
    for _ in 0..2 {
        // The token lies in a file that is renewed once an hour.
        assert_eq!(federated.send(&token).await.unwrap(), federated.application.object_id);
    }
    federated.with_claim("aud", json!(AUDIENCE)).await.unwrap();
}

#[tokio::test]
async fn issuer_subject_and_audience_are_compared_exactly() {
    let federated = Federated::new().await;
    for (claim, value) in [
        ("sub", json!("system:serviceaccount:ml:Trainer")),
        ("sub", json!("system:serviceaccount:ml:trainer2")),
        ("sub", json!("")),
        ("aud", json!("api://AzureADTokenExchange/")),
        ("aud", json!(["other"])),
        ("aud", json!([])),
    ] {
        assert_eq!(federated.with_claim(claim, value.clone()).await, Err(vec![700_213]), "{claim}={value}");
    }
    for (claim, value) in [("sub", Value::Null), ("aud", Value::Null), ("iss", Value::Null), ("exp", Value::Null)] {
        assert_eq!(federated.with_claim(claim, value).await, Err(vec![700_027]), "without {claim}");
    }
    let slash = federated.with_claim("iss", json!(format!("{ISSUER}/"))).await;
    assert_eq!(slash, Err(vec![700_027]), "another issuer is not even asked");
    let other = federated.fixture.application("other").await;
    let token = federated.signer.rs256(&Federated::header(), &federated.claims());
    assert_eq!(federated.send_as(other.app_id, &token).await, Err(vec![700_213]), "trusted for somebody else");
}

#[tokio::test]
async fn the_outside_token_must_be_in_time_and_signed_by_the_issuer() {
    let federated = Federated::new().await;
    let now = federated.fixture.now().as_second();
    for (claim, value) in [("exp", json!(now - 61)), ("nbf", json!(now + 62)), ("iat", json!(now + 62))] {
        assert_eq!(federated.with_claim(claim, value).await, Err(vec![700_024]), "{claim}");
    }
    let (claims, header) = (federated.claims(), Federated::header());
    let stranger = Signer::new();
    for token in [
        stranger.rs256(&header, &claims),
        stranger.rs256(&changed(&header, "jwk", stranger.jwk("one")), &claims),
        federated.signer.rs256(&changed(&header, "kid", json!("two")), &claims),
        federated.signer.rs256(&changed(&header, "kid", Value::Null), &claims),
        federated.signer.ps256(&changed(&header, "alg", json!("PS256")), &claims),
        hs256(&changed(&header, "alg", json!("HS256")), &claims, &federated.signer.public_der()),
    ] {
        assert_eq!(federated.send(&token).await, Err(vec![700_027]));
    }
}

#[tokio::test]
async fn our_own_tokens_and_outside_tokens_do_not_open_the_front_door() {
    let federated = Federated::new().await;
    let outside = federated.signer.rs256(&Federated::header(), &federated.claims());
    federated.fixture.rejection(&outside).await;
    let own = federated.fixture.token().await;
    assert!(federated.send(&own).await.is_err(), "an access token is no assertion");
}

#[tokio::test]
async fn a_managed_identity_may_be_federated_and_never_gets_a_secret() {
    let federated = Federated::new().await;
    let directory = federated.fixture.identity.directory();
    let (object_id, client_id) = (Uuid::new_v4(), Uuid::new_v4());
    let id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/u";
    let changes = directory.managed_identity_changes(object_id, client_id, "u", id);
    federated.fixture.store.commit(Write { changes, ..Write::new(federated.fixture.now()) }).await.unwrap();
    federated.trust(object_id).await.unwrap();
    let token = federated.signer.rs256(&Federated::header(), &federated.claims());
    assert_eq!(federated.send_as(client_id, &token).await.unwrap(), object_id);
    assert!(directory.add_secret(object_id, "no", None).await.is_err());
    assert!(matches!(federated.trust(object_id).await, Err(IdentityError::Taken(_))), "issuer and subject are unique");
}

#[tokio::test]
async fn the_issuer_is_asked_seldom_however_many_unknown_keys_come() {
    let federated = Federated::new().await;
    let token = federated.signer.rs256(&Federated::header(), &federated.claims());
    federated.send(&token).await.unwrap();
    for number in 0..20 {
        let header = changed(&Federated::header(), "kid", json!(format!("unknown-{number}")));
        let unknown = federated.signer.rs256(&header, &federated.claims());
        assert!(federated.send(&unknown).await.is_err());
        federated.send(&token).await.unwrap();
    }
    assert_eq!(federated.source.asked(), 1);

    // A rotation is seen after a minute at the latest.
    let rotated = Signer::new();
    federated.source.publish(&[federated.signer.jwk("one"), rotated.jwk("two")]);
    let new = rotated.rs256(&json!({"alg": "RS256", "kid": "two"}), &federated.claims());
    assert!(federated.send(&new).await.is_err());
    federated.fixture.pass(60);
    federated.send(&new).await.unwrap();
    assert_eq!(federated.source.asked(), 2);
}

#[tokio::test]
async fn keys_are_believed_for_a_day_when_the_issuer_is_away_and_withdrawn_ones_for_an_hour() {
    let federated = Federated::new().await;
    let fresh = |federated: &Federated| federated.signer.rs256(&Federated::header(), &federated.claims());
    federated.send(&fresh(&federated)).await.unwrap();
    federated.source.vanish();
    federated.fixture.pass(23 * 3600);
    federated.send(&fresh(&federated)).await.unwrap();
    federated.fixture.pass(3600);
    assert!(federated.send(&fresh(&federated)).await.is_err());

    federated.fixture.pass(60);
    federated.source.publish(&[federated.signer.jwk("one")]);
    federated.send(&fresh(&federated)).await.unwrap();
    federated.source.publish(&[]);
    federated.fixture.pass(3600);
    assert!(federated.send(&fresh(&federated)).await.is_err());
}

#[tokio::test]
async fn a_key_set_that_is_no_key_set_brings_no_key() {
    let federated = Federated::new().await;
    let one = federated.signer.jwk("one");
    let many: Vec<Value> = (0..65).map(|_| one.clone()).collect();
    for keys in [
        many.as_slice(),
        &[changed(&one, "use", json!("enc"))],
        &[changed(&one, "kty", json!("EC"))],
        &[changed(&one, "alg", json!("RS512"))],
        &[changed(&one, "n", json!("AQAB"))],
        &[changed(&one, "kid", Value::Null)],
        &[json!(null), json!("x")],
    ] {
        federated.source.publish(keys);
        let token = federated.signer.rs256(&Federated::header(), &federated.claims());
        assert!(federated.send(&token).await.is_err(), "{keys:?}");
        federated.fixture.pass(60);
    }
}
