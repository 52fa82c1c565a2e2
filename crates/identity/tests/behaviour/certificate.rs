//! An application proves itself with a statement signed by its certificate's key.

use bastide_identity::{Flavour, NewCertificate, ServicePrincipal};
use jiff::SignedDuration;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fixture::{Fixture, ORIGIN, SCOPE, TENANT, but};
use crate::forge::{Signer, changed, hs256, sha1, sha256, unsigned};

const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

struct Certified {
    fixture: Fixture,
    application: ServicePrincipal,
    signer: Signer,
    certificate: Vec<u8>,
}

impl Certified {
    async fn new() -> Self {
        let fixture = Fixture::new().await;
        let application = fixture.application("ci").await;
        let signer = Signer::new();
        let certificate = signer.certificate(2027);
        let certified = Self { fixture, application, signer, certificate };
        certified.register(&certified.certificate, None).await.unwrap();
        certified
    }

    async fn register(
        &self,
        der: &[u8],
        expires: Option<jiff::Timestamp>,
    ) -> Result<Uuid, bastide_identity::IdentityError> {
        let new = NewCertificate { service_principal: self.application.object_id, display_name: "c", der, expires };
        self.fixture.identity.directory().add_certificate(new).await.map(|credential| credential.key_id)
    }

    /// What MSAL for Python sends to the adfs flavour.
    fn header(&self) -> Value {
        json!({"alg": "RS256", "typ": "JWT", "x5t": sha1(&self.certificate)})
    }

    /// The times are floats, as MSAL for Python writes them.
    fn claims(&self) -> Value {
        let now = self.fixture.now().as_second();
        let (now, end) = (format!("{now}.2694829"), format!("{}.2694829", now + 600));
        json!({
            "aud": format!("{ORIGIN}/{TENANT}/oauth2/v2.0/token"),
            "iss": self.application.app_id, "sub": self.application.app_id, "jti": Uuid::new_v4(),
            "iat": serde_json::from_str::<Value>(&now).unwrap(), "exp": serde_json::from_str::<Value>(&end).unwrap(),
        })
    }

    async fn send(&self, assertion: &str) -> Result<(), Vec<u32>> {
        self.send_for(assertion, SCOPE).await
    }

    async fn send_for(&self, assertion: &str, scope: &str) -> Result<(), Vec<u32>> {
        let client_id = self.application.app_id.to_string();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", client_id.as_str()),
            ("client_assertion_type", ASSERTION),
            ("client_assertion", assertion),
            ("scope", scope),
        ];
        match self.fixture.ask(&form).await {
            Ok(answer) => {
                let principal = self.fixture.identity.authenticate(answer.access_token().expose()).await.unwrap();
                assert_eq!(principal.object_id, self.application.object_id);
                Ok(())
            }
            Err(refusal) => {
                assert_eq!((refusal.status, refusal.error), (401, "invalid_client"), "{refusal}");
                Err(refusal.error_codes)
            }
        }
    }

    async fn with_claim(&self, name: &str, value: Value) -> Result<(), Vec<u32>> {
        self.send(&self.signer.rs256(&self.header(), &changed(&self.claims(), name, value))).await
    }
}

fn refused(result: &Result<(), Vec<u32>>, number: u32) -> bool {
    result.as_ref().is_err_and(|numbers| *numbers == [number])
}

#[tokio::test]
async fn a_certificate_buys_a_token_with_either_thumbprint_and_either_signature() {
    let certified = Certified::new().await;
    let (x5t, x5t_s256) = (sha1(&certified.certificate), sha256(&certified.certificate));
    certified.send(&certified.signer.rs256(&certified.header(), &certified.claims())).await.unwrap();
    let padded = json!({"alg": "RS256", "x5t": format!("{x5t}=")});
    certified.send(&certified.signer.rs256(&padded, &certified.claims())).await.unwrap();
    let modern = json!({"alg": "PS256", "x5t#S256": x5t_s256});
    certified.send(&certified.signer.ps256(&modern, &certified.claims())).await.unwrap();
}

#[tokio::test]
async fn the_audience_is_exactly_the_token_endpoint_that_was_asked() {
    let certified = Certified::new().await;
    for audience in [
        format!("{ORIGIN}/adfs/oauth2/v2.0/token"),
        format!("{ORIGIN}/{TENANT}/v2.0"),
        format!("{ORIGIN}/{TENANT}/oauth2/v2.0/token/"),
        ORIGIN.to_owned(),
    ] {
        assert!(refused(&certified.with_claim("aud", json!(audience)).await, 700_027), "{audience}");
    }
    assert!(refused(&certified.with_claim("aud", Value::Null).await, 700_027));
    certified.with_claim("aud", json!([format!("{ORIGIN}/{TENANT}/oauth2/v2.0/token")])).await.unwrap();

    let adfs = changed(&certified.claims(), "aud", json!(format!("{ORIGIN}/adfs/oauth2/v2.0/token")));
    let assertion = certified.signer.rs256(&certified.header(), &adfs);
    let client_id = certified.application.app_id.to_string();
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", client_id.as_str()),
        ("client_assertion_type", ASSERTION),
        ("client_assertion", assertion.as_str()),
        ("scope", SCOPE),
    ];
    let wrong_type = but(&form, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer");
    assert!(certified.fixture.ask_at(Flavour::Adfs, &wrong_type).await.is_err());
    certified.fixture.ask_at(Flavour::Adfs, &form).await.unwrap();
}

