//! Rules that hubs have because of others come and go in the commit that brings their parents or takes them away, whatever
//! way those came: a PUT, a map, a batch, a connection, a rollback (mission.md H14, G16).

use std::collections::{BTreeMap, BTreeSet};

use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Document, Linked};
use bastide_hub::outbound_rule::implied::{OWN_NETWORK, PARENTS, implied, implies, is_implied};
use bastide_store::{Change, Expectation, Resource, ResourceQuery, Store};
use serde_json::Value;
use uuid::Uuid;

use crate::failure::Failure;
use crate::ledger::{Entries, Entry};
use crate::pass::{Pass, WORKSPACE};
use crate::registry::Registry;
use crate::surroundings::link_changes;

/// What follows from changes for the rules of hubs.
pub(crate) async fn of(
    store: &Store,
    registry: &Registry,
    pass: &Pass,
    changes: &[Change],
) -> Result<Entries, Failure> {
    let mut entries = Entries::default();
    for (hub, touched) in by_hub(changes)? {
        let stands = store.resource(&hub).await?;
        let Some(document) = hub_after(&hub, stands, changes)? else { continue };
        if concerns(store, &hub, &touched).await? {
            follow(store, registry, pass, &hub, &document, &touched, &mut entries).await?;
        }
    }
    Ok(entries)
}

/// Rules that are written, or removed if none, by their keys.
type Touched = BTreeMap<String, Option<Linked>>;

fn by_hub(changes: &[Change]) -> Result<BTreeMap<String, Touched>, Failure> {
    let mut hubs: BTreeMap<String, Touched> = BTreeMap::new();
    for change in changes {
        let (id, body) = match change {
            Change::PutResource(put) if put.type_name.eq_ignore_ascii_case(RULES) => (&put.id, Some(put)),
            Change::DeleteResource(key) if key.contains("/outboundrules/") => (key, None),
            _ => continue,
        };
        let id = ResourceId::parse(id)?;
        let Some(hub) = id.parent().filter(|hub| hub.type_name().eq_ignore_ascii_case(WORKSPACE)) else { continue };
        let key = id.key().to_owned();
        let after =
            body.map(|put| Ok::<_, Failure>(Linked { id, incarnation: put.incarnation, document: read(&put.body)? }));
        hubs.entry(hub.key().to_owned()).or_default().insert(key, after.transpose()?);
    }
    Ok(hubs)
}

/// The hub as it is after the changes; none when it goes.
fn hub_after(key: &str, stands: Option<Resource>, changes: &[Change]) -> Result<Option<Document>, Failure> {
    let mut document = stands.map(|row| read(&row.body)).transpose()?;
    for change in changes {
        match change {
            Change::PutResource(put) if put.id.eq_ignore_ascii_case(key) => document = Some(read(&put.body)?),
            Change::DeleteResource(gone) if gone == key => document = None,
            _ => {}
        }
    }
    Ok(document)
}

/// Whether a parent comes, goes or stays: names alone tell who was one.
async fn concerns(store: &Store, hub: &str, touched: &Touched) -> Result<bool, Failure> {
    if touched.values().flatten().any(|rule| implies(&rule.document)) {
        return Ok(true);
    }
    let key = format!("{hub}/outboundrules/{}", OWN_NETWORK.to_ascii_lowercase());
    let Some(row) = store.resource(&key).await? else { return Ok(false) };
    let parents = row.body.pointer(&format!("/properties/{PARENTS}")).and_then(Value::as_array);
    let names = parents.into_iter().flatten().filter_map(Value::as_str);
    let keys: BTreeSet<String> =
        names.map(|name| format!("{hub}/outboundrules/{}", name.to_ascii_lowercase())).collect();
    // Made before its parents were noted, or taken away: it is looked at anew.
    Ok(parents.is_none() || touched.contains_key(&key) || touched.keys().any(|key| keys.contains(key)))
}

async fn follow(
    store: &Store,
    registry: &Registry,
    pass: &Pass,
    hub: &str,
    document: &Document,
    touched: &Touched,
    entries: &mut Entries,
) -> Result<(), Failure> {
    let stands = rules(store, hub).await?;
    let mut after: Vec<Linked> =
        stands.values().filter(|rule| !touched.contains_key(&rule.row.key)).map(Entry::linked).collect();
    after.extend(touched.values().flatten().cloned());
    let registered = registry.find(RULES, "")?;
    let wanted = implied(document, &after);
    for (key, entry) in stands.iter().filter(|(_, entry)| is_implied(entry.id.name())) {
        let is_wanted = wanted.keys().any(|name| name.eq_ignore_ascii_case(entry.id.name()));
        if !is_wanted && !touched.contains_key(key) {
            entries.expect.push(entry.unchanged());
            entries.changes.extend(link_changes(&registered, &entry.id, Some(&entry.document), None)?);
            entries.changes.push(Change::DeleteResource(key.clone()));
        }
    }
    let parent = ResourceId::parse(hub)?;
    for (name, rule) in wanted {
        let key = parent.child("outboundRules", &name)?.key().to_owned();
        let there = stands.get(&key);
        // What is restored brings such rules along.
        let brought = touched.get(&key);
        let document = match brought {
            Some(brought) => brought.as_ref().map(|brought| &brought.document),
            None => there.map(|entry| &entry.document),
        };
        if document == Some(&rule) {
            continue;
        }
        // In the spelling of a rule beside it: the key of a hub has none.
        let beside = after.first().and_then(|rule| rule.id.parent()).unwrap_or_else(|| parent.clone());
        let id = there.map_or_else(|| beside.child("outboundRules", &name), |entry| Ok(entry.id.clone()))?;
        match (brought, there) {
            // Whoever touches it expects something of it already.
            (Some(_), _) => {}
            (None, Some(entry)) => entries.expect.push(entry.unchanged()),
            (None, None) => entries.expect.push(Expectation::ResourceAbsent(key)),
        }
        let before = there.map(|entry| &entry.document);
        entries.changes.extend(link_changes(&registered, &id, before, Some(&rule))?);
        let brought = brought.and_then(|brought| brought.as_ref().map(|brought| brought.incarnation));
        let incarnation = brought.or_else(|| there.map(|entry| entry.row.incarnation)).unwrap_or_else(Uuid::new_v4);
        entries.changes.push(Entry::put(&id, &registered.name, incarnation, false, rule, pass)?);
    }
    Ok(())
}

async fn rules(store: &Store, hub: &str) -> Result<BTreeMap<String, Entry>, Failure> {
    let query = ResourceQuery {
        prefix: Some(format!("{hub}/outboundrules/")),
        types: vec![RULES.to_owned()],
        ..ResourceQuery::default()
    };
    let rules = store.every_resource(query).await?.into_iter();
    rules.map(|row| Ok((row.key.clone(), Entry::read(row)?))).collect()
}

fn read(body: &Value) -> Result<Document, Failure> {
    serde_json::from_value(body.clone()).map_err(|error| Failure::internal(format!("a rule or its hub: {error}")))
}

const RULES: &str = "Microsoft.MachineLearningServices/workspaces/outboundRules";
