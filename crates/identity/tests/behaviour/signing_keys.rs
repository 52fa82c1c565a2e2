//! The keys that sign tokens come and go without anybody noticing.

use bastide_identity::Identity;
use bastide_vault::Sealer;
use serde_json::Value;

use crate::fixture::{Fixture, part};

const DAY: i64 = 24 * 3600;

#[tokio::test]
async fn the_current_and_the_next_key_are_published_without_their_private_parts() {
    let fixture = Fixture::new().await;
    let keys = key_set(&fixture.identity).await;
    assert_eq!(keys.len(), 2);
    for key in &keys {
        assert_eq!((&key["kty"], &key["use"], &key["alg"]), (&"RSA".into(), &"sig".into(), &"RS256".into()));
        let mut names: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["alg", "e", "kid", "kty", "n", "use"]);
    }
    let token = fixture.token().await;
    assert_eq!(part(&token, 0)["kid"], keys[0]["kid"], "the first one signs");
}

#[tokio::test]
async fn a_restart_keeps_the_keys() {
    let fixture = Fixture::new().await;
    let token = fixture.token().await;
    let again = fixture.again().await;
    again.authenticate(&token).await.unwrap();
    assert_eq!(key_set(&again).await, key_set(&fixture.identity).await);
}

#[tokio::test]
async fn after_a_month_the_next_key_signs_and_old_tokens_live_out_their_hour() {
    let fixture = Fixture::new().await;
    let first = key_set(&fixture.identity).await;
    fixture.pass(30 * DAY - 1);
    let old = fixture.token().await;
    assert_eq!(part(&old, 0)["kid"], first[0]["kid"]);

    fixture.pass(2);
    let new = fixture.token().await;
    assert_eq!(part(&new, 0)["kid"], first[1]["kid"], "signed with the key that was published a month before");
    fixture.identity.authenticate(&old).await.unwrap();
    let second = key_set(&fixture.identity).await;
    assert_eq!(second.len(), 3, "the old one, the current one, and a new next one");

    fixture.pass(2 * 3600);
    let third = key_set(&fixture.identity).await;
    assert_eq!(third, second[1..], "the old one has gone");
}

#[tokio::test]
async fn after_a_long_sleep_no_key_signs_that_was_not_published_before() {
    let fixture = Fixture::new().await;
    let first = key_set(&fixture.identity).await;
    fixture.pass(365 * DAY);
    let token = fixture.token().await;
    assert_eq!(part(&token, 0)["kid"], first[1]["kid"]);
    fixture.pass(DAY - 60);
    assert_eq!(part(&fixture.token().await, 0)["kid"], first[1]["kid"], "a day for others to learn the next one");
}

#[tokio::test]
async fn replicas_believe_each_other_across_a_rotation() {
    let fixture = Fixture::new().await;
    let replica = fixture.again().await;
    fixture.pass(31 * DAY);
    let token = fixture.token().await;
    replica.authenticate(&token).await.unwrap();
    assert_eq!(key_set(&replica).await, key_set(&fixture.identity).await, "one of them rotated, the other one read it");
}

#[tokio::test]
async fn two_first_starts_at_once_agree_on_the_keys() {
    let fixture = Fixture::new().await;
    fixture.pass(31 * DAY);
    let (one, two) = tokio::join!(fixture.again(), fixture.again());
    assert_eq!(key_set(&one).await, key_set(&two).await);
}

#[tokio::test]
async fn with_another_vault_key_the_service_does_not_open() {
    let fixture = Fixture::new().await;
    let other = Sealer::open_or_create(&fixture.folder.path().join("other")).unwrap();
    let opened = Identity::open(fixture.store.clone(), other, fixture.clock.clone(), fixture.settings.clone()).await;
    assert!(opened.err().unwrap().to_string().contains("another key file"));
}

async fn key_set(identity: &Identity) -> Vec<Value> {
    identity.jwks().await.unwrap()["keys"].as_array().unwrap().clone()
}
