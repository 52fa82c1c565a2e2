//! A person signs in with the browser.

use base64::Engine as _;
use bastide_identity::{AuthorizeError, Flavour, PrincipalKind, ResponseMode, TokenForm};
use serde_json::{Value, json};

use crate::fixture::{AZ, Fixture, ORIGIN, REDIRECT, TENANT, authorize, but, part, redeem, refresh};

#[tokio::test]
async fn the_code_turns_into_everything_az_needs() {
    let fixture = Fixture::new().await;
    let user = fixture.user("Mei@bastide.test").await;
    let code = fixture.code(&user, &authorize()).await;
    let answer = fixture.ask(&redeem(&code)).await.unwrap().to_body();

    assert_eq!(answer["expires_in"], 3600);
    assert!(answer["scope"].as_str().unwrap().contains("https://bastide.test:19643/.default"));
    let info =
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(answer["client_info"].as_str().unwrap()).unwrap();
    let info: Value = serde_json::from_slice(&info).unwrap();
    assert_eq!(info, json!({"uid": user.object_id, "utid": TENANT}));

    let id_token = part(answer["id_token"].as_str().unwrap(), 1);
    for (claim, value) in [
        ("aud", json!(AZ)),
        ("nonce", json!("some nonce")),
        ("iss", json!(format!("{ORIGIN}/{TENANT}/v2.0"))),
        ("preferred_username", json!("Mei@bastide.test")),
        ("upn", json!("Mei@bastide.test")),
        ("tid", json!(TENANT)),
        ("oid", json!(user.object_id)),
        ("sub", json!(user.object_id)),
    ] {
        assert_eq!(id_token[claim], value, "{claim}");
    }

    let principal = fixture.identity.authenticate(answer["access_token"].as_str().unwrap()).await.unwrap();
    assert_eq!((principal.object_id, principal.kind), (user.object_id, PrincipalKind::User));
    assert_eq!(principal.name, "Mei@bastide.test");
    let claims = part(answer["access_token"].as_str().unwrap(), 1);
    assert_eq!(
        (&claims["upn"], &claims["idtyp"], &claims["appid"]),
        (&json!("Mei@bastide.test"), &json!("user"), &json!(AZ))
    );
    fixture.ask(&refresh(answer["refresh_token"].as_str().unwrap())).await.unwrap();
}

#[tokio::test]
async fn the_id_token_names_the_issuer_of_the_flavour_that_was_asked() {
    let fixture = Fixture::new().await;
    let user = fixture.user("mei@bastide.test").await;
    let code = fixture.code(&user, &authorize()).await;
    let answer = fixture.ask_at(Flavour::Adfs, &redeem(&code)).await.unwrap().to_body();
    assert_eq!(part(answer["id_token"].as_str().unwrap(), 1)["iss"], format!("{ORIGIN}/adfs"));
    assert_eq!(part(answer["access_token"].as_str().unwrap(), 1)["iss"], format!("{ORIGIN}/{TENANT}/v2.0"));
}

#[tokio::test]
async fn the_login_page_learns_who_asks_and_where_the_answer_goes() {
    let fixture = Fixture::new().await;
    let form = TokenForm::from_pairs(but(&authorize(), "login_hint", "mei@bastide.test"));
    let request = fixture.identity.authorize_request(&form).await.unwrap();
    assert_eq!(request.client_name, "Microsoft Azure CLI");
    assert_eq!(request.login_hint.as_deref(), Some("mei@bastide.test"));
    assert_eq!(request.back_to.redirect_uri, REDIRECT);
    assert_eq!(request.back_to.response_mode, ResponseMode::FormPost);
    assert_eq!(request.back_to.state.as_deref(), Some("some state"));
}

#[tokio::test]
async fn without_openid_and_offline_access_there_is_only_an_access_token() {
    let fixture = Fixture::new().await;
    let user = fixture.user("mei@bastide.test").await;
    let code = fixture.code(&user, &but(&authorize(), "scope", "https://bastide.test:19643/.default")).await;
    let answer = fixture.ask(&redeem(&code)).await.unwrap().to_body();
    assert!(answer.get("refresh_token").is_none() && answer.get("id_token").is_none());
}

#[tokio::test]
async fn a_code_works_once_and_a_second_use_ends_what_the_first_began() {
    let fixture = Fixture::new().await;
    let user = fixture.user("mei@bastide.test").await;
    let code = fixture.code(&user, &authorize()).await;
    let answer = fixture.ask(&redeem(&code)).await.unwrap().to_body();
    assert_eq!(fixture.refusal(&redeem(&code)).await.error, "invalid_grant");
    let token = answer["refresh_token"].as_str().unwrap();
    assert_eq!(fixture.refusal(&refresh(token)).await.error, "invalid_grant");
}

#[tokio::test]
async fn of_two_uses_at_the_same_time_one_wins() {
    let fixture = Fixture::new().await;
    let user = fixture.user("mei@bastide.test").await;
    let code = fixture.code(&user, &authorize()).await;
    let form = redeem(&code);
    let (one, two) = tokio::join!(fixture.ask(&form), fixture.ask(&form));
    assert_eq!(u8::from(one.is_ok()) + u8::from(two.is_ok()), 1);
}

