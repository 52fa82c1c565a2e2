//! Which access tokens are believed. Every rule has a token that breaks only this rule, signed with the service's own
//! key where that is possible, so that removing the rule lets it in.

use bastide_identity::AuthenticationError;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fixture::{Fixture, ORIGIN, but, client_credentials, part};
use crate::forge::{Signer, changed, hs256, unsigned};

struct Forgery {
    fixture: Fixture,
    signer: Signer,
    header: Value,
    claims: Value,
}

impl Forgery {
    async fn new() -> Self {
        let fixture = Fixture::new().await;
        let token = fixture.token().await;
        let signer = Signer::stolen(&fixture).await;
        Self { fixture, signer, header: part(&token, 0), claims: part(&token, 1) }
    }

    async fn with_claim(&self, name: &str, value: Value) -> Result<Uuid, AuthenticationError> {
        self.try_token(&self.signer.rs256(&self.header, &changed(&self.claims, name, value))).await
    }

    async fn with_header(&self, name: &str, value: Value) -> Result<Uuid, AuthenticationError> {
        self.try_token(&self.signer.rs256(&changed(&self.header, name, value), &self.claims)).await
    }

    async fn try_token(&self, token: &str) -> Result<Uuid, AuthenticationError> {
        self.fixture.identity.authenticate(token).await.map(|principal| principal.object_id)
    }
}

macro_rules! assert_refused {
    ($result:expr, $pattern:pat) => {
        let result = $result;
        assert!(matches!(result, Err($pattern)), "{result:?}");
    };
}

#[tokio::test]
async fn a_forgery_that_breaks_no_rule_is_believed() {
    // What makes the other tests mean something.
    let forgery = Forgery::new().await;
    assert_eq!(forgery.with_claim("extra", json!(1)).await.unwrap().to_string(), forgery.claims["oid"]);
}

#[tokio::test]
async fn only_rs256_counts() {
    use AuthenticationError::{Malformed, WrongAlgorithm};
    let forgery = Forgery::new().await;
    let with = |algorithm: &str| changed(&forgery.header, "alg", json!(algorithm));
    assert_refused!(forgery.try_token(&unsigned(&with("none"), &forgery.claims)).await, Malformed);
    assert_refused!(
        forgery.try_token(&unsigned(&with("RS256"), &forgery.claims)).await,
        AuthenticationError::BadSignature
    );
    let ps256 = forgery.signer.ps256(&with("PS256"), &forgery.claims);
    assert_refused!(forgery.try_token(&ps256).await, WrongAlgorithm);

    let public = forgery.signer.public_der();
    let modulus = forgery.fixture.identity.jwks().await.unwrap()["keys"][0]["n"].as_str().unwrap().to_owned();
    for secret in [public.as_slice(), modulus.as_bytes(), b""] {
        assert_refused!(forgery.try_token(&hs256(&with("HS256"), &forgery.claims, secret)).await, WrongAlgorithm);
        let disguised = hs256(&with("RS256"), &forgery.claims, secret);
        assert_refused!(forgery.try_token(&disguised).await, AuthenticationError::BadSignature);
    }
}

#[tokio::test]
async fn the_key_is_found_by_its_id_alone() {
    use AuthenticationError::UnknownKey;
    let forgery = Forgery::new().await;
    assert_refused!(forgery.with_header("kid", Value::Null).await, UnknownKey);
    assert_refused!(forgery.with_header("kid", json!("another")).await, UnknownKey);

    // A key of the attacker's own, offered in every way a header can offer one.
    let own = Signer::new();
    let mut header = forgery.header.clone();
    for (name, value) in [
        ("jwk", own.jwk("own")),
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("https://evil.example/certificate")),
    ] {
        header = changed(&header, name, value);
    }
    assert_refused!(forgery.try_token(&own.rs256(&header, &forgery.claims)).await, AuthenticationError::BadSignature);
    let unknown = changed(&header, "kid", json!("own"));
    assert_refused!(forgery.try_token(&own.rs256(&unknown, &forgery.claims)).await, UnknownKey);
}

#[tokio::test]
async fn the_audience_must_be_one_of_ours() {
    let forgery = Forgery::new().await;
    assert!(forgery.with_claim("aud", Value::Null).await.is_err(), "a token without one is for nobody, not for all");
    assert_refused!(forgery.with_claim("aud", json!("https://evil.example")).await, AuthenticationError::WrongAudience);
    assert_refused!(forgery.with_claim("aud", json!("")).await, AuthenticationError::WrongAudience);
    assert!(forgery.with_claim("aud", json!([ORIGIN])).await.is_err(), "several audiences are nobody's");
    forgery.with_claim("aud", json!(format!("{ORIGIN}/"))).await.unwrap();
}

