//! Lists: the resources of a type, the resources of a subscription or group, the groups.

use std::collections::BTreeMap;

use bastide_arm::filter::{Expr, Property, RESOURCE_PROPERTIES};
use bastide_arm::id::{ArmPath, ResourceId};
use bastide_arm::paging::{PageRequest, Skiptoken, next_link};
use bastide_arm::path::PathSegments;
use bastide_hub::private_endpoint_connection::is_connection;
use bastide_store::ResourceQuery;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::Entry;
use crate::pass::Pass;
use crate::providers::resource_group;
use crate::registry::Registered;
use crate::reply::Reply;
use crate::request::Request;

/// One page of a list.
struct Page {
    entries: Vec<Entry>,
    /// Key to go on after; `None` on the last page.
    rest_after: Option<String>,
}

impl Front {
    /// GET of all resources of one type at a scope or below a parent.
    pub(crate) async fn list_collection(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let registered = request.registered()?;
        if is_connection(&registered.name) {
            return self.list_connections(request, pass).await;
        }
        self.scope_stands(pass, &request.matched.target).await?;
        let query = ResourceQuery {
            prefix: Some(collection_prefix(request)?),
            types: vec![registered.name.clone()],
            ..ResourceQuery::default()
        };
        let parent = self.ledger.surrounding(pass, &request.matched.target).await?;
        if let Some(values) = parent.as_ref().and_then(|parent| registered.rules.implied(&parent.linked())) {
            return Ok(paged(request, values, None));
        }
        let kinds = kinds(request);
        let pairs = request.context.query();
        let is_listed = |entry: &Entry| {
            let kind = entry.document.kind.as_ref();
            let is_of_kind =
                kinds.as_ref().is_none_or(|kinds| kind.is_some_and(|kind| kinds.contains(&kind.to_ascii_lowercase())));
            is_of_kind && registered.rules.is_listed(&entry.document, &pairs)
        };
        let mut page = self.page(request, pass, query, is_listed).await?;
        if let (Some(parent), None) = (&parent, &page.rest_after) {
            let lent = self.all_lent(pass, registered, parent).await?;
            page.entries.extend(lent.into_iter().filter(is_listed));
        }
        let values = self.wire_forms(request, pass, registered, &page.entries).await?;
        Ok(paged(request, values, page.rest_after.as_deref()))
    }

    /// GET of the subscription's or the group's resources of all types.
    pub(crate) async fn list_resources(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        self.scope_stands(pass, &request.matched.target).await?;
        let filter = filter(request, RESOURCE_PROPERTIES)?;
        let mut query = ResourceQuery {
            prefix: Some(request.matched.target.prefix()),
            listed_only: true,
            ..ResourceQuery::default()
        };
        narrow(&mut query, filter.as_ref(), &request.matched.target);
        let page = self.page(request, pass, query, |entry| fits(entry, filter.as_ref())).await?;
        let expand = request.context.query_value("$expand").unwrap_or_default().to_ascii_lowercase();
        let expand: Vec<&str> = expand.split(',').map(str::trim).collect();
        let values = page.entries.iter().map(|entry| self.summary(entry, &expand)).collect();
        Ok(paged(request, values, page.rest_after.as_deref()))
    }

    /// GET of the subscription's groups.
    pub(crate) async fn list_resource_groups(&self, request: &Request<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let filter = filter(request, GROUP_PROPERTIES)?;
        let query = ResourceQuery {
            prefix: Some(format!("{}resourcegroups/", request.matched.target.prefix())),
            types: vec![resource_group::TYPE_NAME.to_owned()],
            ..ResourceQuery::default()
        };
        let page = self.page(request, pass, query, |entry| fits(entry, filter.as_ref())).await?;
        let registered = self.registry.find(resource_group::TYPE_NAME, "")?;
        let values = self.wire_forms(request, pass, &registered, &page.entries).await?;
        Ok(paged(request, values, page.rest_after.as_deref()))
    }

