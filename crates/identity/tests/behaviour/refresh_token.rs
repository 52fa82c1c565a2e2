//! A sign-in is carried on without the person.

use serde_json::Value;

use crate::fixture::{Fixture, but, part, refresh};

const DAY: i64 = 24 * 3600;

#[tokio::test]
async fn each_use_answers_with_a_new_refresh_token() {
    let fixture = Fixture::new().await;
    let user = fixture.user("mei@bastide.test").await;
    let mut token = text(&fixture.sign_in(&user).await, "refresh_token");
    for _ in 0..3 {
        fixture.pass(3600);
        let answer = fixture.ask(&refresh(&token)).await.unwrap().to_body();
        assert_eq!(
            fixture.identity.authenticate(&text(&answer, "access_token")).await.unwrap().object_id,
            user.object_id
        );
        assert!(!answer["id_token"].is_null() && !answer["client_info"].is_null());
        assert_ne!(text(&answer, "refresh_token"), token);
        token = text(&answer, "refresh_token");
    }
}

#[tokio::test]
async fn a_refresh_token_serves_every_resource() {
    let fixture = Fixture::new().await;
    let user = fixture.user("mei@bastide.test").await;
    let token = text(&fixture.sign_in(&user).await, "refresh_token");
    let graph = but(&refresh(&token), "scope", "https://bastide.test:19643/graph//.default");
    let answer = fixture.ask(&graph).await.unwrap().to_body();
    assert_eq!(part(&text(&answer, "access_token"), 1)["aud"], "https://bastide.test:19643/graph/");
    let token = text(&answer, "refresh_token");
    let answer = fixture.ask(&but(&refresh(&token), "scope", "")).await.unwrap().to_body();
    assert_eq!(part(&text(&answer, "access_token"), 1)["aud"], "https://bastide.test:19643", "what it began with");
}

#[tokio::test]
async fn a_token_used_again_later_ends_the_whole_sign_in() {
    let fixture = Fixture::new().await;
    let user = fixture.user("mei@bastide.test").await;
    let stolen = text(&fixture.sign_in(&user).await, "refresh_token");
    let other_sign_in = text(&fixture.sign_in(&user).await, "refresh_token");
    let latest = text(&fixture.ask(&refresh(&stolen)).await.unwrap().to_body(), "refresh_token");
    fixture.pass(31);
    assert_eq!(fixture.refusal(&refresh(&stolen)).await.error_codes, [50_173]);
    assert_eq!(fixture.refusal(&refresh(&latest)).await.error, "invalid_grant", "nobody knows who is the thief");
    fixture.ask(&refresh(&other_sign_in)).await.expect("another sign-in goes on");
}

#[tokio::test]
async fn processes_that_start_together_may_share_a_token_for_half_a_minute() {
    let fixture = Fixture::new().await;
    let user = fixture.user("mei@bastide.test").await;
    let shared = text(&fixture.sign_in(&user).await, "refresh_token");
    let form = refresh(&shared);
    let (one, two, three) = tokio::join!(fixture.ask(&form), fixture.ask(&form), fixture.ask(&form));
    fixture.pass(30);
    let late = fixture.ask(&form).await;
    for answer in [one, two, three, late] {
        let token = text(&answer.unwrap().to_body(), "refresh_token");
        fixture.ask(&refresh(&token)).await.unwrap();
    }
}

#[tokio::test]
async fn a_use_in_the_grace_period_does_not_prolong_it() {
    let fixture = Fixture::new().await;
    let user = fixture.user("mei@bastide.test").await;
    let token = text(&fixture.sign_in(&user).await, "refresh_token");
    fixture.ask(&refresh(&token)).await.unwrap();
    fixture.pass(20);
    fixture.ask(&refresh(&token)).await.unwrap();
    fixture.pass(20);
    fixture.refusal(&refresh(&token)).await;
}

#[tokio::test]
async fn a_refresh_token_belongs_to_its_client() {
    let fixture = Fixture::new().await;
    let user = fixture.user("mei@bastide.test").await;
    let (application, secret) = fixture.application_with_secret("other").await;
    let client_id = application.app_id.to_string();
    let token = text(&fixture.sign_in(&user).await, "refresh_token");
    let powershell = but(&refresh(&token), "client_id", "1950a258-227b-4e31-a9cf-717495945fc2");
    assert_eq!(fixture.refusal(&powershell).await.error, "invalid_grant");
    let confidential = but(&but(&refresh(&token), "client_id", &client_id), "client_secret", secret.secret.expose());
    assert_eq!(fixture.refusal(&confidential).await.error, "invalid_grant");
    fixture.ask(&refresh(&token)).await.expect("a stranger's try does not use it up");
}

#[tokio::test]
async fn an_idle_token_ends_after_two_weeks_and_a_sign_in_after_ninety_days() {
    let fixture = Fixture::new().await;
    let user = fixture.user("mei@bastide.test").await;
    let idle = text(&fixture.sign_in(&user).await, "refresh_token");
    let mut used = text(&fixture.sign_in(&user).await, "refresh_token");
    for _ in 0..8 {
        fixture.pass(11 * DAY);
        used = text(&fixture.ask(&refresh(&used)).await.unwrap().to_body(), "refresh_token");
    }
    assert_eq!(fixture.refusal(&refresh(&idle)).await.error_codes, [70_008]);
    fixture.pass(2 * DAY);
    assert_eq!(fixture.refusal(&refresh(&used)).await.error, "invalid_grant");
}

#[tokio::test]
async fn disabling_revoking_and_a_new_password_end_every_sign_in() {
    let fixture = Fixture::new().await;
    let directory = fixture.identity.directory();
    let user = fixture.user("mei@bastide.test").await;
    let token = text(&fixture.sign_in(&user).await, "refresh_token");
    directory.revoke_sessions(user.object_id).await.unwrap();
    assert_eq!(fixture.refusal(&refresh(&token)).await.error_codes, [50_057]);

    fixture.pass(10);
    let token = text(&fixture.sign_in(&user).await, "refresh_token");
    directory.set_password(user.object_id, bastide_identity::Secret::new("another long password")).await.unwrap();
    assert_eq!(fixture.refusal(&refresh(&token)).await.error_codes, [50_057]);

    fixture.pass(10);
    let token = text(&fixture.sign_in(&user).await, "refresh_token");
    directory.set_enabled(user.object_id, false).await.unwrap();
    assert_eq!(fixture.refusal(&refresh(&token)).await.error_codes, [50_057]);
    directory.delete(user.object_id).await.unwrap();
    assert_eq!(fixture.refusal(&refresh(&token)).await.error, "invalid_grant");
}

#[tokio::test]
async fn nothing_else_is_a_refresh_token() {
    let fixture = Fixture::new().await;
    let user = fixture.user("mei@bastide.test").await;
    let answer = fixture.sign_in(&user).await;
    for other in [text(&answer, "access_token"), text(&answer, "id_token"), "nonsense".to_owned()] {
        assert_eq!(fixture.refusal(&refresh(&other)).await.error, "invalid_grant");
    }
    let error = fixture.rejection(&text(&answer, "refresh_token")).await;
    assert_eq!(error.status(), 401);
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap().to_owned()
}
