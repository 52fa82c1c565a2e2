//! A person signs in on one machine for a client on another.

use bastide_identity::{DeviceCodeError, TokenForm};
use serde_json::Value;

use crate::fixture::{AZ, Fixture, ORIGIN, but, part, refresh};

#[tokio::test]
async fn the_device_gets_a_code_to_show_and_a_sentence_to_print() {
    let fixture = Fixture::new().await;
    let device = start(&fixture).await;
    let code = device["user_code"].as_str().unwrap();
    assert!(code.len() == 11 && code.chars().all(|letter| "BCDFGHJKLMNPQRSTVWXZ-".contains(letter)), "{code}");
    assert_eq!(device["verification_uri"], format!("{ORIGIN}/devicelogin"));
    assert_eq!((&device["expires_in"], &device["interval"]), (&900.into(), &5.into()));
    assert_eq!(
        device["message"],
        format!(
            "To sign in, use a web browser to open the page {ORIGIN}/devicelogin and enter the code {code} to authenticate."
        )
    );
}

#[tokio::test]
async fn once_approved_the_device_is_signed_in_as_the_person() {
    let fixture = Fixture::new().await;
    let user = fixture.user("mei@bastide.test").await;
    let person = fixture.principal(&user).await;
    let device = start(&fixture).await;
    assert_eq!(fixture.refusal(&poll(&device)).await.error, "authorization_pending");

    // As people type.
    let typed = format!(" {} ", device["user_code"].as_str().unwrap().to_lowercase().replace('-', " "));
    let asked = fixture.identity.device_sign_in(&typed, &person).await.unwrap();
    assert_eq!(asked.client_name, "Microsoft Azure CLI");
    fixture.identity.approve_device_code(&typed, &person).await.unwrap();

    fixture.pass(5);
    let answer = fixture.ask(&poll(&device)).await.unwrap().to_body();
    let principal = fixture.identity.authenticate(answer["access_token"].as_str().unwrap()).await.unwrap();
    assert_eq!(principal.object_id, user.object_id);
    assert_eq!(part(answer["id_token"].as_str().unwrap(), 1)["preferred_username"], "mei@bastide.test");
    assert!(!answer["client_info"].is_null());
    fixture.ask(&refresh(answer["refresh_token"].as_str().unwrap())).await.expect("az refreshes at once");
    assert_eq!(fixture.refusal(&poll(&device)).await.error, "invalid_grant", "once");
}

#[tokio::test]
async fn one_address_cannot_fill_the_store_or_the_audit() {
    let fixture = Fixture::new().await;
    fixture.user("mei@bastide.test").await;
    let audited = fixture.last_audit().await;
    let start = async |address: &str| {
        let form = TokenForm::from_pairs([("client_id", AZ)]).with_source(address.parse().unwrap());
        fixture.identity.start_device_code(ORIGIN, &form).await
    };
    for _ in 0..60 {
        start("192.0.2.1").await.unwrap();
    }
    assert_eq!(fixture.last_audit().await, audited, "a mere start is not audited");
    let refused = start("192.0.2.1").await.unwrap_err();
    assert_eq!((refused.status, refused.retry_after), (429, Some(900)));
    start("192.0.2.2").await.expect("another address is not concerned");
    fixture.pass(900);
    start("192.0.2.1").await.expect("the codes are over");
}

#[tokio::test]
async fn codes_are_bounded_whoever_asks() {
    let fixture = Fixture::new().await;
    let start = async |number: u32| {
        let address = std::net::Ipv4Addr::from_bits(number / 50);
        let form = TokenForm::from_pairs([("client_id", AZ)]).with_source(address.into());
        fixture.identity.start_device_code(ORIGIN, &form).await
    };
    for number in 0..1_000 {
        start(number).await.unwrap();
    }
    assert_eq!(start(1_000).await.unwrap_err().status, 429);
}

#[tokio::test]
async fn a_device_that_polls_too_fast_is_slowed_down() {
    let fixture = Fixture::new().await;
    let device = start(&fixture).await;
    assert_eq!(fixture.refusal(&poll(&device)).await.error, "authorization_pending");
    fixture.pass(2);
    assert_eq!(fixture.refusal(&poll(&device)).await.error, "slow_down");
    fixture.pass(5);
    assert_eq!(fixture.refusal(&poll(&device)).await.error, "authorization_pending");
}

