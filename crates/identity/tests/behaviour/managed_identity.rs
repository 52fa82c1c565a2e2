//! Machines get tokens of the identities they carry.

use bastide_identity::{Directory, OAuthError, PrincipalKind, TokenForm};
use bastide_store::{CommitError, Expectation, Write};
use serde_json::Value;
use uuid::Uuid;

use crate::fixture::{Fixture, ORIGIN, TENANT, part};

const ID: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/";

struct Machine {
    fixture: Fixture,
    first: Uuid,
    second: Uuid,
    client_ids: [Uuid; 2],
    secret: String,
}

impl Machine {
    async fn new() -> Self {
        let fixture = Fixture::new().await;
        let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
        let client_ids = [Uuid::new_v4(), Uuid::new_v4()];
        let directory = fixture.identity.directory();
        for (object_id, client_id, name) in [(first, client_ids[0], "one"), (second, client_ids[1], "two")] {
            let changes = directory.managed_identity_changes(object_id, client_id, name, &format!("{ID}{name}"));
            fixture.store.commit(Write { changes, ..Write::new(fixture.now()) }).await.unwrap();
        }
        let secret = directory.add_identity_endpoint(Uuid::from_u128(1), vec![first, second]).await.unwrap();
        let secret = secret.expose().to_owned();
        Self { fixture, first, second, client_ids, secret }
    }

    async fn ask(&self, header: Option<&str>, query: &[(&str, &str)]) -> Result<Value, OAuthError> {
        let query = TokenForm::from_pairs(query.iter().copied());
        self.fixture.identity.managed_identity_token(header, &query).await.map(|answer| answer.to_body())
    }

    async fn subject(&self, name: &str, value: &str) -> Result<Uuid, OAuthError> {
        let answer = self.ask(Some(&self.secret), &[("resource", ORIGIN), (name, value)]).await?;
        let principal = self.fixture.identity.authenticate(answer["access_token"].as_str().unwrap()).await.unwrap();
        assert_eq!(principal.kind, PrincipalKind::ManagedIdentity);
        Ok(principal.object_id)
    }
}

#[tokio::test]
async fn the_answer_is_made_of_strings_as_the_clients_want_it() {
    let machine = Machine::new().await;
    let answer =
        machine.ask(Some(&machine.secret), &[("resource", ORIGIN), ("api-version", "2019-08-01")]).await.unwrap();
    let now = machine.fixture.now().as_second();
    for (name, value) in [
        ("expires_in", "3600".to_owned()),
        ("expires_on", (now + 3600).to_string()),
        ("not_before", now.to_string()),
        ("resource", ORIGIN.to_owned()),
        ("token_type", "Bearer".to_owned()),
        ("client_id", machine.client_ids[0].to_string()),
        ("refresh_token", String::new()),
    ] {
        assert_eq!(answer[name], value, "{name}");
    }
    let claims = part(answer["access_token"].as_str().unwrap(), 1);
    assert_eq!(claims["tid"], TENANT.to_string());
    assert_eq!(claims["xms_mirid"], format!("{ID}one"));
}

#[tokio::test]
async fn a_machine_with_several_identities_names_the_one_it_means() {
    let machine = Machine::new().await;
    assert_eq!(machine.subject("api-version", "x").await.unwrap(), machine.first, "the first is the default");
    let client_id = machine.client_ids[1].to_string();
    let object_id = machine.second.to_string();
    let upper = format!("{ID}TWO").to_uppercase();
    for (name, value) in [
        ("client_id", client_id.as_str()),
        ("clientid", &client_id),
        ("object_id", &object_id),
        ("principal_id", &object_id),
        ("mi_res_id", &upper),
        ("msi_res_id", &format!("{ID}two")),
    ] {
        assert_eq!(machine.subject(name, value).await.unwrap(), machine.second, "{name}");
    }
    for (name, value) in
        [("client_id", object_id.as_str()), ("object_id", &client_id), ("mi_res_id", "two"), ("client_id", "x")]
    {
        let refusal = machine.subject(name, value).await.unwrap_err();
        assert_eq!((refusal.status, refusal.error), (400, "invalid_request"), "{name}={value}");
    }
    let both = [("resource", ORIGIN), ("client_id", client_id.as_str()), ("object_id", object_id.as_str())];
    assert!(machine.ask(Some(&machine.secret), &both).await.is_err());
}

#[tokio::test]
async fn without_the_right_header_there_is_no_token() {
    let machine = Machine::new().await;
    for header in [None, Some(""), Some("wrong"), Some(machine.first.to_string().as_str())] {
        let refusal = machine.ask(header, &[("resource", ORIGIN)]).await.unwrap_err();
        assert_eq!(refusal.status, 401, "{header:?}");
    }
}

