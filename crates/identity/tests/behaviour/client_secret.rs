//! An application proves itself with a secret.

use bastide_identity::{BootstrapNames, Flavour, PrincipalKind, TokenEndpoint, TokenForm};
use jiff::SignedDuration;
use uuid::Uuid;

use crate::fixture::{Fixture, ORIGIN, TENANT, but, client_credentials, part};

#[tokio::test]
async fn an_application_with_its_secret_gets_a_token_that_is_believed() {
    let fixture = Fixture::new().await;
    let (application, secret) = fixture.application_with_secret("ci").await;
    for flavour in [Flavour::Adfs, Flavour::Tenant] {
        let form = client_credentials(&application, secret.secret.expose());
        let answer = fixture.ask_at(flavour, &form).await.unwrap();
        let body = answer.to_body();
        assert_eq!((body["token_type"].as_str(), body["expires_in"].as_i64()), (Some("Bearer"), Some(3600)));
        assert!(body.get("refresh_token").is_none() && body.get("id_token").is_none());

        let principal = fixture.identity.authenticate(answer.access_token().expose()).await.unwrap();
        assert_eq!(principal.object_id, application.object_id);
        assert_eq!(principal.app_id, Some(application.app_id));
        assert_eq!((principal.kind, principal.tenant_id), (PrincipalKind::ServicePrincipal, TENANT));
    }
}

#[tokio::test]
async fn the_token_says_what_clients_read_in_it() {
    let fixture = Fixture::new().await;
    let (application, secret) = fixture.application_with_secret("ci").await;
    let form = client_credentials(&application, secret.secret.expose());
    let answer = fixture.ask_at(Flavour::Adfs, &form).await.unwrap();
    let token = answer.access_token().expose();
    let (header, claims) = (part(token, 0), part(token, 1));
    assert_eq!((header["alg"].as_str(), header["typ"].as_str()), (Some("RS256"), Some("at+jwt")));
    assert_eq!(claims["iss"], format!("{ORIGIN}/{TENANT}/v2.0"), "one issuer, whichever flavour was asked");
    assert_eq!(claims["aud"], ORIGIN);
    assert_eq!(claims["tid"], TENANT.to_string());
    for (claim, id) in [
        ("oid", application.object_id),
        ("sub", application.object_id),
        ("appid", application.app_id),
        ("azp", application.app_id),
    ] {
        assert_eq!(claims[claim], id.to_string(), "{claim}");
    }
    assert_eq!(claims["idtyp"], "app");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
    assert_eq!(claims["iat"], fixture.now().as_second());
    for claim in ["nbf", "ver", "jti", "uti"] {
        assert!(!claims[claim].is_null(), "{claim}");
    }
}

#[tokio::test]
async fn the_audience_is_the_resource_as_it_was_spelt() {
    let fixture = Fixture::new().await;
    let (application, secret) = fixture.application_with_secret("ci").await;
    let form = client_credentials(&application, secret.secret.expose());
    for (scope, audience) in [
        ("https://bastide.test:19643/.default", "https://bastide.test:19643"),
        ("https://bastide.test:19643//.default", "https://bastide.test:19643/"),
        ("https://bastide.test:19643/graph//.default", "https://bastide.test:19643/graph/"),
        ("https://management.azure.com/.default offline_access openid profile", "https://management.azure.com"),
    ] {
        let answer = fixture.ask(&but(&form, "scope", scope)).await.unwrap();
        assert_eq!(part(answer.access_token().expose(), 1)["aud"], audience);
        fixture.identity.authenticate(answer.access_token().expose()).await.unwrap();
    }
    let v1 = but(&but(&form, "scope", ""), "resource", "https://management.azure.com/");
    let answer = fixture.ask(&v1).await.unwrap();
    assert_eq!(part(answer.access_token().expose(), 1)["aud"], "https://management.azure.com/");
}

