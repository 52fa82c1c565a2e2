//! What resources do: written, read, listed, tagged, deleted.

use std::time::Instant;

use bastide_store::{
    Change, CommitError, Expectation, ResourcePut, ResourceQuery, SealedSecret, Stamp, TagValueCount, Write,
};
use serde_json::json;
use uuid::Uuid;

use crate::support::{DISK, Database, GROUP, at, incarnation_of, keys, put, put_all, tagged, write};

pub(crate) async fn a_resource_comes_back_as_it_was_committed(database: &Database) {
    let store = database.open().await;
    let disk = ResourcePut {
        body: json!({"z": [1, 2.5, null, "é \u{0000} \u{10ffff}"], "a": {"deep": true}}),
        ..tagged(&format!("{GROUP}providers/Microsoft.Compute/disks/Fast"), &[("Env", "Prod")])
    };
    let committed = put_all(&store, [disk.clone()]).await;
    let stored = store.resource(&disk.id.to_ascii_lowercase()).await.unwrap().unwrap();
    assert_eq!(committed.resources.as_slice(), std::slice::from_ref(&stored));
    assert_eq!((stored.id, stored.type_name, stored.incarnation), (disk.id, disk.type_name, disk.incarnation));
    assert_eq!((stored.tags, stored.listed, stored.revision), (disk.tags, true, committed.revision));
    assert_eq!(stored.body.to_string(), disk.body.to_string(), "the order of members is kept");
    assert_eq!(stored.created, Stamp { at: at(0), by: "ada".into(), by_type: "User".into() });
    assert_eq!(stored.changed, stored.created);
}

pub(crate) async fn a_second_put_keeps_who_made_it_and_changes_the_rest(database: &Database) {
    let store = database.open().await;
    let id = "/subscriptions/s";
    let first = put_all(&store, [tagged(id, &[("a", "1"), ("b", "2")])]).await;
    let again = ResourcePut { by: "bob".into(), listed: false, ..tagged(id, &[("B", "3")]) };
    let second = store.commit(Write { changes: vec![Change::PutResource(again)], ..Write::new(at(9)) }).await.unwrap();
    let stored = store.resource(id).await.unwrap().unwrap();
    assert_eq!(second.resources.as_slice(), std::slice::from_ref(&stored));
    assert_eq!(stored.created, first.resources[0].created);
    assert_eq!(stored.changed, Stamp { at: at(9), by: "bob".into(), by_type: "User".into() });
    assert!(stored.revision > first.revision && stored.etag != first.resources[0].etag && !stored.listed);
    let names: Vec<String> = store.tag_counts("/").await.unwrap().into_iter().map(|tag| tag.name).collect();
    assert_eq!(names, ["B"], "the tags of before are gone");
}

pub(crate) async fn a_put_never_replaces_another_incarnation(database: &Database) {
    let store = database.open().await;
    put_all(&store, [put("/a", DISK, 1)]).await;
    let stranger = ResourcePut { incarnation: Uuid::from_u128(7), ..put("/a", DISK, 2) };
    let outcome =
        store.commit(write([Change::PutResource(put("/b", DISK, 1)), Change::PutResource(stranger.clone())])).await;
    let expectation = Expectation::ResourceIncarnation { key: "/a".into(), incarnation: Uuid::from_u128(7) };
    assert!(matches!(outcome, Err(CommitError::Conflict(conflict)) if conflict == expectation));
    assert!(!store.resource_exists("/b").await.unwrap(), "nothing of the write is there");
    store.commit(write([Change::DeleteResource("/a".into()), Change::PutResource(stranger)])).await.unwrap();
    assert_eq!(store.resource("/a").await.unwrap().unwrap().incarnation, Uuid::from_u128(7));
}

pub(crate) async fn pages_follow_each_other_in_the_order_of_bytes(database: &Database) {
    let store = database.open().await;
    // Dictionary orders would sort some of these differently.
    let ids = ["/g/-", "/g/1", "/g/a", "/g/a-b", "/g/a/x", "/g/ab", "/g/é", "/g/\u{10ffff}"];
    put_all(&store, ids.iter().rev().map(|id| put(id, DISK, 0))).await;
    put_all(&store, [put("/f", DISK, 0), put("/g", DISK, 0), put("/h/a", DISK, 0)]).await;
    let mut query = ResourceQuery { prefix: Some("/g/".into()), limit: 3, ..ResourceQuery::default() };
    let mut found = Vec::new();
    loop {
        let page = keys(&store, query.clone()).await;
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        query.after = Some(last.clone());
        found.extend(page);
    }
    assert_eq!(found, ids);
    let early = ResourceQuery {
        after: Some("/a".into()),
        ..ResourceQuery { prefix: Some("/g/".into()), ..ResourceQuery::default() }
    };
    assert_eq!(keys(&store, early).await, ids, "a place before the prefix changes nothing");
}

