//! Quotas and their use: listed, changed, and kept by every write that takes something of the host (mission.md U2).

use std::collections::BTreeMap;

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::location::Location;
use bastide_arm::resource_type::{Demand, Document};
use bastide_hub::quota::{Measure, Quota};
use bastide_store::{Change, Expectation, RecordQuery, ResourceQuery};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::{Entries, Entry};
use crate::list::paged;
use crate::pass::Pass;
use crate::registry::Registered;
use crate::reply::Reply;
use crate::request::Request;

/// A compute and what it takes.
struct Use {
    id: ResourceId,
    /// The workspace whose quota it uses beside the location's: the hub, also of a project's compute.
    hub: ResourceId,
    demand: Demand,
}

/// The quotas of a location of a subscription.
struct Quotas {
    location: String,
    subscription: ResourceId,
    uses: Vec<Use>,
    /// Limits that somebody has set, by lower-cased id of the quota.
    set: BTreeMap<String, (String, u64)>,
}

impl Front {
    /// GET of the use of all quotas of a location.
    pub(crate) async fn list_usages(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let quotas = self.quotas(request, pass).await?;
        let mut values = Vec::new();
        for measure in Measure::all() {
            let quota = self.quota_of(&quotas, measure, None);
            let id = format!("{}/usages/{}", quotas.place(), measure.word());
            values.push(quotas.usage(&id, measure.kind(), &quota));
        }
        for hub in quotas.hubs() {
            for measure in Measure::all() {
                let quota = self.quota_of(&quotas, measure, Some(&hub));
                if quota.used > 0 {
                    let id = format!("{hub}/usages/{}", measure.word());
                    values.push(quotas.usage(&id, "workspaces", &quota));
                }
            }
        }
        for taken in &quotas.uses {
            for measure in Measure::all().filter(|measure| measure.of(&taken.demand) > 0) {
                let limit = self.quota_of(&quotas, measure, Some(&taken.hub)).limit;
                let quota = Quota { measure, limit, used: measure.of(&taken.demand) };
                let id = format!("{}/usages/{}", taken.id, measure.word());
                values.push(quotas.usage(&id, "workspaces/computes", &quota));
            }
        }
        Ok(paged(request, values, None))
    }

    /// GET of all quotas of a location: its own, and those of hubs that have one of their own.
    pub(crate) async fn list_quotas(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let quotas = self.quotas(request, pass).await?;
        let own = Measure::all().map(|measure| {
            let id = format!("{}/quotas/{}", quotas.place(), measure.word());
            quotas.line(&id, measure.kind(), measure, self.quota_of(&quotas, measure, None).limit)
        });
        let of_hubs = quotas.set.values().filter(|(id, _)| !quotas.is_own(id)).filter_map(|(id, limit)| {
            Some(quotas.line(id, "workspaces", Measure::find(id.rsplit('/').next()?)?, *limit))
        });
        let values = own.chain(of_hubs).collect();
        Ok(paged(request, values, None))
    }

    /// GET of the machine sizes this host can carry.
    pub(crate) fn list_vm_sizes(&self, request: &Request<'_>) -> Result<Reply, Failure> {
        location(request)?;
        let sizes: Vec<Value> = self.capacity.sizes().map(bastide_hub::vm_size::VmSize::to_value).collect();
        Ok(Reply::ok(json!({"value": sizes})))
    }

    /// POST of new limits. Each line is judged for itself, as clients expect; what is right is set in one commit.
    pub(crate) async fn update_quotas(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let nothing_taken = self.nothing_taken_since(request, &request.matched.target).await?;
        let quotas = self.quotas(request, pass).await?;
        let Some(lines) = request.object()?.get("value").and_then(Value::as_array) else {
            let message = "updateQuotas takes a list under 'value', each line with an id and a limit.";
            return Err(ArmError::invalid_parameter("value", message).into());
        };
        let mut entries = Entries { expect: vec![nothing_taken], changes: Vec::new() };
        let mut answers = Vec::new();
        for line in lines {
            let text = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default();
            let outcome = self.set_quota(pass, &quotas, text("id"), line.get("limit")).await?;
            let status = match outcome {
                Ok(change) => {
                    entries.changes.push(change);
                    "Success"
                }
                Err(status) => status,
            };
            answers.push(json!({
                "id": text("id"), "type": text("type"), "limit": line.get("limit"), "unit": "Count", "status": status,
            }));
        }
        if !entries.changes.is_empty() {
            entries.changes.push(last_use(&quotas.subscription));
            self.ledger.commit(request.context, pass, entries).await?;
        }
        Ok(paged(request, answers, None))
    }