#[tokio::test]
async fn a_token_for_one_service_does_not_work_at_another() {
    let fixture = Fixture::new().await;
    let (application, secret) = fixture.application_with_secret("ci").await;
    let form = client_credentials(&application, secret.secret.expose());
    let answer = fixture.ask(&but(&form, "scope", &format!("{ORIGIN}/graph//.default"))).await.unwrap();
    let token = answer.access_token().expose();
    fixture.identity.authenticate_for(token, &[format!("{ORIGIN}/graph")]).await.unwrap();
    assert_refused!(
        fixture.identity.authenticate_for(token, &[ORIGIN.to_owned()]).await,
        AuthenticationError::WrongAudience
    );
}

#[tokio::test]
async fn the_issuer_and_the_tenant_must_be_ours() {
    let forgery = Forgery::new().await;
    assert!(forgery.with_claim("iss", Value::Null).await.is_err());
    assert_refused!(forgery.with_claim("iss", json!(format!("{ORIGIN}/adfs"))).await, AuthenticationError::WrongIssuer);
    let slashed = format!("{}/", forgery.claims["iss"].as_str().unwrap());
    assert_refused!(forgery.with_claim("iss", json!(slashed)).await, AuthenticationError::WrongIssuer);
    assert!(forgery.with_claim("tid", Value::Null).await.is_err());
    assert_refused!(forgery.with_claim("tid", json!(Uuid::from_u128(9))).await, AuthenticationError::WrongTenant);
}

#[tokio::test]
async fn a_token_counts_from_its_beginning_to_its_end_give_or_take_a_minute() {
    use AuthenticationError::{Expired, NotYetValid};
    let forgery = Forgery::new().await;
    let now = forgery.fixture.now().as_second();
    for claim in ["exp", "nbf", "iat"] {
        assert!(forgery.with_claim(claim, Value::Null).await.is_err(), "{claim} is demanded");
        assert!(forgery.with_claim(claim, json!("soon")).await.is_err(), "{claim} is a number");
    }
    forgery.with_claim("exp", json!(now - 59)).await.unwrap();
    assert_refused!(forgery.with_claim("exp", json!(now - 60)).await, Expired);
    assert_refused!(forgery.with_claim("exp", json!(0)).await, Expired);
    forgery.with_claim("nbf", json!(now + 60)).await.unwrap();
    assert_refused!(forgery.with_claim("nbf", json!(now + 61)).await, NotYetValid);
    assert_refused!(forgery.with_claim("iat", json!(now + 61)).await, NotYetValid);
    assert!(forgery.with_claim("exp", json!(now + 3601)).await.is_err(), "no token lives longer than an hour");
    assert!(forgery.with_claim("exp", json!(i64::MAX)).await.is_err());
}

#[tokio::test]
async fn an_honest_token_ends_after_an_hour() {
    let fixture = Fixture::new().await;
    let token = fixture.token().await;
    fixture.pass(3600);
    fixture.identity.authenticate(&token).await.unwrap();
    fixture.pass(60);
    assert_refused!(fixture.identity.authenticate(&token).await, AuthenticationError::Expired);
}

#[tokio::test]
async fn an_id_token_is_no_access_token() {
    let fixture = Fixture::new().await;
    let user = fixture.user("mei@bastide.test").await;
    let answer = fixture.sign_in(&user).await;
    let id_token = answer["id_token"].as_str().unwrap();
    assert_refused!(fixture.identity.authenticate(id_token).await, AuthenticationError::WrongType);

    // Nor would one with the right audience be.
    let forgery = Forgery::new().await;
    for typ in [json!("JWT"), json!("AT+JWT "), Value::Null] {
        assert_refused!(forgery.with_header("typ", typ).await, AuthenticationError::WrongType);
    }
    assert!(forgery.with_header("crit", json!(["exp"])).await.is_err(), "critical headers are not understood");
}

#[tokio::test]
async fn a_token_longer_than_sixteen_kibibytes_is_not_even_read() {
    let forgery = Forgery::new().await;
    let padded = |length: usize| {
        let claims = changed(&forgery.claims, "pad", json!("x".repeat(length)));
        forgery.signer.rs256(&forgery.header, &claims)
    };
    let short = padded(11_000);
    assert!(short.len() > 15_000 && short.len() <= 16 * 1024);
    forgery.try_token(&short).await.unwrap();
    assert_refused!(forgery.try_token(&padded(12_000)).await, AuthenticationError::TooLong);
}

