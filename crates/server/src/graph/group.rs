//! `/groups` and their members.

use bastide_identity::{Directory, DirectoryObject, Group, IdentityError, Names};
use serde_json::{Value, json};
use uuid::Uuid;

use super::body::{Body, wrong};
use super::call::{Answer, Call, object_id};
use super::collection::Collection;
use super::directory_object;
use super::error::GraphError;
use super::filter::Filter;

/// The collection of groups.
pub(super) struct Groups;

impl Collection for Groups {
    type Item = Group;

    const NAME: &'static str = "groups";

    async fn page(directory: &Directory, after: Option<Uuid>, limit: u32) -> Result<Vec<Group>, IdentityError> {
        directory.groups(after, limit).await
    }

    async fn indexed(_: &Directory, _: &Filter) -> Result<Option<Vec<Group>>, IdentityError> {
        Ok(None)
    }

    fn object_id(group: &Group) -> Uuid {
        group.object_id
    }

    fn outline(_: &Call, group: &Group) -> Value {
        shown(group)
    }

    async fn shown(_: &Call, group: &Group) -> Result<Value, GraphError> {
        Ok(shown(group))
    }
}

/// A group as Graph shows it: a security group without mail.
pub(super) fn shown(group: &Group) -> Value {
    json!({
        "id": group.object_id,
        "displayName": group.display_name,
        "description": group.description,
        "mail": null,
        "mailEnabled": false,
        // Nobody can write to a group; clients only ask that there be a nickname.
        "mailNickname": nickname(&group.display_name),
        "securityEnabled": true,
        "groupTypes": [],
        "visibility": null,
        "createdDateTime": group.standing.created,
    })
}

pub(super) async fn show(call: &Call, group: &str) -> Result<Answer, GraphError> {
    let group = find(call, group).await?;
    Ok(call.object(Groups::NAME, shown(&group)))
}

pub(super) async fn create(call: &Call) -> Result<Answer, GraphError> {
    call.authorise("groups/write").await?;
    let body = Body(&call.body);
    let display_name = body.required_display_name()?;
    if body.flag("mailEnabled")? == Some(true) {
        return Err(GraphError::bad_request("Groups with mail do not exist here: set 'mailEnabled' to false."));
    }
    if body.texts("groupTypes")?.contains(&"DynamicMembership") {
        return Err(GraphError::bad_request(
            "Groups with dynamic membership do not exist here; add members one by one.",
        ));
    }
    let members = body.texts("members@odata.bind")?.into_iter().map(reference).collect::<Result<Vec<_>, _>>()?;
    let description = body.description()?.map(str::to_owned);
    let group = call.directory().create_described_group(display_name, description).await?;
    for member in members {
        call.directory().add_member(group.object_id, member).await?;
    }
    Ok(call.created(Groups::NAME, shown(&group)))
}

/// PATCH of its name and description; membership is no property of a group.
pub(super) async fn update(call: &Call, group: &str) -> Result<Answer, GraphError> {
    call.authorise("groups/write").await?;
    let group = find(call, group).await?;
    let body = Body(&call.body);
    let names = Names {
        display_name: body.display_name()?.map(str::to_owned),
        description: body.description()?.map(str::to_owned),
    };
    call.directory().rename(group.object_id, names).await?;
    Ok(Answer::done())
}

pub(super) async fn delete(call: &Call, group: &str) -> Result<Answer, GraphError> {
    call.authorise("groups/delete").await?;
    let group = find(call, group).await?;
    call.authorise_over("groups/delete", group.object_id).await?;
    call.directory().delete(group.object_id).await?;
    Ok(Answer::done())
}

pub(super) async fn members(call: &Call, group: &str) -> Result<Answer, GraphError> {
    let group = find(call, group).await?;
    let members = call.directory().members(group.object_id).await?;
    directory_object::answer(call, &members).await
}

pub(super) async fn add_member(call: &Call, group: &str) -> Result<Answer, GraphError> {
    call.authorise("groups/members/write").await?;
    let group = find(call, group).await?;
    call.authorise_over("groups/members/write", group.object_id).await?;
    let member = reference(Body(&call.body).required("@odata.id")?)?;
    if call.directory().members(group.object_id).await?.contains(&member) {
        let message =
            "One or more added object references already exist for the following modified properties: 'members'.";
        return Err(GraphError::bad_request(message));
    }
    call.directory().add_member(group.object_id, member).await?;
    Ok(Answer::done())
}

pub(super) async fn remove_member(call: &Call, group: &str, member: &str) -> Result<Answer, GraphError> {
    call.authorise("groups/members/delete").await?;
    let group = find(call, group).await?;
    call.authorise_over("groups/members/delete", group.object_id).await?;
    let member_id = object_id(member)?;
    if !call.directory().members(group.object_id).await?.contains(&member_id) {
        return Err(GraphError::not_found(member));
    }
    call.directory().remove_member(group.object_id, member_id).await?;
    Ok(Answer::done())
}

async fn find(call: &Call, group: &str) -> Result<Group, GraphError> {
    match call.directory().object(object_id(group)?).await? {
        Some(DirectoryObject::Group(group)) => Ok(group),
        _ => Err(GraphError::not_found(group)),
    }
}

/// The object id at the end of `.../directoryObjects/{id}`, `.../users/{id}` and the like.
fn reference(url: &str) -> Result<Uuid, GraphError> {
    let id = url.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    Uuid::try_parse(id).map_err(|_| wrong("@odata.id", "a URL that ends in the object id of the member"))
}

fn nickname(display_name: &str) -> String {
    display_name.chars().filter(|character| character.is_ascii_alphanumeric() || "-_.".contains(*character)).collect()
}