#[tokio::test]
async fn a_code_is_bound_to_client_address_and_challenge() {
    let fixture = Fixture::new().await;
    let user = fixture.user("mei@bastide.test").await;
    let (application, secret) = fixture.application_with_secret("other").await;
    let other_client = application.app_id.to_string();
    let code = fixture.code(&user, &authorize()).await;
    let form = redeem(&code);
    for (name, value) in [
        ("redirect_uri", "http://localhost:8401"),
        ("client_id", "1950a258-227b-4e31-a9cf-717495945fc2"),
        ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXl"),
        ("code", "another"),
    ] {
        assert_eq!(fixture.refusal(&but(&form, name, value)).await.error, "invalid_grant", "{name}");
    }
    for name in ["redirect_uri", "code_verifier", "code"] {
        assert_eq!(fixture.refusal(&but(&form, name, "")).await.error, "invalid_request", "without {name}");
    }
    let mut stolen = but(&form, "client_id", &other_client);
    stolen.push(("client_secret", secret.secret.expose()));
    assert_eq!(fixture.refusal(&stolen).await.error, "invalid_grant", "an application with a secret of its own");
    fixture.ask(&form).await.unwrap();
}

#[tokio::test]
async fn a_code_lasts_five_minutes() {
    let fixture = Fixture::new().await;
    let user = fixture.user("mei@bastide.test").await;
    let (early, late) = (fixture.code(&user, &authorize()).await, fixture.code(&user, &authorize()).await);
    fixture.pass(299);
    fixture.ask(&redeem(&early)).await.unwrap();
    fixture.pass(1);
    assert_eq!(fixture.refusal(&redeem(&late)).await.error_codes, [70_008]);
}

#[tokio::test]
async fn a_code_of_somebody_disabled_since_is_worth_nothing() {
    let fixture = Fixture::new().await;
    let user = fixture.user("mei@bastide.test").await;
    let code = fixture.code(&user, &authorize()).await;
    fixture.identity.directory().set_enabled(user.object_id, false).await.unwrap();
    assert_eq!(fixture.refusal(&redeem(&code)).await.error_codes, [50_057]);
}

#[tokio::test]
async fn right_after_a_revocation_one_can_sign_in_again() {
    let fixture = Fixture::new().await;
    let user = fixture.user("mei@bastide.test").await;
    fixture.identity.directory().revoke_sessions(user.object_id).await.unwrap();
    let answer = fixture.sign_in(&user).await;
    fixture.identity.authenticate(answer["access_token"].as_str().unwrap()).await.unwrap();
    fixture.ask(&refresh(answer["refresh_token"].as_str().unwrap())).await.unwrap();
}

#[tokio::test]
async fn an_address_that_is_not_the_clients_hears_nothing() {
    let fixture = Fixture::new().await;
    for redirect in ["https://evil.example/", "http://localhost.evil.example", "http://localhost:8400/#x", ""] {
        assert_eq!(refused(&fixture, "redirect_uri", redirect).await.back_to, None, "{redirect}");
    }
    for client in ["", "nonsense", "11111111-1111-1111-1111-111111111111"] {
        assert_eq!(refused(&fixture, "client_id", client).await.back_to, None, "{client}");
    }
}

#[tokio::test]
async fn a_confidential_client_is_answered_where_it_is_registered_and_must_prove_itself() {
    let fixture = Fixture::new().await;
    let user = fixture.user("mei@bastide.test").await;
    let new = bastide_identity::NewServicePrincipal {
        display_name: "portal".into(),
        redirect_uris: vec!["https://portal.test/after".into()],
        ..Default::default()
    };
    let directory = fixture.identity.directory();
    let portal = directory.create_service_principal(new).await.unwrap();
    let secret = directory.add_secret(portal.object_id, "portal", None).await.unwrap();
    let client_id = portal.app_id.to_string();
    let asked = but(&authorize(), "client_id", &client_id);
    for other in ["https://portal.test/after/", "https://portal.test/after?x", "http://localhost:8400"] {
        let form = TokenForm::from_pairs(but(&asked, "redirect_uri", other));
        assert!(fixture.identity.authorize_request(&form).await.is_err(), "{other}");
    }
    let code = fixture.code(&user, &but(&asked, "redirect_uri", "https://portal.test/after")).await;
    let form = but(&but(&redeem(&code), "client_id", &client_id), "redirect_uri", "https://portal.test/after");
    assert_eq!(fixture.refusal(&form).await.error_codes, [7_000_218]);
    fixture.ask(&but(&form, "client_secret", secret.secret.expose())).await.unwrap();
}

#[tokio::test]
async fn a_request_without_pkce_or_for_something_else_is_sent_back() {
    let fixture = Fixture::new().await;
    for (name, value) in [
        ("code_challenge", ""),
        ("code_challenge", "short"),
        ("code_challenge_method", "plain"),
        ("code_challenge_method", ""),
        ("response_type", "token"),
        ("response_type", "id_token"),
        ("response_type", ""),
        ("scope", "https://evil.example/.default"),
    ] {
        let error = refused(&fixture, name, value).await;
        let back_to = error.back_to.unwrap_or_else(|| panic!("{name}={value}"));
        assert_eq!((back_to.redirect_uri.as_str(), back_to.state.as_deref()), (REDIRECT, Some("some state")));
    }
    assert_eq!(refused(&fixture, "response_mode", "fragment").await.back_to, None);
}

#[tokio::test]
async fn a_public_client_with_a_secret_is_no_public_client() {
    let fixture = Fixture::new().await;
    let user = fixture.user("mei@bastide.test").await;
    let code = fixture.code(&user, &authorize()).await;
    assert_eq!(fixture.refusal(&but(&redeem(&code), "client_secret", "x")).await.error_codes, [700_025]);
}

async fn refused(fixture: &Fixture, name: &str, value: &str) -> AuthorizeError {
    let form = authorize();
    let form = TokenForm::from_pairs(but(&form, name, value));
    fixture.identity.authorize_request(&form).await.expect_err("a refusal")
}
