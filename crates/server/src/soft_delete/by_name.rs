//! Deleted vaults and accounts by the names they had, as `az keyvault` and `az cognitiveservices account` ask for them.
//!
//! A name may have been deleted several times, since it is free again at once. Whoever asks by name means the last
//! deletion; whoever purges a name wants nothing of it left. Each one can be had by its own id
//! (`.../deletedVaults/{incarnation}`), which these answers tell.

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::location::Location;
use bastide_arm::resource_type::{Dismissal, ResourceType, SoftDelete};
use bastide_store::ResourceQuery;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::stood_at;
use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::Entry;
use crate::list::paged;
use crate::pass::Pass;
use crate::providers::deleted::Remains;
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// GET of what is kept in a subscription.
    pub(crate) async fn list_deleted(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let soft = self.soft_delete_of(pass)?;
        let mut values = Vec::new();
        for kept in self.kept_under(request, pass, soft).await? {
            values.push(self.named_form(request, pass, &kept).await?);
        }
        Ok(paged(request, values, None))
    }

    /// GET of what is kept of a name.
    pub(crate) async fn read_deleted(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let mut kept = self.kept_by_name(request, pass).await?;
        let last = kept.pop().ok_or_else(|| not_kept(request))?;
        Ok(Reply::ok(self.named_form(request, pass, &last).await?))
    }

    /// DELETE, or POST of purge, of what is kept of a name.
    pub(crate) async fn purge_deleted(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let kept = self.kept_by_name(request, pass).await?;
        if kept.is_empty() && request.context.method == Method::DELETE {
            return Ok(Reply::empty(StatusCode::NO_CONTENT));
        }
        if kept.is_empty() {
            return Err(not_kept(request).into());
        }
        for entry in &kept {
            let rules = self.registry.find(&entry.row.type_name, "")?.rules;
            rules.dismiss(&Dismissal {
                id: &entry.id,
                existing: entry.existing(),
                referrers: &[],
                query: &request.context.query(),
            })?;
        }
        self.purge(request, pass, &kept).await?;
        Ok(Reply::empty(StatusCode::OK))
    }

    /// How the type is deleted that a route is about: the provider of its action has one such type.
    pub(super) fn soft_delete_of(&self, pass: &Pass) -> Result<&'static SoftDelete, Failure> {
        let (namespace, _) = pass.action().split_once('/').unwrap_or_default();
        let soft = self.registry.types_in(namespace).find_map(ResourceType::soft_delete);
        soft.ok_or_else(|| Failure::internal(format!("nothing of {namespace} is kept when it is deleted")))
    }

    /// The deletions that the path's location, group and name mean, the last one at the end.
    async fn kept_by_name(&self, request: &Request<'_>, pass: &Pass) -> Result<Vec<Entry>, Failure> {
        let soft = self.soft_delete_of(pass)?;
        let location = Location::parse(request.matched.value(0))?;
        let name = request.matched.value(1);
        let mut kept = Vec::new();
        for entry in self.kept_under(request, pass, soft).await? {
            let stood = stood_at(&entry)?;
            let is_there = stood.is_within(&request.matched.target) && stood.name().eq_ignore_ascii_case(name);
            if is_there && Remains(&entry.document.properties).location() == location.as_str() {
                kept.push(entry);
            }
        }
        Ok(kept)
    }

    /// Everything of one kind that is kept in the path's subscription, in the order of the deletions. It stands beside the
    /// groups it was in, so the pass is for less than where it stands.
    async fn kept_under(&self, request: &Request<'_>, pass: &Pass, soft: &SoftDelete) -> Result<Vec<Entry>, Failure> {
        let subscription = request.matched.target.subscription_id().unwrap_or_default();
        let scope = ResourceId::parse(&format!("/subscriptions/{subscription}"))?;
        let types = vec![soft.leaves.to_owned()];
        let query = ResourceQuery { prefix: Some(scope.prefix()), types, ..ResourceQuery::default() };
        let mut kept = self.ledger.every_surrounding(pass, query).await?;
        kept.sort_by_key(|entry| entry.row.revision);
        Ok(kept)
    }

    /// What is kept, under the name that clients know it by.
    async fn named_form(&self, request: &Request<'_>, pass: &Pass, kept: &Entry) -> Result<Value, Failure> {
        let registered = self.registry.find(&kept.row.type_name, "")?;
        let mut body = self.wire_form(request, pass, &registered, kept).await?;
        let stood = stood_at(kept)?;
        let remains = Remains(&kept.document.properties);
        let descriptor = registered.rules.descriptor();
        let is_in_group = descriptor.namespace == COGNITIVE_SERVICES;
        let group = match stood.resource_group().filter(|_| is_in_group) {
            Some(group) => format!("/resourceGroups/{group}"),
            None => String::new(),
        };
        let id = format!(
            "/subscriptions/{}/providers/{}/locations/{}{group}/{}/{}",
            stood.subscription_id().unwrap_or_default(),
            descriptor.namespace,
            remains.location(),
            descriptor.types.join("/"),
            stood.name()
        );
        if let Some(fields) = body.as_object_mut() {
            fields.insert("id".to_owned(), id.into());
            fields.insert("name".to_owned(), stood.name().into());
            fields.insert("location".to_owned(), remains.location().into());
            fields.insert("bastide".to_owned(), json!({"deletion": kept.id.to_string()}));
        }
        Ok(body)
    }
}

fn not_kept(request: &Request<'_>) -> ArmError {
    let (location, name) = (request.matched.value(0), request.matched.value(1));
    let message = format!("Nothing of the name '{name}' that was deleted in '{location}' is kept. List what is.");
    ArmError::not_found(message)
}

/// The provider whose deleted resources are called by their group, too.
const COGNITIVE_SERVICES: &str = "Microsoft.CognitiveServices";