#[tokio::test]
async fn a_person_can_say_no() {
    let fixture = Fixture::new().await;
    let person = fixture.principal(&fixture.user("mei@bastide.test").await).await;
    let device = start(&fixture).await;
    fixture.identity.deny_device_code(device["user_code"].as_str().unwrap(), &person).await.unwrap();
    assert_eq!(fixture.refusal(&poll(&device)).await.error, "authorization_declined");
    let code = device["user_code"].as_str().unwrap();
    assert!(fixture.identity.approve_device_code(code, &person).await.is_err(), "and that is final");
}

#[tokio::test]
async fn a_code_ends_after_a_quarter_of_an_hour() {
    let fixture = Fixture::new().await;
    let person = fixture.principal(&fixture.user("mei@bastide.test").await).await;
    let device = start(&fixture).await;
    fixture.pass(900);
    let code = device["user_code"].as_str().unwrap();
    assert!(matches!(fixture.identity.approve_device_code(code, &person).await, Err(DeviceCodeError::Unknown)));
    assert_eq!(fixture.refusal(&poll(&device)).await.error, "expired_token");
}

#[tokio::test]
async fn the_code_belongs_to_the_client_that_asked() {
    let fixture = Fixture::new().await;
    let device = start(&fixture).await;
    let other = but(&poll(&device), "client_id", "1950a258-227b-4e31-a9cf-717495945fc2");
    assert_eq!(fixture.refusal(&other).await.error, "invalid_grant");
    let nobody = but(&but(&poll(&device), "device_code", "x"), "code", "x");
    assert_eq!(fixture.refusal(&nobody).await.error, "invalid_grant");
}

#[tokio::test]
async fn approval_by_somebody_disabled_since_is_worth_nothing() {
    let fixture = Fixture::new().await;
    let user = fixture.user("mei@bastide.test").await;
    let person = fixture.principal(&user).await;
    let device = start(&fixture).await;
    fixture.identity.approve_device_code(device["user_code"].as_str().unwrap(), &person).await.unwrap();
    fixture.identity.directory().set_enabled(user.object_id, false).await.unwrap();
    assert_eq!(fixture.refusal(&poll(&device)).await.error_codes, [50_057]);
}

#[tokio::test]
async fn guessing_codes_is_slowed_down() {
    let fixture = Fixture::new().await;
    let person = fixture.principal(&fixture.user("mei@bastide.test").await).await;
    let device = start(&fixture).await;
    for _ in 0..10 {
        let guess = fixture.identity.device_sign_in("BBB-BBB-BBB", &person).await;
        assert!(matches!(guess, Err(DeviceCodeError::Unknown)));
    }
    let right = device["user_code"].as_str().unwrap();
    let refused = fixture.identity.device_sign_in(right, &person).await;
    assert!(matches!(refused, Err(DeviceCodeError::TooManyFailures(seconds)) if seconds > 0));
}

#[tokio::test]
async fn an_unknown_client_or_resource_gets_no_code() {
    let fixture = Fixture::new().await;
    for (name, value) in [
        ("client_id", ""),
        ("client_id", "11111111-1111-1111-1111-111111111111"),
        ("scope", "https://evil.example/.default"),
    ] {
        let form = but(&request(), name, value);
        let form = TokenForm::from_pairs(form);
        assert!(fixture.identity.start_device_code(ORIGIN, &form).await.is_err(), "{name}={value}");
    }
}

async fn start(fixture: &Fixture) -> Value {
    fixture.identity.start_device_code(ORIGIN, &TokenForm::from_pairs(request())).await.unwrap()
}

fn request() -> Vec<(&'static str, &'static str)> {
    vec![("client_id", AZ), ("scope", "https://bastide.test:19643/.default offline_access openid profile")]
}

/// az sends the code under two names.
fn poll(device: &Value) -> Vec<(&'static str, &str)> {
    let code = device["device_code"].as_str().unwrap();
    vec![
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("client_id", AZ),
        ("device_code", code),
        ("code", code),
        ("client_info", "1"),
    ]
}
