//! Users, groups and service principals.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bastide_identity::{
    Author, BootstrapNames, Directory, DirectoryObject, IdentityError, NewServicePrincipal, NewUser, Secret,
    UserPrincipalName, Warrant,
};
use serde_json::json;
use uuid::Uuid;

use crate::fixture::{Fixture, PASSWORD};

#[tokio::test]
async fn a_user_name_is_taken_in_any_case() {
    let fixture = Fixture::new().await;
    let user = fixture.user("Mei@Bastide.test").await;
    let again = fixture.identity.directory().create_user(new_user("mei@bastide.TEST")).await;
    assert!(matches!(again, Err(IdentityError::Taken(_))), "{again:?}");
    let found = fixture.identity.directory().user_by_name("MEI@bastide.test").await.unwrap().unwrap();
    assert_eq!(found, user, "as it was spelt");
    assert!(fixture.identity.directory().user_by_name("tom@bastide.test").await.unwrap().is_none());
}

#[tokio::test]
async fn of_two_users_made_at_once_with_one_name_one_is_refused() {
    let fixture = Fixture::new().await;
    let directory = fixture.identity.directory();
    let (one, two) = tokio::join!(
        directory.create_user(new_user("mei@bastide.test")),
        directory.create_user(new_user("MEI@bastide.test"))
    );
    assert_eq!(u8::from(one.is_ok()) + u8::from(two.is_ok()), 1);
    assert_eq!(directory.users(None, 10).await.unwrap().len(), 1);
}

