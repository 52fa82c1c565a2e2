//! Names and passwords of people.

use std::net::IpAddr;

use bastide_identity::{Flavour, LoginError, Secret, Settings, TokenEndpoint, TokenForm};

use crate::fixture::{AZ, Fixture, ORIGIN, PASSWORD, TENANT, but, settings};

#[tokio::test]
async fn the_right_password_names_the_person_in_any_case_of_the_name() {
    let fixture = Fixture::new().await;
    let user = fixture.user("mei@bastide.test").await;
    for name in ["mei@bastide.test", "MEI@Bastide.Test"] {
        let person = fixture.identity.check_password(name, &Secret::new(PASSWORD), None).await.unwrap();
        assert_eq!(person.object_id, user.object_id);
    }
}

#[tokio::test]
async fn wrong_password_unknown_name_and_disabled_account_are_told_apart_by_nobody() {
    let fixture = Fixture::new().await;
    fixture.user("mei@bastide.test").await;
    let gone = fixture.user("gone@bastide.test").await;
    fixture.identity.directory().set_enabled(gone.object_id, false).await.unwrap();
    let mut answers = Vec::new();
    for (name, password) in [
        ("mei@bastide.test", "wrong password"),
        ("nobody@bastide.test", PASSWORD),
        ("gone@bastide.test", PASSWORD),
        ("\u{0}", ""),
    ] {
        let error = fixture.identity.check_password(name, &Secret::new(password), None).await.unwrap_err();
        answers.push(format!("{error:?} {error}"));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[tokio::test]
async fn after_ten_failures_even_the_right_password_waits() {
    let fixture = Fixture::new().await;
    fixture.user("mei@bastide.test").await;
    fixture.user("tom@bastide.test").await;
    fail(&fixture, "mei@bastide.test", 10, None).await;
    let refused = fixture.identity.check_password("Mei@bastide.test", &Secret::new(PASSWORD), None).await;
    assert!(matches!(refused, Err(LoginError::TooManyFailures(900))), "{refused:?}");
    let other = fixture.identity.check_password("tom@bastide.test", &Secret::new(PASSWORD), None).await;
    other.expect("others are not concerned");
    fixture.pass(900);
    fixture.identity.check_password("mei@bastide.test", &Secret::new(PASSWORD), None).await.unwrap();
}

#[tokio::test]
async fn unknown_names_are_locked_the_same_way() {
    let fixture = Fixture::new().await;
    fail(&fixture, "nobody@bastide.test", 10, None).await;
    let refused = fixture.identity.check_password("nobody@bastide.test", &Secret::new("x"), None).await;
    assert!(matches!(refused, Err(LoginError::TooManyFailures(_))));
}

#[tokio::test]
async fn an_address_that_sprays_many_names_is_slowed_down() {
    let fixture = Fixture::new().await;
    fixture.user("mei@bastide.test").await;
    let (attacker, other): (IpAddr, IpAddr) = ("198.51.100.1".parse().unwrap(), "198.51.100.2".parse().unwrap());
    for number in 0..100 {
        fail(&fixture, &format!("user{number}@bastide.test"), 1, Some(attacker)).await;
    }
    let refused = fixture.identity.check_password("mei@bastide.test", &Secret::new(PASSWORD), Some(attacker)).await;
    assert!(matches!(refused, Err(LoginError::TooManyFailures(_))));
    fixture.identity.check_password("mei@bastide.test", &Secret::new(PASSWORD), Some(other)).await.unwrap();
}

#[tokio::test]
async fn signing_in_often_is_no_failure() {
    let fixture = Fixture::new().await;
    fixture.user("mei@bastide.test").await;
    for _ in 0..30 {
        fixture.identity.check_password("mei@bastide.test", &Secret::new(PASSWORD), None).await.unwrap();
    }
}

#[tokio::test]
async fn the_password_grant_is_off_unless_allowed_and_never_on_the_tenant_flavour() {
    let off = Fixture::new().await;
    let on = Fixture::with(Settings { allow_password: true, ..settings() }).await;
    for fixture in [&off, &on] {
        fixture.user("mei@bastide.test").await;
    }
    for (fixture, flavour, allowed) in [
        (&off, Flavour::Adfs, false),
        (&off, Flavour::Tenant, false),
        (&on, Flavour::Tenant, false),
        (&on, Flavour::Adfs, true),
    ] {
        let answer = fixture.ask_at(flavour, &grant()).await;
        match answer {
            Ok(answer) => {
                assert!(allowed, "{flavour:?}");
                fixture.identity.authenticate(answer.access_token().expose()).await.unwrap();
                assert!(answer.to_body()["refresh_token"].is_string());
            }
            Err(refusal) => assert!(!allowed && refusal.error == "unauthorized_client", "{refusal}"),
        }
    }
}

#[tokio::test]
async fn the_grant_answers_a_wrong_password_as_az_knows_it_and_counts_it() {
    let fixture = Fixture::with(Settings { allow_password: true, ..settings() }).await;
    fixture.user("mei@bastide.test").await;
    let endpoint = TokenEndpoint::new(Flavour::Adfs, ORIGIN, TENANT);
    let form = TokenForm::from_pairs(but(&grant(), "password", "wrong password")).with_source("::1".parse().unwrap());
    for _ in 0..10 {
        let refusal = fixture.identity.token(&endpoint, &form).await.unwrap_err();
        assert_eq!((refusal.status, refusal.error, refusal.error_codes), (400, "invalid_grant", vec![50_126]));
    }
    let refusal = fixture.identity.token(&endpoint, &form).await.unwrap_err();
    assert_eq!((refusal.status, refusal.error_codes, refusal.retry_after), (429, vec![50_053], Some(900)));
}

async fn fail(fixture: &Fixture, name: &str, times: usize, source: Option<IpAddr>) {
    for _ in 0..times {
        let refused = fixture.identity.check_password(name, &Secret::new("wrong password"), source).await;
        assert!(matches!(refused, Err(LoginError::Wrong)), "{refused:?}");
    }
}

fn grant() -> Vec<(&'static str, &'static str)> {
    vec![
        ("grant_type", "password"),
        ("client_id", AZ),
        ("username", "mei@bastide.test"),
        ("password", PASSWORD),
        ("scope", "https://bastide.test:19643/.default offline_access openid profile"),
    ]
}
