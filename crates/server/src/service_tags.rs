//! `/subscriptions/{id}/providers/Bastide.Network/serviceTagPacks/{name}`: packs of service tags, imported as published or
//! from a file of one's own, for all hubs of a subscription (mission.md G6, (c) 12).
//!
//! A pack is taken whole, in one transaction, and every hub is planned anew by it. With `dryRun=true` a PUT answers what
//! would change, and changes nothing.

use bastide_arm::error::ArmError;
use bastide_hub::service_tag::{Difference, Tag, TagPack};
use bastide_store::{Change, Expectation, Record, RecordQuery, Store};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::Entries;
use crate::list::paged;
use crate::network::flag;
use crate::pass::{ASSIGN, Pass};
use crate::reply::Reply;
use crate::request::Request;

/// A pack as kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeptPack {
    /// Its name, in lower case.
    pub(crate) name: String,
    /// Counts its imports.
    version: u64,
    imported_at: Timestamp,
    imported_by: String,
    /// What is in it.
    pub(crate) pack: TagPack,
    /// The imports before, the latest first: what each of them changed.
    #[serde(default)]
    history: Vec<Import>,
}

/// One import of a pack.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Import {
    version: u64,
    change_number: u64,
    at: Timestamp,
    by: String,
    tags_added: usize,
    tags_removed: usize,
    tags_changed: usize,
}

impl Front {
    /// GET of the packs of a subscription.
    pub(crate) async fn list_tag_packs(&self, request: &Request<'_>, _pass: &Pass) -> Result<Reply, Failure> {
        let packs = packs(self.ledger.store(), &subscription(request)?, request.context.now).await?;
        Ok(paged(request, packs.iter().map(|kept| kept.answer(request)).collect(), None))
    }

    /// GET of one pack; with `tag=`, also of what that tag means.
    pub(crate) async fn read_tag_pack(&self, request: &Request<'_>, _pass: &Pass) -> Result<Reply, Failure> {
        let kept = self.tag_pack(request).await?.ok_or_else(|| no_pack(request))?.1;
        let mut answer = kept.answer(request);
        let Some(properties) = answer.get_mut("properties").and_then(Value::as_object_mut) else {
            return Ok(Reply::ok(answer));
        };
        match request.context.query_value("tag") {
            Some(tag) => {
                let found = kept.pack.tags.get(&tag.to_ascii_lowercase()).ok_or_else(|| {
                    ArmError::not_found(format!("Pack '{}' has no tag '{tag}'.", request.matched.value(0)))
                })?;
                properties.insert("values".to_owned(), json!([described(found)]));
            }
            None => {
                let summaries = kept.pack.tags.values().map(
                    |tag| json!({"name": tag.name, "addressPrefixCount": tag.prefixes.len(), "ignoredIpv6": tag.ipv6}),
                );
                properties.insert("tags".to_owned(), summaries.collect());
            }
        }
        Ok(Reply::ok(answer))
    }

    /// PUT of one: the published file is the body, as it is or under `properties`.
    pub(crate) async fn put_tag_pack(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let (name, is_dry) = (pack_name(request)?, flag(request.context, "dryRun")?);
        let body = request.object()?;
        let pack = TagPack::read(body.get("properties").unwrap_or(body))?;
        let before = self.tag_pack(request).await?;
        self.check_tags_are_free(request, &name, &pack).await?;
        let changes = pack.since(before.as_ref().map(|(_, kept)| &kept.pack));
        let kept = KeptPack::next(name, before.as_ref().map(|(_, kept)| kept), pack, &changes, request, pass);
        let mut answer = kept.answer(request);
        if let Some(properties) = answer.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert("changes".to_owned(), json!(changes));
        }
        if is_dry {
            return Ok(Reply::ok(answer));
        }
        let is_new = before.is_none();
        let body = serde_json::to_value(&kept).map_err(|error| Failure::internal(error.to_string()))?;
        let put = Change::PutRecord {
            kind: PACK.to_owned(),
            key: key(&subscription(request)?, &kept.name),
            owner: Some(subscription(request)?),
            body,
            expires: None,
        };
        self.commit_packs(request, pass, before, put).await?;
        Ok(Reply::json(if is_new { 201 } else { 200 }, answer))
    }

    /// DELETE of one: rules that stand by its tags alone are inactive from then on.
    pub(crate) async fn delete_tag_pack(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let Some(before) = self.tag_pack(request).await? else { return Ok(Reply::empty(StatusCode::NO_CONTENT)) };
        let delete = Change::DeleteRecord { kind: PACK.to_owned(), key: key(&subscription(request)?, &before.1.name) };
        self.commit_packs(request, pass, Some(before), delete).await?;
        Ok(Reply::empty(StatusCode::OK))
    }

    async fn commit_packs(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        before: Option<(Record, KeptPack)>,
        change: Change,
    ) -> Result<(), Failure> {
        let subscription = subscription(request)?;
        let (kind, key) = (PACK.to_owned(), key(&subscription, &pack_name(request)?));
        let expect = vec![match before {
            Some((record, _)) => Expectation::RecordRevision { kind, key, revision: record.revision },
            None => Expectation::RecordAbsent { kind, key },
        }];
        // Small, and written with every change of a pack: who only wants to know whether one has changed reads this.
        let index = Change::PutRecord {
            kind: INDEX.to_owned(),
            key: subscription,
            owner: None,
            body: json!({}),
            expires: None,
        };
        let entries = Entries { expect, changes: vec![change, index] };
        self.ledger.commit_granted(request.context, pass, &[ASSIGN], entries).await?;
        self.networks.touch_all();
        Ok(())
    }

    async fn tag_pack(&self, request: &Request<'_>) -> Result<Option<(Record, KeptPack)>, Failure> {
        let key = key(&subscription(request)?, &pack_name(request)?);
        let record = self.ledger.record(request.context, PACK, &key).await?;
        record.map(|record| Ok((record.clone(), KeptPack::read(record)?))).transpose()
    }

    /// What a tag means is said in one place.
    async fn check_tags_are_free(&self, request: &Request<'_>, name: &str, pack: &TagPack) -> Result<(), Failure> {
        for other in packs(self.ledger.store(), &subscription(request)?, request.context.now).await? {
            let both = other.pack.tags.iter().find(|(tag, _)| pack.tags.contains_key(*tag));
            if let Some((_, tag)) = both.filter(|_| other.name != name) {
                let message = format!(
                    "Tag '{}' is in pack '{}' already. Import over that pack, or leave the tag out of this one.",
                    tag.name, other.name
                );
                return Err(ArmError::conflict(message).into());
            }
        }
        Ok(())
    }
}