#[test]
fn user_principal_names_look_like_addresses() {
    for good in ["a@b", "o'neil+x@host.example", "A.B-C_d!#^~@1.2"] {
        assert!(UserPrincipalName::parse(good).is_ok(), "{good}");
    }
    let long = format!("{}@b", "a".repeat(112));
    for bad in ["", "a", "@b", "a@", "a@b@c", "a b@c", "ä@b", "a@b/c", "\u{212a}@b", long.as_str()] {
        assert!(UserPrincipalName::parse(bad).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_short_password_is_refused_and_not_repeated() {
    let fixture = Fixture::new().await;
    let new = NewUser { password: Secret::new("short canary"[..11].to_owned()), ..new_user("mei@bastide.test") };
    let error = fixture.identity.directory().create_user(new).await.unwrap_err();
    assert!(error.to_string().contains("between 12 and 256") && !error.to_string().contains("canary"));
}

#[tokio::test]
async fn a_deleted_user_leaves_the_name_and_never_the_id() {
    let fixture = Fixture::new().await;
    let directory = fixture.identity.directory();
    let user = fixture.user("mei@bastide.test").await;
    directory.delete(user.object_id).await.unwrap();
    assert!(directory.object(user.object_id).await.unwrap().is_none());
    assert!(directory.user_by_name("mei@bastide.test").await.unwrap().is_none());
    let again = fixture.user("mei@bastide.test").await;
    assert_ne!(again.object_id, user.object_id);
    let old = fixture.store.record("deleted-principal", &user.object_id.to_string(), fixture.now()).await.unwrap();
    assert!(old.is_some(), "the id stays used");
    fixture.pass(3600);
    let old = fixture.store.record("deleted-principal", &user.object_id.to_string(), fixture.now()).await.unwrap();
    assert!(old.is_none(), "no token with it can be about any more");
    assert!(matches!(directory.delete(user.object_id).await, Err(IdentityError::Absent { .. })));
}

#[tokio::test]
async fn a_new_password_and_the_end_of_old_sessions_are_one_write() {
    let fixture = Fixture::new().await;
    let user = fixture.user("mei@bastide.test").await;
    let session = fixture.sign_in(&user).await;
    let before = *fixture.store.revisions().borrow();
    let directory = fixture.identity.directory();
    directory.set_password(user.object_id, Secret::new("another good password")).await.unwrap();
    assert_eq!(*fixture.store.revisions().borrow(), before + 1);
    fixture.rejection(session["access_token"].as_str().unwrap()).await;
}

/// A warrant of these epochs, counted down to the one that is there.
struct Until(AtomicI64);

impl Warrant for Until {
    fn epoch(&self) -> Pin<Box<dyn Future<Output = Option<i64>> + Send + '_>> {
        let epoch = self.0.fetch_sub(1, Ordering::Relaxed);
        Box::pin(async move { (epoch >= 0).then_some(epoch) })
    }
}

#[tokio::test]
async fn a_change_is_made_only_while_its_warrant_holds() {
    let fixture = Fixture::new().await;
    let there = fixture.store.access_epoch().await.unwrap();
    let under =
        |epoch: i64| fixture.identity.directory().on_behalf_of(Author::Bastide, Arc::new(Until(AtomicI64::new(epoch))));
    let refused = under(there - 1).create_group("late").await;
    assert!(matches!(refused, Err(IdentityError::Unwarranted)), "{refused:?}");
    under(there + 2).create_group("asked again").await.unwrap();
    assert_eq!(fixture.identity.directory().groups(None, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_audit_names_who_changed_the_directory_and_what() {
    let fixture = Fixture::new().await;
    let user = fixture.user("mei@bastide.test").await;
    assert_eq!(fixture.last_audit().await["caller"], "Bastide");

    let principal = fixture.principal(&fixture.user("tom@bastide.test").await).await;
    let request_id = Uuid::from_u128(5);
    let author =
        Author::Caller { principal: principal.clone(), request_id, source: Some("192.0.2.7".parse().unwrap()) };
    let epoch = fixture.store.access_epoch().await.unwrap();
    let directory = fixture.identity.directory().on_behalf_of(author, Arc::new(Until(AtomicI64::new(epoch))));
    directory.set_password(user.object_id, Secret::new("another good password")).await.unwrap();
    let expected = json!({
        "caller": "tom@bastide.test",
        "objectId": principal.object_id,
        "principalType": "User",
        "action": "identity/users/setPassword",
        "target": user.object_id,
        "status": "Succeeded",
        "requestId": request_id,
        "source": "192.0.2.7",
    });
    assert_eq!(fixture.last_audit().await, expected);
}

#[tokio::test]
async fn groups_reach_through_groups_and_circles_do_no_harm() {
    let fixture = Fixture::new().await;
    let directory = fixture.identity.directory();
    let user = fixture.user("mei@bastide.test").await.object_id;
    let [inner, middle, outer, other] = groups(directory).await;
    for (group, member) in [(inner, user), (middle, inner), (outer, middle), (inner, outer), (other, other)] {
        directory.add_member(group, member).await.unwrap();
    }
    let mut expected = vec![inner, middle, outer];
    expected.sort_unstable();
    assert_eq!(directory.transitive_groups(user).await.unwrap(), expected);
    assert_eq!(directory.transitive_groups(inner).await.unwrap(), expected, "the circle contains itself");
    directory.remove_member(middle, inner).await.unwrap();
    assert_eq!(directory.transitive_groups(user).await.unwrap(), [inner]);
}

#[tokio::test]
async fn deleting_a_group_frees_its_members() {
    let fixture = Fixture::new().await;
    let directory = fixture.identity.directory();
    let user = fixture.user("mei@bastide.test").await.object_id;
    let [one, two, ..] = groups(directory).await;
    directory.add_member(one, user).await.unwrap();
    directory.add_member(two, one).await.unwrap();
    directory.add_member(one, user).await.unwrap();
    assert_eq!(directory.members(one).await.unwrap(), [user], "adding twice changes nothing");
    directory.delete(one).await.unwrap();
    assert!(directory.transitive_groups(user).await.unwrap().is_empty());
    assert!(directory.members(two).await.unwrap().is_empty());
}

#[tokio::test]
async fn only_what_exists_becomes_a_member_and_only_of_a_group() {
    let fixture = Fixture::new().await;
    let directory = fixture.identity.directory();
    let user = fixture.user("mei@bastide.test").await.object_id;
    let [group, ..] = groups(directory).await;
    assert!(directory.add_member(group, Uuid::from_u128(1)).await.is_err());
    assert!(directory.add_member(user, group).await.is_err());
    assert!(directory.add_member(Uuid::from_u128(1), user).await.is_err());
}

#[tokio::test]
async fn membership_and_standing_raise_the_access_epoch() {
    let fixture = Fixture::new().await;
    let directory = fixture.identity.directory();
    let user = fixture.user("mei@bastide.test").await.object_id;
    let [group, ..] = groups(directory).await;
    let mut epoch = fixture.store.access_epoch().await.unwrap();
    for step in 0..5 {
        match step {
            0 => directory.add_member(group, user).await.unwrap(),
            1 => directory.remove_member(group, user).await.unwrap(),
            2 => directory.set_enabled(user, false).await.unwrap(),
            3 => directory.revoke_sessions(user).await.unwrap(),
            _ => directory.delete(user).await.unwrap(),
        }
        let next = fixture.store.access_epoch().await.unwrap();
        assert!(next > epoch, "step {step}");
        epoch = next;
    }
}

#[tokio::test]
async fn a_service_principal_is_found_by_each_of_its_names() {
    let fixture = Fixture::new().await;
    let directory = fixture.identity.directory();
    let new = NewServicePrincipal {
        display_name: "ci".into(),
        identifier_uris: vec!["api://CI".into()],
        ..NewServicePrincipal::default()
    };
    let created = directory.create_service_principal(new.clone()).await.unwrap();
    for name in [created.app_id.to_string(), "api://ci".into(), created.app_id.to_string().to_uppercase()] {
        assert_eq!(directory.service_principal_by_name(&name).await.unwrap().as_ref(), Some(&created), "{name}");
    }
    assert_eq!(directory.service_principal_by_app_id(created.app_id).await.unwrap(), Some(created));
    assert!(matches!(directory.create_service_principal(new).await, Err(IdentityError::Taken(_))));
}

#[tokio::test]
async fn objects_are_found_by_ids_whatever_they_are() {
    let fixture = Fixture::new().await;
    let directory = fixture.identity.directory();
    let user = fixture.user("mei@bastide.test").await;
    let application = fixture.application("ci").await;
    let group = directory.create_group("g").await.unwrap();
    let ids = [group.object_id, Uuid::from_u128(1), user.object_id, application.object_id];
    let found = directory.objects(&ids).await.unwrap();
    let expected =
        [DirectoryObject::Group(group), DirectoryObject::User(user), DirectoryObject::ServicePrincipal(application)];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn each_kind_is_listed_in_pages() {
    let fixture = Fixture::new().await;
    let directory = fixture.identity.directory();
    for number in 0..5 {
        fixture.user(&format!("user{number}@bastide.test")).await;
    }
    directory.create_group("g").await.unwrap();
    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let page = directory.users(after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.object_id);
        listed.extend(page.iter().map(|user| user.object_id));
    }
    assert_eq!(listed.len(), 5);
    assert!(listed.is_sorted());
    assert_eq!(directory.groups(None, 10).await.unwrap().len(), 1);
    assert!(directory.service_principals(None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn every_change_is_in_the_audit_chain() {
    let fixture = Fixture::new().await;
    let names = BootstrapNames { admin: "admin@bastide.test".into(), client: "bootstrap".into() };
    fixture.identity.bootstrap(&names).await.unwrap();
    let user = fixture.user("mei@bastide.test").await;
    fixture.identity.directory().set_enabled(user.object_id, false).await.unwrap();
    let (_, _) = fixture.application_with_secret("ci").await;
    let query = bastide_store::AuditQuery { after: 0, limit: 100 };
    let entries = fixture.store.audit(&query).await.unwrap();
    let written = format!("{entries:?}");
    for action in
        ["identity/bootstrap", "identity/users/create", "identity/principals/disable", "identity/credentials/create"]
    {
        assert!(written.contains(action), "{action}");
    }
}

async fn groups(directory: &Directory) -> [Uuid; 4] {
    let mut groups = [Uuid::nil(); 4];
    for group in &mut groups {
        *group = directory.create_group("g").await.unwrap().object_id;
    }
    groups
}

fn new_user(name: &str) -> NewUser {
    NewUser {
        user_principal_name: UserPrincipalName::parse(name).unwrap(),
        display_name: "Mei".into(),
        password: Secret::new(PASSWORD),
    }
}