    /// Refuses a write that takes more than its quotas leave, and has it commit only while nobody else takes from them.
    pub(crate) async fn keep_quota(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        registered: &Registered,
        write: (&ResourceId, Option<&Document>, &Document),
        entries: &mut Entries,
    ) -> Result<(), Failure> {
        let (id, before, after) = write;
        let Some(demand) = registered.rules.demand(after) else { return Ok(()) };
        let before = before.and_then(|before| registered.rules.demand(before));
        if before.as_ref() == Some(&demand) {
            return Ok(());
        }
        let Some(subscription) = id.subscription_id() else { return Ok(()) };
        let subscription = ResourceId::parse(&format!("/subscriptions/{subscription}"))?;
        let Some((hub, place)) = self.hub_of(pass, id).await? else { return Ok(()) };
        entries.expect.push(self.nothing_taken_since(request, &subscription).await?);
        let quotas = self.quotas_at(request.context.now, pass, &subscription, &place).await?;
        for measure in Measure::all() {
            let own = self.quota_of(&quotas, measure, None);
            own.admit(&format!("location '{place}'"), before.as_ref(), &demand)?;
            let of_hub = self.quota_of(&quotas, measure, Some(&hub));
            of_hub.admit(&format!("hub '{}'", hub.name()), before.as_ref(), &demand)?;
        }
        entries.changes.push(last_use(&subscription));
        Ok(())
    }

    /// What must hold for a write that has seen who takes what of a subscription's quotas; to be asked for before that.
    async fn nothing_taken_since(
        &self,
        request: &Request<'_>,
        subscription: &ResourceId,
    ) -> Result<Expectation, Failure> {
        let (kind, key) = (LAST_USE.to_owned(), subscription.key().to_owned());
        Ok(match self.ledger.record(request.context, LAST_USE, subscription.key()).await? {
            Some(record) => Expectation::RecordRevision { kind, key, revision: record.revision },
            None => Expectation::RecordAbsent { kind, key },
        })
    }

    async fn quotas(&self, request: &Request<'_>, pass: &Pass) -> Result<Quotas, Failure> {
        let location = location(request)?;
        self.quotas_at(request.context.now, pass, &request.matched.target, &location).await
    }

    async fn quotas_at(
        &self,
        now: Timestamp,
        pass: &Pass,
        subscription: &ResourceId,
        location: &str,
    ) -> Result<Quotas, Failure> {
        let owner = Some(owner(subscription, location));
        let query = RecordQuery { kind: QUOTA.to_owned(), owner, now, after: None, limit: MAX_SET };
        let records = self.ledger.store().records(&query).await?;
        let set = records.into_iter().filter_map(|record| {
            let id = record.body.get("id")?.as_str()?.to_owned();
            Some((record.key, (id, record.body.get("limit")?.as_u64()?)))
        });
        let set = set.collect();
        let uses = self.uses(pass, subscription, location).await?;
        Ok(Quotas { location: location.to_owned(), subscription: subscription.clone(), uses, set })
    }

    /// Every compute of a subscription in a location.
    async fn uses(&self, pass: &Pass, subscription: &ResourceId, location: &str) -> Result<Vec<Use>, Failure> {
        let Ok(registered) = self.registry.find(COMPUTES, "") else { return Ok(Vec::new()) };
        let query = ResourceQuery {
            prefix: Some(subscription.prefix()),
            types: vec![COMPUTES.to_owned()],
            ..ResourceQuery::default()
        };
        let mut hubs = BTreeMap::new();
        let mut uses = Vec::new();
        for entry in self.ledger.every_surrounding(pass, query).await? {
            let Some(demand) = registered.rules.demand(&entry.document) else { continue };
            let Some(workspace) = entry.id.parent() else { continue };
            if !hubs.contains_key(workspace.key()) {
                hubs.insert(workspace.key().to_owned(), self.hub_of(pass, &entry.id).await?);
            }
            match hubs.get(workspace.key()) {
                Some(Some((hub, place))) if place == location => {
                    uses.push(Use { id: entry.id, hub: hub.clone(), demand });
                }
                _ => {}
            }
        }
        Ok(uses)
    }

    /// The workspace whose quota a compute uses, and where it is: a project's computes use the hub's.
    async fn hub_of(&self, pass: &Pass, compute: &ResourceId) -> Result<Option<(ResourceId, String)>, Failure> {
        let Some(workspace) = compute.parent() else { return Ok(None) };
        let Some(mut workspace) = self.ledger.surrounding(pass, &workspace).await? else { return Ok(None) };
        let hub = workspace.document.properties.get("hubResourceId").and_then(Value::as_str).map(ResourceId::parse);
        if let Some(hub) = hub.transpose()?
            && let Some(hub) = self.ledger.surrounding(pass, &hub).await?
        {
            workspace = hub;
        }
        let Entry { id, document, .. } = workspace;
        Ok(document.location.map(|location| (id, location)))
    }

    /// A quota of a location, or of a hub in it.
    fn quota_of(&self, quotas: &Quotas, measure: Measure, hub: Option<&ResourceId>) -> Quota {
        let own = quotas.limit(&format!("{}/quotas/{}", quotas.place(), measure.word()));
        let own = own.unwrap_or_else(|| self.capacity.ceiling(measure));
        let limit = match hub {
            Some(hub) => quotas.limit(&format!("{hub}/quotas/{}", measure.word())).map_or(own, |limit| limit.min(own)),
            None => own,
        };
        let used = quotas.uses.iter().filter(|taken| hub.is_none_or(|hub| taken.hub == *hub));
        Quota { measure, limit, used: used.map(|taken| measure.of(&taken.demand)).sum() }
    }