/// The packs of a subscription, in order of name.
pub(crate) async fn packs(store: &Store, subscription: &str, now: Timestamp) -> Result<Vec<KeptPack>, Failure> {
    let owner = Some(subscription.to_owned());
    let query = RecordQuery { kind: PACK.to_owned(), owner, now, after: None, limit: MAX_PACKS };
    store.records(&query).await?.into_iter().map(KeptPack::read).collect()
}

/// Grows with every change of a subscription's packs.
pub(crate) async fn revision(store: &Store, subscription: &str, now: Timestamp) -> Result<i64, Failure> {
    Ok(store.record(INDEX, subscription, now).await?.map_or(0, |record| record.revision))
}

impl KeptPack {
    fn read(record: Record) -> Result<Self, Failure> {
        let unreadable = |error: serde_json::Error| Failure::internal(format!("pack {}: {error}", record.key));
        serde_json::from_value(record.body.clone()).map_err(unreadable)
    }

    fn next(
        name: String,
        before: Option<&Self>,
        pack: TagPack,
        changes: &Difference,
        request: &Request<'_>,
        pass: &Pass,
    ) -> Self {
        let version = before.map_or(1, |before| before.version + 1);
        let (at, by) = (request.context.now, pass.principal().name.clone());
        let import = Import {
            version,
            change_number: pack.change_number,
            at,
            by: by.clone(),
            tags_added: changes.added.len(),
            tags_removed: changes.removed.len(),
            tags_changed: changes.changed.len(),
        };
        let earlier = before.map(|before| before.history.clone()).unwrap_or_default();
        let history = std::iter::once(import).chain(earlier).take(MAX_HISTORY).collect();
        Self { name, version, imported_at: at, imported_by: by, pack, history }
    }

    fn answer(&self, request: &Request<'_>) -> Value {
        let subscription = request.matched.target.subscription_id().unwrap_or_default();
        json!({
            "id": format!("/subscriptions/{subscription}/providers/{TYPE_NAME}/{}", self.name),
            "name": self.name,
            "type": TYPE_NAME,
            "properties": {
                "version": self.version,
                "changeNumber": self.pack.change_number,
                "cloud": self.pack.cloud,
                "importedAt": self.imported_at,
                "importedBy": self.imported_by,
                "tagCount": self.pack.tags.len(),
                "addressPrefixCount": self.pack.prefix_count(),
                "ignoredIpv6": self.pack.ipv6_count(),
                "history": self.history,
            },
        })
    }
}

/// A tag in the shape in which it was published.
fn described(tag: &Tag) -> Value {
    json!({"name": tag.name, "properties": {"addressPrefixes": tag.prefixes, "ignoredIpv6": tag.ipv6}})
}

fn subscription(request: &Request<'_>) -> Result<String, Failure> {
    let id = request.matched.target.subscription_id();
    id.map(str::to_ascii_lowercase).ok_or_else(|| Failure::internal("a pack outside of a subscription"))
}

fn pack_name(request: &Request<'_>) -> Result<String, Failure> {
    let name = request.matched.value(0).to_ascii_lowercase();
    let is_name = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if is_name {
        return Ok(name);
    }
    let message = format!("'{name}' cannot name a pack. Use 1 to 64 letters, digits, hyphens or underscores.");
    Err(ArmError::invalid_parameter("name", message).into())
}

fn no_pack(request: &Request<'_>) -> ArmError {
    let name = request.matched.value(0);
    ArmError::not_found(format!("There is no pack '{name}' of service tags. Import one: PUT its published file here."))
}

fn key(subscription: &str, name: &str) -> String {
    format!("{subscription}/{name}")
}

const TYPE_NAME: &str = "Bastide.Network/serviceTagPacks";

/// Kind of the records that hold packs.
const PACK: &str = "service-tag-pack";

/// Kind of the records that change with any pack of a subscription.
const INDEX: &str = "service-tag-index";

/// Packs of one subscription that are looked at.
const MAX_PACKS: u32 = 100;

/// Imports of a pack that are remembered.
const MAX_HISTORY: usize = 52;