#[tokio::test]
async fn the_resource_must_be_one_of_ours() {
    let machine = Machine::new().await;
    for query in [vec![], vec![("resource", "https://evil.example")]] {
        assert_eq!(machine.ask(Some(&machine.secret), &query).await.unwrap_err().status, 400);
    }
    machine.ask(Some(&machine.secret), &[("resource", &format!("{ORIGIN}/"))]).await.unwrap();
}

#[tokio::test]
async fn a_machine_does_not_get_what_it_does_not_carry() {
    let machine = Machine::new().await;
    let directory = machine.fixture.identity.directory();
    let one = directory.add_identity_endpoint(Uuid::from_u128(2), vec![machine.first]).await.unwrap();
    let second = machine.second.to_string();
    let refusal = machine.ask(Some(one.expose()), &[("resource", ORIGIN), ("object_id", &second)]).await.unwrap_err();
    assert_eq!(refusal.status, 400);
    let application = machine.fixture.application("no machine").await;
    assert!(directory.add_identity_endpoint(Uuid::from_u128(3), vec![application.object_id]).await.is_err());
}

#[tokio::test]
async fn a_machine_that_is_known_by_its_wire_gets_what_it_carries_and_nothing_else() {
    let machine = Machine::new().await;
    let identity = &machine.fixture.identity;
    let form = |pairs: &[(&str, &str)]| {
        TokenForm::from_pairs(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    };
    let answer = identity.machine_token(&[machine.second], &form(&[("resource", ORIGIN)])).await.unwrap().to_body();
    assert_eq!(answer["client_id"], machine.client_ids[1].to_string());
    let first = machine.first.to_string();
    let other = form(&[("resource", ORIGIN), ("object_id", &first)]);
    assert_eq!(identity.machine_token(&[machine.second], &other).await.unwrap_err().status, 400);
    assert_eq!(identity.machine_token(&[], &form(&[("resource", ORIGIN)])).await.unwrap_err().status, 400);
}

#[tokio::test]
async fn a_secret_of_the_callers_own_replaces_the_earlier_ones() {
    let machine = Machine::new().await;
    let changes = Directory::identity_endpoint_replacement(Uuid::from_u128(1), vec![machine.second], "fresh secret");
    let write = Write { changes: changes.into(), ..Write::new(machine.fixture.now()) };
    machine.fixture.store.commit(write).await.unwrap();
    assert_eq!(machine.ask(Some(&machine.secret), &[("resource", ORIGIN)]).await.unwrap_err().status, 401);
    let answer = machine.ask(Some("fresh secret"), &[("resource", ORIGIN)]).await.unwrap();
    assert_eq!(answer["client_id"], machine.client_ids[1].to_string());
    machine.fixture.identity.directory().remove_identity_endpoints(Uuid::from_u128(1)).await.unwrap();
    assert!(machine.ask(Some("fresh secret"), &[("resource", ORIGIN)]).await.is_err());
}

#[tokio::test]
async fn with_the_resource_its_identity_and_its_tokens_go_and_a_new_one_is_somebody_else() {
    let machine = Machine::new().await;
    let Machine { fixture, first, .. } = &machine;
    let answer = machine.ask(Some(&machine.secret), &[("resource", ORIGIN)]).await.unwrap();
    let token = answer["access_token"].as_str().unwrap();
    let directory = fixture.identity.directory();
    let group = directory.create_group("readers").await.unwrap();
    directory.add_member(group.object_id, *first).await.unwrap();

    let changes = directory.managed_identity_deletion(*first);
    fixture.store.commit(Write { changes, ..Write::new(fixture.now()) }).await.unwrap();
    fixture.rejection(token).await;
    assert_eq!(machine.subject("client_id", &machine.client_ids[0].to_string()).await.unwrap_err().status, 400);
    assert!(directory.service_principal_by_name(&format!("{ID}one")).await.unwrap().is_none());
    assert!(directory.members(group.object_id).await.unwrap().is_empty());

    // The same name again: another principal, whom no old token speaks for.
    let again = Uuid::new_v4();
    let changes = directory.managed_identity_changes(again, Uuid::new_v4(), "one", &format!("{ID}one"));
    fixture.store.commit(Write { changes, ..Write::new(fixture.now()) }).await.unwrap();
    fixture.rejection(token).await;
    assert_eq!(directory.service_principal_by_name(&format!("{ID}one")).await.unwrap().unwrap().object_id, again);
}

#[tokio::test]
async fn an_identity_comes_with_its_resource_or_not_at_all() {
    let fixture = Fixture::new().await;
    let directory = fixture.identity.directory();
    let object_id = Uuid::new_v4();
    let changes = directory.managed_identity_changes(object_id, Uuid::new_v4(), "u", &format!("{ID}u"));
    let write =
        Write { expect: vec![Expectation::ResourcePresent("/not/there".into())], changes, ..Write::new(fixture.now()) };
    assert!(matches!(fixture.store.commit(write).await, Err(CommitError::Conflict(_))));
    assert!(directory.object(object_id).await.unwrap().is_none());
}