    async fn wire_forms(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        registered: &Registered,
        entries: &[Entry],
    ) -> Result<Vec<Value>, Failure> {
        let mut values = Vec::with_capacity(entries.len());
        for entry in entries {
            values.push(self.wire_form(request, pass, registered, entry).await?);
        }
        Ok(values)
    }

    /// 404 for a list under a group or parent that is not there.
    async fn scope_stands(&self, pass: &Pass, scope: &ResourceId) -> Result<(), Failure> {
        if scope.is_tenant() || scope.is_subscription() || self.ledger.resource(pass, scope).await?.is_some() {
            return Ok(());
        }
        if scope.is_resource_group() {
            return Err(crate::ledger::group_not_found(scope).into());
        }
        Err(bastide_arm::error::ArmError::resource_not_found(scope).into())
    }

    /// Reads on until a page is full or the list ends: what a filter leaves out does not shorten a page.
    async fn page(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        mut query: ResourceQuery,
        fits: impl Fn(&Entry) -> bool,
    ) -> Result<Page, Failure> {
        let pairs = request.context.query();
        let parameters = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let asked = PageRequest::from_query(parameters, &list_name(request))?;
        let size = asked.top.unwrap_or(PAGE) as usize;
        // A pass without an action is that of somebody who may read further down only.
        let rights = if pass.action().is_empty() { Some(self.gatekeeper.rights(pass).await?) } else { None };
        let fits = |entry: &Entry| {
            let read = || format!("{}/read", entry.row.type_name);
            fits(entry) && rights.as_ref().is_none_or(|rights| rights.allows(pass.principal(), &read(), &entry.id))
        };
        query.after = asked.after;
        query.limit = u32::try_from(size + 1).unwrap_or(PAGE);
        let mut entries = Vec::new();
        for _ in 0..MAX_READS {
            let read = self.ledger.resources(pass, &query).await?;
            let was_full = read.len() > size;
            for entry in read {
                if entries.len() == size && fits(&entry) {
                    let rest_after = entries.last().map(|last: &Entry| last.row.key.clone());
                    return Ok(Page { entries, rest_after });
                }
                query.after = Some(entry.row.key.clone());
                if fits(&entry) {
                    entries.push(entry);
                }
            }
            if !was_full {
                return Ok(Page { entries, rest_after: None });
            }
        }
        // A filter that fits almost nothing: hand out what there is, and go on where reading stopped.
        Ok(Page { entries, rest_after: query.after })
    }

    /// A line of the list of all resources: the envelope without the properties.
    fn summary(&self, entry: &Entry, expand: &[&str]) -> Value {
        let document = &entry.document;
        let mut line = Map::new();
        line.insert("id".into(), entry.id.to_string().into());
        line.insert("name".into(), entry.id.name().into());
        line.insert("type".into(), entry.row.type_name.clone().into());
        let optional = [
            ("kind", document.kind.clone().map(Value::from)),
            ("location", document.location.clone().map(Value::from)),
            ("sku", document.sku.clone()),
            ("managedBy", document.managed_by.clone().map(Value::from)),
            ("identity", document.identity.as_ref().map(|identity| identity.answer(self.tenant_id))),
        ];
        line.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        line.insert("tags".into(), json!(document.tags));
        let expanded = [
            ("createdtime", "createdTime", json!(entry.row.created.at.to_string())),
            ("changedtime", "changedTime", json!(entry.row.changed.at.to_string())),
            ("provisioningstate", "provisioningState", json!("Succeeded")),
        ];
        line.extend(
            expanded
                .into_iter()
                .filter(|(word, ..)| expand.contains(word))
                .map(|(_, name, value)| (name.to_owned(), value)),
        );
        Value::Object(line)
    }
}

/// The `$filter` of a request, over the properties the list knows.
pub(crate) fn filter(request: &Request<'_>, properties: &[Property]) -> Result<Option<Expr>, Failure> {
    let text = request.context.query_value("$filter").filter(|text| !text.trim().is_empty());
    Ok(text.map(|text| Expr::parse(&text, properties)).transpose()?)
}

