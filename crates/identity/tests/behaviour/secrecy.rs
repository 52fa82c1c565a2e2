//! Secrets are neither printed nor stored.

use std::fs;

use bastide_identity::{BootstrapNames, NewUser, Secret, TokenForm, UserPrincipalName};
use serde_json::Value;

use crate::fixture::{AZ, Fixture, PASSWORD, authorize, client_credentials, redeem, refresh};
use crate::forge::Signer;

#[tokio::test]
async fn nothing_that_is_given_out_can_be_found_in_the_store() {
    let fixture = Fixture::new().await;
    let names = BootstrapNames { admin: "admin@bastide.test".into(), client: "bootstrap".into() };
    let bootstrap = fixture.identity.bootstrap(&names).await.unwrap().secrets.unwrap();
    let user = fixture.user("mei@bastide.test").await;
    let (application, secret) = fixture.application_with_secret("ci").await;
    let code = fixture.code(&user, &authorize()).await;
    let first = fixture.ask(&redeem(&code)).await.unwrap().to_body();
    let second = fixture.ask(&refresh(first["refresh_token"].as_str().unwrap())).await.unwrap().to_body();
    let device = TokenForm::from_pairs([("client_id", AZ), ("scope", "openid")]);
    let device = fixture.identity.start_device_code("https://h", &device).await.unwrap();
    fixture.ask(&client_credentials(&application, secret.secret.expose())).await.unwrap();
    let private = Signer::stolen(&fixture).await.pkcs8();

    let stored = everything_stored(&fixture);
    let contains = |needle: &[u8]| stored.windows(needle.len()).any(|window| window == needle);
    assert!(contains(b"mei@bastide.test"), "the search works");
    for (what, canary) in [
        ("a password", PASSWORD),
        ("the admin's password", bootstrap.admin_password.expose()),
        ("the bootstrap secret", bootstrap.client_secret.expose()),
        ("a client secret", secret.secret.expose()),
        ("a code", &code),
        ("a refresh token", text(&first, "refresh_token")),
        ("the next refresh token", text(&second, "refresh_token")),
        ("an access token", text(&first, "access_token")),
        ("an id token", text(&first, "id_token")),
        ("a device code", text(&device, "device_code")),
        ("a user code", text(&device, "user_code")),
    ] {
        assert!(!contains(canary.as_bytes()), "{what} is in the store");
    }
    assert!(!contains(&private[26..90]), "a signing key is in the store");
}

#[tokio::test]
async fn debug_output_names_no_secret() {
    let fixture = Fixture::new().await;
    let names = BootstrapNames { admin: "admin@bastide.test".into(), client: "bootstrap".into() };
    let bootstrapped = fixture.identity.bootstrap(&names).await.unwrap();
    let user = fixture.user("mei@bastide.test").await;
    let (application, secret) = fixture.application_with_secret("ci").await;
    let code = fixture.code(&user, &authorize()).await;
    let form = TokenForm::from_pairs(redeem(&code));
    let answer = fixture.ask(&redeem(&code)).await.unwrap();
    let canaries = [
        PASSWORD.to_owned(),
        code.clone(),
        answer.access_token().expose().to_owned(),
        text(&answer.to_body(), "refresh_token").to_owned(),
        secret.secret.expose().to_owned(),
        bootstrapped.secrets.as_ref().unwrap().client_secret.expose().to_owned(),
    ];
    let new = NewUser {
        user_principal_name: UserPrincipalName::parse("a@b").unwrap(),
        display_name: String::new(),
        password: Secret::new(PASSWORD),
    };
    let refusal = fixture.refusal(&client_credentials(&application, &code)).await;
    let printed = format!("{form:?} {answer:?} {secret:?} {bootstrapped:?} {new:?} {refusal:?} {user:?}");
    for canary in canaries {
        assert!(!printed.contains(&canary), "{printed}");
    }
}

fn everything_stored(fixture: &Fixture) -> Vec<u8> {
    let files = fs::read_dir(fixture.folder.path()).unwrap();
    files.flat_map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
}

fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap()
}
