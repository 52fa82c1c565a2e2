//! `/directoryObjects` and memberships: objects of any kind, told apart by `@odata.type`.

use bastide_identity::DirectoryObject;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::body::Body;
use super::call::{Answer, Call};
use super::error::GraphError;
use super::{group, service_principal, user};

/// POST `getByIds`. Unknown ids are left out.
pub(super) async fn by_ids(call: &Call) -> Result<Answer, GraphError> {
    let body = Body(&call.body);
    let ids = ids(&body.texts("ids")?);
    let types: Vec<String> = body.texts("types")?.iter().map(|kind| kind.to_ascii_lowercase()).collect();
    let mut objects = call.directory().objects(&ids).await?;
    if !types.is_empty() && !types.iter().any(|kind| kind == "directoryobject") {
        objects.retain(|object| types.contains(&kind(object).to_ascii_lowercase()));
    }
    Ok(call.collection("directoryObjects", typed_all(call, &objects).await?, None))
}

pub(super) async fn show(call: &Call, id: &str) -> Result<Answer, GraphError> {
    let object = find(call, id).await?;
    Ok(call.object("directoryObjects", typed(call, &object).await?))
}

/// The groups somebody is in. Direct and transitive membership are the same to whoever decides on access.
pub(super) async fn member_of(call: &Call, id: &str) -> Result<Answer, GraphError> {
    let groups = groups_of(call, id).await?;
    answer(call, &groups).await
}

/// POST `getMemberGroups`: ids alone.
pub(super) async fn member_groups(call: &Call, id: &str) -> Result<Answer, GraphError> {
    let groups = groups_of(call, id).await?;
    Ok(call.result("Collection(Edm.String)", json!({ "value": groups })))
}

/// POST `checkMemberGroups`: those of the given ids that somebody is in.
pub(super) async fn check_member_groups(call: &Call, id: &str) -> Result<Answer, GraphError> {
    let asked = ids(&Body(&call.body).texts("groupIds")?);
    let mut groups = groups_of(call, id).await?;
    groups.retain(|group| asked.contains(group));
    Ok(call.result("Collection(Edm.String)", json!({ "value": groups })))
}

/// A collection of the objects with these ids.
pub(super) async fn answer(call: &Call, ids: &[Uuid]) -> Result<Answer, GraphError> {
    let objects = call.directory().objects(ids).await?;
    Ok(call.collection("directoryObjects", typed_all(call, &objects).await?, None))
}

async fn groups_of(call: &Call, id: &str) -> Result<Vec<Uuid>, GraphError> {
    let object = find(call, id).await?;
    Ok(call.directory().transitive_groups(object.object_id()).await?)
}

/// An object by its id, or a user by its name.
async fn find(call: &Call, id: &str) -> Result<DirectoryObject, GraphError> {
    let found = match Uuid::try_parse(id) {
        Ok(object_id) => call.directory().object(object_id).await?,
        Err(_) => call.directory().user_by_name(id).await?.map(DirectoryObject::User),
    };
    found.ok_or_else(|| GraphError::not_found(id))
}

async fn typed_all(call: &Call, objects: &[DirectoryObject]) -> Result<Vec<Value>, GraphError> {
    let mut shown = Vec::with_capacity(objects.len());
    for object in objects {
        shown.push(typed(call, object).await?);
    }
    Ok(shown)
}

async fn typed(call: &Call, object: &DirectoryObject) -> Result<Value, GraphError> {
    let shown = match object {
        DirectoryObject::User(user) => user::shown(user),
        DirectoryObject::Group(group) => group::shown(group),
        DirectoryObject::ServicePrincipal(service_principal) => {
            service_principal::shown(call, service_principal).await?
        }
    };
    // The type comes first: readers of polymorphic lists want it before the rest.
    let mut typed = Map::from_iter([("@odata.type".to_owned(), format!("#microsoft.graph.{}", kind(object)).into())]);
    if let Value::Object(shown) = shown {
        typed.extend(shown);
    }
    Ok(typed.into())
}

fn kind(object: &DirectoryObject) -> &'static str {
    match object {
        DirectoryObject::User(_) => "user",
        DirectoryObject::Group(_) => "group",
        DirectoryObject::ServicePrincipal(_) => "servicePrincipal",
    }
}

fn ids(texts: &[&str]) -> Vec<Uuid> {
    texts.iter().filter_map(|text| Uuid::try_parse(text).ok()).collect()
}