pub(crate) async fn every_resource_is_found_whether_or_not_the_last_page_is_full(database: &Database) {
    let store = database.open().await;
    let id = |number: usize| format!("/g/{number:04}");
    let below = ResourceQuery { prefix: Some("/g/".into()), limit: 7, ..ResourceQuery::default() };
    put_all(&store, [put("/h", DISK, 0)]).await;
    for (had, has) in [(0, 0), (0, 1000), (1000, 1001)] {
        put_all(&store, (had..has).map(|number| put(&id(number), DISK, 0))).await;
        let every = store.every_resource(below.clone()).await.unwrap();
        assert!(every.iter().map(|resource| resource.key.clone()).eq((0..has).map(id)), "{} of {has}", every.len());
    }
}

pub(crate) async fn lists_narrow_by_type_name_listing_and_tag(database: &Database) {
    let store = database.open().await;
    let machine = |id: &str| ResourcePut { type_name: "Microsoft.Compute/virtualMachines".into(), ..put(id, "", 0) };
    put_all(
        &store,
        [
            ResourcePut { listed: false, ..put("/g/rule", "Microsoft.Network/rules", 0) },
            tagged("/g/one", &[("Env", "prod"), ("team", "x")]),
            tagged("/g/two", &[("ENV", "Prod")]),
            tagged("/h/one", &[("env", "prod")]),
            machine("/g/VM"),
        ],
    )
    .await;
    let all = ResourceQuery::default();
    let of = |types: &[&str]| ResourceQuery {
        types: types.iter().map(|t| (*t).to_owned()).collect(),
        ..ResourceQuery::default()
    };
    let with = |name: &str, value: Option<&str>| ResourceQuery {
        tag: Some((name.into(), value.map(Into::into))),
        ..ResourceQuery::default()
    };
    assert_eq!(keys(&store, all.clone()).await, ["/g/one", "/g/rule", "/g/two", "/g/vm", "/h/one"]);
    assert_eq!(keys(&store, of(&["microsoft.COMPUTE/disks"])).await, ["/g/one", "/g/two", "/h/one"]);
    let two = of(&["Microsoft.Network/Rules", "microsoft.compute/virtualmachines", "Microsoft.Network/rules"]);
    assert_eq!(keys(&store, two.clone()).await, ["/g/rule", "/g/vm"]);
    assert_eq!(keys(&store, ResourceQuery { limit: 1, ..two.clone() }).await, ["/g/rule"]);
    assert_eq!(keys(&store, ResourceQuery { limit: 1, after: Some("/g/rule".into()), ..two }).await, ["/g/vm"]);
    assert_eq!(
        keys(&store, ResourceQuery { listed_only: true, ..all.clone() }).await,
        ["/g/one", "/g/two", "/g/vm", "/h/one"]
    );
    assert_eq!(keys(&store, ResourceQuery { name: Some("ONE".into()), ..all.clone() }).await, ["/g/one", "/h/one"]);
    assert_eq!(keys(&store, with("eNv", None)).await, ["/g/one", "/g/two", "/h/one"]);
    assert_eq!(keys(&store, with("env", Some("prod"))).await, ["/g/one", "/h/one"], "values match exactly");
    let narrow = ResourceQuery { prefix: Some("/g/".into()), listed_only: true, ..with("env", Some("prod")) };
    assert_eq!(keys(&store, narrow).await, ["/g/one"]);
    assert_eq!(keys(&store, with("Ключ", None)).await, [""; 0]);
}

pub(crate) async fn children_of_a_parent_are_a_type_under_a_prefix(database: &Database) {
    let store = database.open().await;
    let workspace = format!("{GROUP}providers/Microsoft.X/workspaces/w");
    put_all(
        &store,
        [
            put(&workspace, "Microsoft.X/workspaces", 0),
            put(&format!("{workspace}/computes/a"), "Microsoft.X/workspaces/computes", 0),
            put(&format!("{workspace}/computes/a/keys/k"), "Microsoft.X/workspaces/computes/keys", 0),
            put(&format!("{workspace}2/computes/b"), "Microsoft.X/workspaces/computes", 0),
        ],
    )
    .await;
    let query = ResourceQuery {
        prefix: Some(format!("{workspace}/").to_ascii_lowercase()),
        types: vec!["Microsoft.X/workspaces/computes".into()],
        ..ResourceQuery::default()
    };
    assert_eq!(keys(&store, query).await, [format!("{workspace}/computes/a").to_ascii_lowercase()]);
    assert_eq!(store.count_below(&format!("{workspace}/").to_ascii_lowercase()).await.unwrap(), 2);
    assert_eq!(store.count_below("/nowhere/").await.unwrap(), 0);
}