#[tokio::test]
async fn an_unknown_object_is_nobody() {
    let forgery = Forgery::new().await;
    assert!(forgery.with_claim("oid", Value::Null).await.is_err());
    let unknown = forgery.with_claim("oid", json!(Uuid::from_u128(1))).await;
    assert_refused!(unknown, AuthenticationError::Revoked);
    let group = forgery.fixture.identity.directory().create_group("g").await.unwrap();
    let of_a_group = forgery.with_claim("oid", json!(group.object_id)).await;
    assert_refused!(of_a_group, AuthenticationError::Revoked);
}

#[tokio::test]
async fn disabling_counts_from_the_next_request_on() {
    let fixture = Fixture::new().await;
    let token = fixture.token().await;
    let principal = fixture.identity.authenticate(&token).await.unwrap();
    fixture.identity.directory().set_enabled(principal.object_id, false).await.unwrap();
    assert_refused!(fixture.identity.authenticate(&token).await, AuthenticationError::Revoked);
    fixture.identity.directory().set_enabled(principal.object_id, true).await.unwrap();
    assert_refused!(fixture.identity.authenticate(&token).await, AuthenticationError::Revoked);
}

#[tokio::test]
async fn deleting_counts_from_the_next_request_on() {
    let fixture = Fixture::new().await;
    let token = fixture.token().await;
    let principal = fixture.identity.authenticate(&token).await.unwrap();
    fixture.identity.directory().delete(principal.object_id).await.unwrap();
    assert_refused!(fixture.identity.authenticate(&token).await, AuthenticationError::Revoked);
}

#[tokio::test]
async fn revoking_ends_what_was_issued_before_and_nothing_after() {
    let fixture = Fixture::new().await;
    let (application, secret) = fixture.application_with_secret("ci").await;
    let form = client_credentials(&application, secret.secret.expose());
    let before = fixture.ask(&form).await.unwrap();
    fixture.identity.directory().revoke_sessions(application.object_id).await.unwrap();
    // All within one second.
    let after = fixture.ask(&form).await.unwrap();
    assert_refused!(fixture.identity.authenticate(before.access_token().expose()).await, AuthenticationError::Revoked);
    fixture.identity.authenticate(after.access_token().expose()).await.unwrap();
}

#[tokio::test]
async fn groups_are_those_of_the_moment() {
    let fixture = Fixture::new().await;
    let directory = fixture.identity.directory();
    let token = fixture.token().await;
    let principal = fixture.identity.authenticate(&token).await.unwrap();
    assert!(principal.groups.is_empty());
    let group = directory.create_group("readers").await.unwrap();
    directory.add_member(group.object_id, principal.object_id).await.unwrap();
    assert_eq!(fixture.identity.authenticate(&token).await.unwrap().groups, [group.object_id]);
    directory.remove_member(group.object_id, principal.object_id).await.unwrap();
    assert!(fixture.identity.authenticate(&token).await.unwrap().groups.is_empty());
}

#[tokio::test]
async fn another_bastides_token_is_worth_nothing_here() {
    let (ours, theirs) = (Fixture::new().await, Fixture::new().await);
    assert_refused!(ours.identity.authenticate(&theirs.token().await).await, AuthenticationError::UnknownKey);
}

#[tokio::test]
async fn noise_is_refused() {
    let fixture = Fixture::new().await;
    let token = fixture.token().await;
    let (message, _) = token.rsplit_once('.').unwrap();
    for noise in ["", ".", "..", "...", "a.b.c", message, &format!("{token}.x"), &format!(" {token}"), "\u{0}"] {
        let error = fixture.rejection(noise).await;
        assert_eq!((error.status(), error.code()), (401, "InvalidAuthenticationToken"), "{noise}");
    }
}

#[tokio::test]
async fn errors_carry_the_codes_arm_clients_know() {
    let forgery = Forgery::new().await;
    let now = forgery.fixture.now().as_second();
    for (claim, value, code) in [
        ("exp", json!(now - 100), "ExpiredAuthenticationToken"),
        ("tid", json!(Uuid::nil()), "InvalidAuthenticationTokenTenant"),
        ("aud", json!("x"), "InvalidAuthenticationTokenAudience"),
    ] {
        assert_eq!(forgery.with_claim(claim, value).await.unwrap_err().code(), code);
    }
}