#[tokio::test]
async fn a_wrong_secret_gets_the_answer_az_explains_well() {
    let fixture = Fixture::new().await;
    let (application, secret) = fixture.application_with_secret("ci").await;
    let (other, other_secret) = fixture.application_with_secret("other").await;
    let key_id = secret.credential.key_id.to_string();
    for wrong in ["wrong", key_id.as_str(), other_secret.secret.expose()] {
        let refusal = fixture.refusal(&client_credentials(&application, wrong)).await;
        assert_eq!((refusal.status, refusal.error), (401, "invalid_client"));
        assert_eq!(refusal.error_codes, [7_000_215]);
        assert!(refusal.error_description.starts_with("AADSTS7000215: Invalid client secret"));
        assert!(!refusal.error_description.contains(wrong), "secrets are not echoed");
    }
    let refusal = fixture.refusal(&client_credentials(&other, secret.secret.expose())).await;
    assert_eq!(refusal.error_codes, [7_000_215]);
}

#[tokio::test]
async fn an_error_answer_has_every_field_clients_look_for() {
    let fixture = Fixture::new().await;
    let correlation_id = Uuid::from_u128(5);
    let form = TokenForm::from_pairs([("grant_type", "magic")]).with_correlation_id(correlation_id);
    let endpoint = TokenEndpoint::new(Flavour::Tenant, ORIGIN, TENANT);
    let body = fixture.identity.token(&endpoint, &form).await.unwrap_err().to_body();
    assert_eq!(body["error"], "unsupported_grant_type");
    assert_eq!(body["error_codes"][0], 70_003);
    assert_eq!(body["timestamp"], "2026-11-22 12:00:00Z");
    assert_eq!(body["correlation_id"], correlation_id.to_string());
    assert!(Uuid::parse_str(body["trace_id"].as_str().unwrap()).is_ok());
    assert!(body["error_description"].as_str().unwrap().contains("AADSTS70003: "));
}

#[tokio::test]
async fn several_secrets_work_side_by_side_each_until_its_end() {
    let fixture = Fixture::new().await;
    let directory = fixture.identity.directory();
    let (application, first) = fixture.application_with_secret("ci").await;
    let end = fixture.now() + SignedDuration::from_secs(100);
    let second = directory.add_secret(application.object_id, "second", Some(end)).await.unwrap();
    let (first_form, second_form) = (
        client_credentials(&application, first.secret.expose()),
        client_credentials(&application, second.secret.expose()),
    );
    fixture.ask(&first_form).await.unwrap();
    fixture.ask(&second_form).await.unwrap();

    fixture.pass(100);
    fixture.ask(&first_form).await.unwrap();
    assert_eq!(fixture.refusal(&second_form).await.error_codes, [7_000_222], "expired");

    directory.remove_credential(application.object_id, first.credential.key_id).await.unwrap();
    assert_eq!(fixture.refusal(&first_form).await.error_codes, [7_000_215], "removed");
}

#[tokio::test]
async fn an_unknown_or_disabled_application_is_named_as_such() {
    let fixture = Fixture::new().await;
    let (application, secret) = fixture.application_with_secret("ci").await;
    let form = client_credentials(&application, secret.secret.expose());
    for client_id in ["11111111-1111-1111-1111-111111111111", "not-a-guid"] {
        let refusal = fixture.refusal(&but(&form, "client_id", client_id)).await;
        assert_eq!((refusal.status, refusal.error_codes), (401, vec![700_016]), "{client_id}");
    }
    fixture.identity.directory().set_enabled(application.object_id, false).await.unwrap();
    assert_eq!(fixture.refusal(&form).await.error_codes, [700_016]);
}

#[tokio::test]
async fn a_request_without_what_it_needs_says_what_is_missing() {
    let fixture = Fixture::new().await;
    let (application, secret) = fixture.application_with_secret("ci").await;
    let form = client_credentials(&application, secret.secret.expose());
    for (missing, number) in
        [("grant_type", 900_144), ("client_id", 900_144), ("scope", 900_144), ("client_secret", 7_000_218)]
    {
        let refusal = fixture.refusal(&but(&form, missing, "")).await;
        assert_eq!(refusal.error_codes, [number], "{missing}");
        assert!(refusal.error_description.contains(missing));
    }
}