/// Lets the store's indexes do what they can of a filter; [`fits`] decides the rest.
fn narrow(query: &mut ResourceQuery, filter: Option<&Expr>, scope: &ResourceId) {
    let Some(filter) = filter else { return };
    let equalities = filter.required_equalities();
    let value = |name: &str| equalities.iter().find(|(property, _)| *property == name).map(|(_, value)| *value);
    if let (Some(group), true) = (value("resourceGroup"), scope.is_subscription()) {
        query.prefix = Some(format!("{}resourcegroups/{}/", scope.prefix(), group.to_ascii_lowercase()));
    }
    query.types.extend(value("resourceType").map(str::to_owned));
    query.name = value("name").map(str::to_owned);
    query.tag = value("tagName").map(|name| (name.to_owned(), value("tagValue").map(str::to_owned)));
}

pub(crate) fn fits(entry: &Entry, filter: Option<&Expr>) -> bool {
    let Some(filter) = filter else { return true };
    let empty = BTreeMap::new();
    let tags = if entry.document.tags.is_empty() { &empty } else { &entry.document.tags };
    filter.matches_tagged(tags, &|property| match property.name {
        "name" => Some(entry.id.name()),
        "resourceType" | "type" => Some(&entry.row.type_name),
        "resourceGroup" => entry.id.resource_group(),
        "location" => entry.document.location.as_deref(),
        "kind" => entry.document.kind.as_deref(),
        _ => None,
    })
}

/// `kind=hub` or `kind=project,default`, in lower case.
fn kinds(request: &Request<'_>) -> Option<Vec<String>> {
    let text = request.context.query_value("kind").filter(|text| !text.is_empty())?;
    Some(text.split(',').map(|kind| kind.trim().to_ascii_lowercase()).collect())
}

/// Keys of a collection's members begin with this: of all groups at a subscription, of the direct members elsewhere.
fn collection_prefix(request: &Request<'_>) -> Result<String, Failure> {
    let target = &request.matched.target;
    if target.is_subscription() || target.is_tenant() {
        return Ok(target.prefix());
    }
    match ArmPath::parse(&PathSegments::parse(request.context.uri.path())?)? {
        ArmPath::Collection(collection) => Ok(collection.prefix()),
        ArmPath::Resource(_) | ArmPath::Under { .. } => Ok(target.prefix()),
    }
}

/// `{"value": [...]}` with an absolute link to the rest.
pub(crate) fn paged(request: &Request<'_>, values: Vec<Value>, rest_after: Option<&str>) -> Reply {
    Reply::ok(Value::Object(page_body(request, values, rest_after)))
}

/// The body of [`paged`], for lists that say more.
pub(crate) fn page_body(request: &Request<'_>, values: Vec<Value>, rest_after: Option<&str>) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("value".into(), Value::Array(values));
    if let Some(after) = rest_after {
        let pairs = request.context.query();
        let parameters = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let token = Skiptoken::after(after).encode(&list_name(request));
        let origin = request.context.origin.as_str();
        body.insert("nextLink".into(), next_link(origin, request.context.uri.path(), parameters, &token).into());
    }
    body
}

/// What is being listed: a token is good for the same path and filter only.
pub(crate) fn list_name(request: &Request<'_>) -> String {
    let filter = request.context.query_value("$filter").unwrap_or_default();
    let kind = request.context.query_value("kind").unwrap_or_default();
    format!("{}?{filter}&{kind}", request.context.uri.path().to_ascii_lowercase())
}

/// Items on a page when the client does not say.
const PAGE: u32 = 100;

/// Pages read for one answer at most.
const MAX_READS: usize = 50;

/// What groups can be filtered by.
const GROUP_PROPERTIES: &[Property] = &[
    Property::any_case("name"),
    Property::any_case("location"),
    Property::any_case("tagName"),
    Property::exact("tagValue"),
];
