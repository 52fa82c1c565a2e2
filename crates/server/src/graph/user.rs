//! `/users` and `/me`.

use bastide_identity::{Directory, IdentityError, Names, NewUser, PrincipalKind, Secret, User, UserPrincipalName};
use serde_json::{Value, json};
use uuid::Uuid;

use super::body::{Body, unchanged};
use super::call::{Answer, Call};
use super::collection::Collection;
use super::error::GraphError;
use super::filter::Filter;

/// The collection of users.
pub(super) struct Users;

impl Collection for Users {
    type Item = User;

    const NAME: &'static str = "users";

    async fn page(directory: &Directory, after: Option<Uuid>, limit: u32) -> Result<Vec<User>, IdentityError> {
        directory.users(after, limit).await
    }

    async fn indexed(directory: &Directory, filter: &Filter) -> Result<Option<Vec<User>>, IdentityError> {
        let Some(name) = filter.pinned("userPrincipalName") else { return Ok(None) };
        Ok(Some(directory.user_by_name(name).await?.into_iter().collect()))
    }

    fn object_id(user: &User) -> Uuid {
        user.object_id
    }

    fn outline(_: &Call, user: &User) -> Value {
        shown(user)
    }

    async fn shown(_: &Call, user: &User) -> Result<Value, GraphError> {
        Ok(shown(user))
    }
}

/// A user as Graph shows it. What the directory does not keep is null.
pub(super) fn shown(user: &User) -> Value {
    let name = user.user_principal_name.as_str();
    json!({
        "id": user.object_id,
        "displayName": user.display_name,
        "userPrincipalName": name,
        "accountEnabled": user.standing.enabled,
        "mailNickname": name.split('@').next(),
        "userType": "Member",
        "createdDateTime": user.standing.created,
        "mail": null,
        "givenName": null,
        "surname": null,
        "jobTitle": null,
        "mobilePhone": null,
        "officeLocation": null,
        "preferredLanguage": null,
        "businessPhones": [],
    })
}

pub(super) async fn signed_in(call: &Call) -> Result<Answer, GraphError> {
    if call.caller.kind != PrincipalKind::User {
        return Err(GraphError::bad_request("/me request is only valid with delegated authentication flow."));
    }
    show(call, &call.caller.object_id.to_string()).await
}

pub(super) async fn show(call: &Call, user: &str) -> Result<Answer, GraphError> {
    let user = find(call, user).await?;
    Ok(call.object(Users::NAME, shown(&user)))
}

pub(super) async fn create(call: &Call) -> Result<Answer, GraphError> {
    call.authorise("users/write").await?;
    let body = Body(&call.body);
    let user_principal_name = UserPrincipalName::parse(body.required("userPrincipalName")?)?;
    let display_name = body.required_display_name()?.to_owned();
    let password = new_password(body)?
        .ok_or_else(|| GraphError::bad_request("A value is required for property 'passwordProfile' of resource."))?;
    let enabled = body.flag("accountEnabled")?.unwrap_or(true);
    let mut user = call.directory().create_user(NewUser { user_principal_name, display_name, password }).await?;
    if !enabled {
        call.directory().set_enabled(user.object_id, false).await?;
        user.standing.enabled = false;
    }
    Ok(call.created(Users::NAME, shown(&user)))
}

pub(super) async fn update(call: &Call, user: &str) -> Result<Answer, GraphError> {
    call.authorise("users/write").await?;
    let user = find(call, user).await?;
    let body = Body(&call.body);
    let display_name = body.display_name()?.filter(|name| *name != user.display_name).map(str::to_owned);
    unchanged("userPrincipalName", body.text("userPrincipalName")?, user.user_principal_name.as_str())?;
    let enabled = body.flag("accountEnabled")?;
    let password = new_password(body)?;
    let enabled = enabled.filter(|enabled| *enabled != user.standing.enabled);
    if password.is_some() || enabled.is_some() {
        call.authorise_over("users/credentials/write", user.object_id).await?;
    }
    if display_name.is_some() {
        call.directory().rename(user.object_id, Names { display_name, ..Names::default() }).await?;
    }
    if let Some(enabled) = enabled {
        call.directory().set_enabled(user.object_id, enabled).await?;
    }
    // Last, because it ends the sessions of the user, who may be the caller.
    if let Some(password) = password {
        call.directory().set_password(user.object_id, password).await?;
    }
    Ok(Answer::done())
}

pub(super) async fn delete(call: &Call, user: &str) -> Result<Answer, GraphError> {
    call.authorise("users/delete").await?;
    let user = find(call, user).await?;
    call.authorise_over("users/delete", user.object_id).await?;
    call.directory().delete(user.object_id).await?;
    Ok(Answer::done())
}

/// A user by object id or user principal name.
async fn find(call: &Call, user: &str) -> Result<User, GraphError> {
    let found = match Uuid::try_parse(user) {
        Ok(id) => call.directory().object(id).await?.and_then(|object| object.as_user().cloned()),
        Err(_) => call.directory().user_by_name(user).await?,
    };
    found.ok_or_else(|| GraphError::not_found(user))
}

fn new_password(body: Body<'_>) -> Result<Option<Secret>, GraphError> {
    let Some(profile) = body.object("passwordProfile")? else { return Ok(None) };
    if profile.flag("forceChangePasswordNextSignIn")? == Some(true) {
        let message = "There is no page on which people could change their password at the next sign-in: set \
                       'forceChangePasswordNextSignIn' to false and hand the password over safely.";
        return Err(GraphError::bad_request(message));
    }
    Ok(profile.text("password")?.map(Secret::new))
}