    /// One line of `updateQuotas`: what to store, or the wire's word for what is wrong with it.
    async fn set_quota(
        &self,
        pass: &Pass,
        quotas: &Quotas,
        id: &str,
        limit: Option<&Value>,
    ) -> Result<Result<Change, &'static str>, Failure> {
        let Some((whose, word)) = id.rsplit_once("/quotas/") else { return Ok(Err("Failure")) };
        let Some(measure) = Measure::find(word) else { return Ok(Err("InvalidVMFamilyName")) };
        let is_own =
            whose.eq_ignore_ascii_case(&quotas.place()) || whose.eq_ignore_ascii_case(quotas.subscription.key());
        let hub = match ResourceId::parse(whose) {
            _ if is_own => None,
            Ok(scope) if scope.is_resource() && scope.is_within(&quotas.subscription) => {
                match self.ledger.resource(pass, &scope).await? {
                    Some(entry) if entry.document.location.as_deref() == Some(&quotas.location) => Some(entry.id),
                    _ => return Ok(Err("Failure")),
                }
            }
            _ => return Ok(Err("Failure")),
        };
        let id = match &hub {
            Some(hub) => format!("{hub}/quotas/{}", measure.word()),
            None => format!("{}/quotas/{}", quotas.place(), measure.word()),
        };
        let key = id.to_ascii_lowercase();
        // The wire's word for no limit of its own.
        if limit.and_then(Value::as_i64) == Some(-1) {
            return Ok(Ok(Change::DeleteRecord { kind: QUOTA.to_owned(), key }));
        }
        let Some(limit) = limit.and_then(Value::as_u64) else { return Ok(Err("Failure")) };
        let most = match &hub {
            Some(_) => self.quota_of(quotas, measure, None).limit,
            None => self.capacity.ceiling(measure),
        };
        if limit > most {
            return Ok(Err("InvalidQuotaExceedsSubscriptionLimit"));
        }
        if limit < self.quota_of(quotas, measure, hub.as_ref()).used {
            return Ok(Err("InvalidQuotaBelowClusterMinimum"));
        }
        Ok(Ok(Change::PutRecord {
            kind: QUOTA.to_owned(),
            key,
            owner: Some(owner(&quotas.subscription, &quotas.location)),
            body: json!({"id": id, "limit": limit}),
            expires: None,
        }))
    }
}

impl Quotas {
    fn place(&self) -> String {
        format!("{}/providers/Microsoft.MachineLearningServices/locations/{}", self.subscription, self.location)
    }

    fn is_own(&self, id: &str) -> bool {
        id.strip_prefix(&self.place()).is_some_and(|rest| rest.starts_with('/'))
    }

    fn limit(&self, id: &str) -> Option<u64> {
        self.set.get(&id.to_ascii_lowercase()).map(|(_, limit)| *limit)
    }

    fn hubs(&self) -> Vec<ResourceId> {
        let mut hubs: Vec<ResourceId> = self.uses.iter().map(|taken| taken.hub.clone()).collect();
        hubs.sort_by(|one, other| one.key().cmp(other.key()));
        hubs.dedup();
        hubs
    }

    fn usage(&self, id: &str, kind: &str, quota: &Quota) -> Value {
        json!({
            "id": id,
            "amlWorkspaceLocation": self.location,
            "type": format!("Microsoft.MachineLearningServices/{kind}/usages"),
            "unit": "Count",
            "currentValue": quota.used,
            "limit": quota.limit,
            "name": quota.measure.name(),
        })
    }

    fn line(&self, id: &str, kind: &str, measure: Measure, limit: u64) -> Value {
        json!({
            "id": id,
            "amlWorkspaceLocation": self.location,
            "type": format!("Microsoft.MachineLearningServices/{kind}/quotas"),
            "name": measure.name(),
            "limit": limit,
            "unit": "Count",
        })
    }
}

/// The location a path names.
fn location(request: &Request<'_>) -> Result<String, ArmError> {
    Ok(Location::parse(request.matched.value(0))?.as_str().to_owned())
}

fn owner(subscription: &ResourceId, location: &str) -> String {
    format!("{} {location}", subscription.key())
}

/// Changes with every write that takes something, so that two of them cannot both take the last of it.
fn last_use(subscription: &ResourceId) -> Change {
    Change::PutRecord {
        kind: LAST_USE.to_owned(),
        key: subscription.key().to_owned(),
        owner: None,
        body: Value::Null,
        expires: None,
    }
}

/// The type that takes of the host.
const COMPUTES: &str = "Microsoft.MachineLearningServices/workspaces/computes";

/// Kind of the records that hold limits somebody has set.
const QUOTA: &str = "quota";

/// Kind of the records that order the writes that take of quotas, one a subscription.
const LAST_USE: &str = "quota-use";

/// More limits than this nobody sets in one location.
const MAX_SET: u32 = 5000;