#[tokio::test]
async fn an_unknown_resource_and_mixed_resources_are_refused() {
    let fixture = Fixture::new().await;
    let (application, secret) = fixture.application_with_secret("ci").await;
    let form = client_credentials(&application, secret.secret.expose());
    for (scope, number) in [
        ("https://elsewhere.test/.default", 500_011),
        ("https://bastide.test:19643/.default https://management.azure.com/.default", 28_000),
        ("openid", 1_002_012),
    ] {
        assert_eq!(fixture.refusal(&but(&form, "scope", scope)).await.error_codes, [number], "{scope}");
    }
}

#[tokio::test]
async fn a_repeated_or_oversize_parameter_is_refused() {
    let fixture = Fixture::new().await;
    let (application, secret) = fixture.application_with_secret("ci").await;
    let form = client_credentials(&application, secret.secret.expose());
    let mut repeated = form.clone();
    repeated.push(("scope", "https://management.azure.com/.default"));
    assert_eq!(fixture.refusal(&repeated).await.error, "invalid_request");
    let long = "x".repeat(16 * 1024 + 1);
    assert_eq!(fixture.refusal(&but(&form, "claims", &long)).await.error, "invalid_request");
    assert_eq!(fixture.refusal(&but(&form, "claims", "a\0b")).await.error, "invalid_request");
    let mut many = form.clone();
    let names: Vec<String> = (0..64).map(|number| format!("field{number}")).collect();
    many.extend(names.iter().map(|name| (name.as_str(), "x")));
    assert_eq!(fixture.refusal(&many).await.error, "invalid_request");
}

#[tokio::test]
async fn the_secret_may_come_in_a_basic_header() {
    use base64::Engine as _;
    let fixture = Fixture::new().await;
    let (application, secret) = fixture.application_with_secret("ci").await;
    let joined = format!("{}:{}", application.app_id, secret.secret.expose());
    let header = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(joined));
    let form = TokenForm::parse(b"grant_type=client_credentials&scope=https%3A%2F%2Fmanagement.azure.com%2F.default");
    let endpoint = TokenEndpoint::new(Flavour::Tenant, ORIGIN, TENANT);
    fixture.identity.token(&endpoint, &form.clone().with_authorization(&header)).await.unwrap();
    for header in ["Basic !!!", "Bearer x", "Basic"] {
        fixture.identity.token(&endpoint, &form.clone().with_authorization(header)).await.unwrap_err();
    }
}

#[tokio::test]
async fn the_first_start_makes_an_admin_and_a_client_and_later_starts_change_nothing() {
    let fixture = Fixture::new().await;
    let names = BootstrapNames { admin: "admin@bastide.localhost".into(), client: "bootstrap".into() };
    let first = fixture.identity.bootstrap(&names).await.unwrap();
    let secrets = first.secrets.unwrap();
    let client_id = first.ids.client_id.to_string();
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", client_id.as_str()),
        ("client_secret", secrets.client_secret.expose()),
        ("scope", "https://management.azure.com/.default"),
    ];
    let answer = fixture.ask(&form).await.unwrap();
    let principal = fixture.identity.authenticate(answer.access_token().expose()).await.unwrap();
    assert_eq!(principal.object_id, first.ids.client_object_id);

    let second = fixture.again().await.bootstrap(&names).await.unwrap();
    assert_eq!(second.ids, first.ids);
    assert!(second.secrets.is_none(), "secrets are shown once");

    let renewed = fixture.identity.renew_bootstrap_secrets().await.unwrap();
    fixture.ask(&but(&form, "client_secret", renewed.client_secret.expose())).await.unwrap();
}
