//! What a connection takes, seals and shows.

use std::collections::BTreeMap;

use bastide_arm::resource_type::{Effect, Secret};
use serde_json::{Value, json};

use super::credentials::{self, AuthType};
use super::*;

fn auth_type(name: &str) -> AuthType {
    AuthType::read(json!({"authType": name}).as_object().unwrap()).unwrap()
}

/// The secrets a body's credentials would leave, or the place of the refusal.
fn sealed(name: &str, given: Value) -> Result<BTreeMap<String, String>, String> {
    let effects = credentials::effects(auth_type(name), Some(&given), None, &BTreeMap::new())
        .map_err(|error| error.target.clone().unwrap_or_default())?;
    let secrets = effects.into_iter().filter_map(|effect| match effect {
        Effect::PutSecret { field, secret } => Some((field, secret.reveal().to_owned())),
        _ => None,
    });
    Ok(secrets.collect())
}

#[test]
fn every_auth_type_takes_its_credentials_and_shows_them_again() {
    let cases = [
        ("ApiKey", json!({"key": "k"})),
        ("accountkey", json!({"key": "k"})),
        ("PAT", json!({"pat": "p"})),
        ("SAS", json!({"sas": "s"})),
        ("UsernamePassword", json!({"username": "u", "password": "p"})),
        ("ManagedIdentity", json!({"clientId": "c", "resourceId": "r"})),
        ("AccessKey", json!({"accessKeyId": "a", "secretAccessKey": "s"})),
        ("CustomKeys", json!({"keys": {"one": "1", "two": "2"}})),
        ("ServicePrincipal", json!({"clientId": "c", "clientSecret": "s", "tenantId": "t"})),
        ("OAuth2", json!({"authUrl": "https://example.com", "refreshToken": "r"})),
    ];
    for (name, given) in cases {
        let secrets = sealed(name, given.clone()).unwrap();
        let secrets = secrets.into_iter().map(|(field, text)| (field, Secret::new(text))).collect();
        assert_eq!(credentials::revealed(auth_type(name), &secrets), Some(given), "{name}");
    }
    for name in ["None", "AAD"] {
        assert_eq!(sealed(name, json!({})), Ok(BTreeMap::new()));
        assert_eq!(credentials::revealed(auth_type(name), &BTreeMap::new()), None);
    }
}

#[test]
fn wrong_credentials_are_refused_with_their_place() {
    let cases = [
        ("ApiKey", json!({}), "properties.credentials.key"),
        ("ApiKey", json!({"key": null}), "properties.credentials.key"),
        ("ApiKey", json!({"key": 7}), "properties.credentials.key"),
        ("ApiKey", json!({"key": "k", "pat": "p"}), "properties.credentials.pat"),
        ("AAD", json!({"key": "k"}), "properties.credentials.key"),
        ("AccessKey", json!({"accessKeyId": "a"}), "properties.credentials.secretAccessKey"),
        ("CustomKeys", json!({"keys": {}}), "properties.credentials.keys"),
        ("CustomKeys", json!({"keys": {"one": 1}}), "properties.credentials.keys.one"),
        ("PAT", json!("text"), "properties.credentials"),
    ];
    for (name, given, target) in cases {
        assert_eq!(sealed(name, given.clone()), Err(target.to_owned()), "{name} {given}");
    }
}

#[test]
fn the_sdk_sends_account_keys_as_sas() {
    let secrets = sealed("AccountKey", json!({"sas": "k"})).unwrap();
    assert_eq!(secrets, BTreeMap::from([("key".to_owned(), "k".to_owned())]));
}

#[test]
fn silence_and_repetition_change_nothing_and_another_type_forgets() {
    let stands = BTreeMap::from([("key".to_owned(), Secret::new("k"))]);
    let before = Some(auth_type("ApiKey"));
    let effects = |name: &str, given: Option<Value>| {
        credentials::effects(auth_type(name), given.as_ref(), before, &stands).unwrap()
    };
    assert_eq!(effects("ApiKey", None), []);
    assert_eq!(effects("ApiKey", Some(json!({"key": "k"}))), []);
    assert_eq!(effects("AAD", None), [Effect::ForgetSecrets]);
    let put = Effect::PutSecret { field: "key".to_owned(), secret: Secret::new("new") };
    assert_eq!(effects("ApiKey", Some(json!({"key": "new"}))), [Effect::ForgetSecrets, put]);
    assert!(credentials::effects(auth_type("PAT"), None, before, &stands).is_err(), "another type needs its own");
}

#[test]
fn metadata_is_a_flat_map_of_strings() {
    let read = |value: Value| metadata(json!({"metadata": value}).as_object().unwrap()).map(Value::Object);
    assert_eq!(read(Value::Null).unwrap(), json!({}));
    assert_eq!(read(json!({"ApiVersion": null, "n": 3, "b": true})).unwrap(), json!({"n": "3", "b": "true"}));
    assert!(read(json!({"deep": {}})).is_err());
    assert!(read(json!([])).is_err());
}

#[test]
fn lists_are_filtered_by_category_and_target() {
    let document = Document {
        properties: json!({"category": "AzureBlob", "target": "https://a"}).as_object().cloned().unwrap(),
        ..Document::default()
    };
    let is_listed = |name: &str, value: &str| {
        Connection::of_workspaces().is_listed(&document, &[(name.to_owned(), value.to_owned())])
    };
    assert!(is_listed("category", "azureblob"));
    assert!(is_listed("category", ""));
    assert!(is_listed("includeAll", "true"));
    assert!(!is_listed("category", "Git"));
    assert!(!is_listed("target", "https://b"));
}