pub(crate) async fn tags_are_counted_by_name_in_any_case_and_by_exact_value(database: &Database) {
    let store = database.open().await;
    put_all(
        &store,
        [
            tagged("/g/1", &[("Env", "prod")]),
            tagged("/g/2", &[("env", "prod"), ("team", "")]),
            tagged("/g/3", &[("ENV", "Prod")]),
            tagged("/h/4", &[("env", "test")]),
        ],
    )
    .await;
    let counts = store.tag_counts("/g/").await.unwrap();
    assert_eq!(counts.len(), 2);
    assert!(counts[0].name.eq_ignore_ascii_case("env") && counts[0].count == 3);
    let value = |value: &str, count| TagValueCount { value: value.into(), count };
    assert_eq!(counts[0].values, [value("Prod", 1), value("prod", 2)]);
    assert_eq!((counts[1].name.as_str(), counts[1].values.as_slice()), ("team", [value("", 1)].as_slice()));
}

pub(crate) async fn deleting_takes_tags_and_secrets_along(database: &Database) {
    let store = database.open().await;
    let secret = |id: &str| {
        Change::PutSecret(SealedSecret {
            incarnation: incarnation_of(id),
            field: "key".into(),
            sealed: vec![0, 255, 7],
        })
    };
    put_all(&store, ["/g", "/g/1", "/g/2", "/g2"].map(|id| tagged(id, &[("t", "v")]))).await;
    store.commit(write(["/g", "/g/1", "/g/2", "/g2"].map(secret))).await.unwrap();
    assert_eq!(store.secrets(incarnation_of("/g/1")).await.unwrap()[0].sealed, [0, 255, 7]);
    store.commit(write([Change::DeleteBelow("/g/".into()), Change::DeleteResource("/nothing".into())])).await.unwrap();
    assert_eq!(keys(&store, ResourceQuery::default()).await, ["/g", "/g2"]);
    store.commit(write([Change::DeleteResource("/g2".into())])).await.unwrap();
    assert_eq!(keys(&store, ResourceQuery::default()).await, ["/g"]);
    assert_eq!(store.tag_counts("/").await.unwrap()[0].count, 1);
    for (id, left) in [("/g", 1), ("/g/1", 0), ("/g/2", 0), ("/g2", 0)] {
        assert_eq!(store.secrets(incarnation_of(id)).await.unwrap().len(), left, "{id}");
    }
}

pub(crate) async fn a_nul_character_is_refused_alike_everywhere(database: &Database) {
    let store = database.open().await;
    let outcome = store.commit(write([
        Change::PutResource(put("/before", DISK, 0)),
        Change::PutResource(tagged("/after", &[("tag", "a\0b")])),
    ]));
    assert!(matches!(outcome.await, Err(CommitError::Store(bastide_store::StoreError::Unstorable))));
    assert_eq!(keys(&store, ResourceQuery::default()).await, [""; 0]);
    put_all(&store, [put("/next", DISK, 0)]).await;
}

/// A plan that sorts what it finds would take sixty times as long in the large group.
pub(crate) async fn a_page_takes_the_same_time_however_much_there_is(database: &Database) {
    let store = database.open().await;
    for (group, count) in [("small", 300), ("large", 20_000)] {
        let resource = |number| ResourcePut {
            type_name: format!("T/{group}"),
            ..tagged(&format!("/{group}/{number:05}"), &[("group", group)])
        };
        put_all(&store, (0..count).map(resource)).await;
    }
    let all = ResourceQuery::default();
    let narrowed = |shape: &str, group: &str| {
        let (below, type_name) = (Some(format!("/{group}/")), format!("T/{group}"));
        match shape {
            "prefix" => ResourceQuery { prefix: below, ..all.clone() },
            "listed" => ResourceQuery { prefix: below, listed_only: true, ..all.clone() },
            "type" => ResourceQuery { types: vec![type_name], ..all.clone() },
            "types" => ResourceQuery { types: vec![type_name, "T/none".into()], ..all.clone() },
            _ => ResourceQuery { tag: Some(("group".into(), Some(group.into()))), ..all.clone() },
        }
    };
    let page = async |query: ResourceQuery, group: &str, from: usize| {
        let query = ResourceQuery { after: Some(format!("/{group}/{from:05}")), ..query };
        let started = Instant::now();
        assert_eq!(store.resources(&query).await.unwrap().len(), 100);
        started.elapsed()
    };
    for shape in ["prefix", "listed", "type", "types", "tag"] {
        let (mut small, mut large) = (Vec::new(), Vec::new());
        for _ in 0..31 {
            small.push(page(narrowed(shape, "small"), "small", 150).await);
            large.push(page(narrowed(shape, "large"), "large", 15_000).await);
        }
        small.sort_unstable();
        large.sort_unstable();
        assert!(large[15] < small[15] * 5, "by {shape}: {:?} and {:?}", small[15], large[15]);
    }
}