#[tokio::test]
async fn issuer_and_subject_are_the_client() {
    let certified = Certified::new().await;
    for claim in ["iss", "sub"] {
        assert!(refused(&certified.with_claim(claim, json!(Uuid::from_u128(1))).await, 700_027), "{claim}");
        assert!(refused(&certified.with_claim(claim, Value::Null).await, 700_027), "{claim}");
    }
}

#[tokio::test]
async fn an_assertion_works_once_for_a_resource() {
    let certified = Certified::new().await;
    let assertion = certified.signer.rs256(&certified.header(), &certified.claims());
    certified.send(&assertion).await.unwrap();
    assert!(refused(&certified.send(&assertion).await, 700_027));
    // MSAL sends the assertion it still holds for the next resource.
    certified.send_for(&assertion, "https://management.azure.com/.default").await.unwrap();
    assert!(refused(&certified.with_claim("jti", Value::Null).await, 700_027), "without jti it could be replayed");
    certified.fixture.pass(700);
    assert!(refused(&certified.send(&assertion).await, 700_024), "and later it is too old");
}

#[tokio::test]
async fn an_assertion_counts_in_its_time_only() {
    let certified = Certified::new().await;
    let now = certified.fixture.now().as_second();
    for (claim, value) in [
        ("exp", json!(now - 61)),
        ("exp", json!(1.7e9)),
        ("exp", json!(now + 2 * 24 * 3600)),
        ("exp", json!(1e300)),
        ("iat", json!(now + 62)),
        ("nbf", json!(4e9)),
    ] {
        assert!(refused(&certified.with_claim(claim, value.clone()).await, 700_024), "{claim}={value}");
    }
    for value in [Value::Null, json!("tomorrow"), json!([])] {
        assert!(refused(&certified.with_claim("exp", value).await, 700_027));
    }
    certified.with_claim("exp", json!(now + 1)).await.unwrap();
    certified.with_claim("nbf", json!(now)).await.unwrap();
}

#[tokio::test]
async fn only_the_key_of_a_registered_certificate_signs() {
    let certified = Certified::new().await;
    let (header, claims) = (certified.header(), certified.claims());
    let stranger = Signer::new();
    assert!(refused(&certified.send(&stranger.rs256(&header, &claims)).await, 700_027));
    let own = json!({"alg": "RS256", "x5t": sha1(&stranger.certificate(2027)), "x5c": [], "jwk": stranger.jwk("x")});
    assert!(certified.send(&stranger.rs256(&own, &claims)).await.is_err());
    for x5t in ["", "AAAA"] {
        let header = changed(&header, "x5t", json!(x5t));
        assert!(refused(&certified.send(&certified.signer.rs256(&header, &claims)).await, 700_027), "{x5t}");
    }
    // One thumbprint right, the other wrong: the stronger one counts.
    let both = changed(&header, "x5t#S256", json!(sha256(b"another")));
    assert!(refused(&certified.send(&certified.signer.rs256(&both, &claims)).await, 700_027));
}

#[tokio::test]
async fn no_other_algorithm_counts() {
    let certified = Certified::new().await;
    let claims = certified.claims();
    let with = |algorithm: &str| changed(&certified.header(), "alg", json!(algorithm));
    for assertion in [
        unsigned(&with("none"), &claims),
        unsigned(&with("RS256"), &claims),
        hs256(&with("HS256"), &claims, &certified.signer.public_der()),
        hs256(&with("HS256"), &claims, &certified.certificate),
        certified.signer.rs256(&with("RS512"), &claims),
        certified.signer.rs256(&with("PS256"), &claims),
        certified.signer.rs256(&changed(&certified.header(), "crit", json!(["b64"])), &claims),
        "nonsense".to_owned(),
    ] {
        assert!(certified.send(&assertion).await.is_err(), "{assertion}");
    }
}

#[tokio::test]
async fn a_certificate_past_its_end_or_removed_is_worth_nothing() {
    let certified = Certified::new().await;
    let directory = certified.fixture.identity.directory();
    let key_id = directory.credentials(certified.application.object_id).await.unwrap()[0].key_id;
    certified.fixture.pass(2 * 365 * 24 * 3600);
    let assertion = certified.signer.rs256(&certified.header(), &certified.claims());
    assert!(refused(&certified.send(&assertion).await, 700_027));
    directory.remove_credential(certified.application.object_id, key_id).await.unwrap();
    assert!(refused(&certified.send(&assertion).await, 700_027));

    let soon = certified.fixture.now() + SignedDuration::from_secs(10);
    certified.register(&certified.certificate, Some(soon)).await.unwrap();
    assert!(certified.send(&assertion).await.is_err(), "its own end is the earlier one");
}

#[tokio::test]
async fn only_a_certificate_with_a_strong_rsa_key_is_taken_in() {
    let certified = Certified::new().await;
    let ec = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(vec!["client".to_owned()]).unwrap();
    let ec = parameters.self_signed(&ec).unwrap().der().to_vec();
    let mut trailing = certified.certificate.clone();
    trailing.push(0);
    for bad in [ec.as_slice(), &trailing, b"", b"-----BEGIN CERTIFICATE-----"] {
        assert!(certified.register(bad, None).await.is_err());
    }
}
