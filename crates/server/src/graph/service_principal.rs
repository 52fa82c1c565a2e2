//! `/servicePrincipals`: applications as principals, and the identities of resources.

use bastide_identity::{Directory, IdentityError, Names, ServicePrincipal, ServicePrincipalType};
use serde_json::{Value, json};
use uuid::Uuid;

use super::body::Body;
use super::call::{Answer, Call};
use super::collection::Collection;
use super::credential;
use super::error::GraphError;
use super::filter::Filter;

/// The collection of service principals.
pub(super) struct ServicePrincipals;

impl Collection for ServicePrincipals {
    type Item = ServicePrincipal;

    const NAME: &'static str = "servicePrincipals";

    async fn page(
        directory: &Directory,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<ServicePrincipal>, IdentityError> {
        directory.service_principals(after, limit).await
    }

    async fn indexed(directory: &Directory, filter: &Filter) -> Result<Option<Vec<ServicePrincipal>>, IdentityError> {
        let name = filter.pinned_element("servicePrincipalNames").or_else(|| filter.pinned("appId"));
        let Some(name) = name else { return Ok(None) };
        Ok(Some(directory.service_principal_by_name(name).await?.into_iter().collect()))
    }

    fn object_id(service_principal: &ServicePrincipal) -> Uuid {
        service_principal.object_id
    }

    fn outline(call: &Call, service_principal: &ServicePrincipal) -> Value {
        outline(call, service_principal)
    }

    async fn shown(call: &Call, service_principal: &ServicePrincipal) -> Result<Value, GraphError> {
        shown(call, service_principal).await
    }
}

/// A service principal as Graph shows it.
pub(super) async fn shown(call: &Call, service_principal: &ServicePrincipal) -> Result<Value, GraphError> {
    let credentials = call.directory().credentials(service_principal.object_id).await?;
    let mut shown = outline(call, service_principal);
    credential::write(&mut shown, &credentials);
    Ok(shown)
}

pub(super) async fn show(call: &Call, id: &str) -> Result<Answer, GraphError> {
    let service_principal = find(call, id).await?;
    Ok(call.object(ServicePrincipals::NAME, shown(call, &service_principal).await?))
}

/// The service principal of an application came with it, so this only finds it.
pub(super) async fn create(call: &Call) -> Result<Answer, GraphError> {
    call.authorise("servicePrincipals/write").await?;
    Body(&call.body).required("appId")?;
    let app_id = Body(&call.body).id("appId")?.unwrap_or_default();
    let service_principal = call.directory().service_principal_by_app_id(app_id).await?.ok_or_else(|| {
        let message =
            format!("The appId '{app_id}' of the service principal does not reference a valid application object.");
        GraphError::bad_request(message)
    })?;
    Ok(call.created(ServicePrincipals::NAME, shown(call, &service_principal).await?))
}

pub(super) async fn update(call: &Call, id: &str) -> Result<Answer, GraphError> {
    call.authorise("servicePrincipals/write").await?;
    let service_principal = find(call, id).await?;
    let body = Body(&call.body);
    let display_name = body.display_name()?.filter(|name| *name != service_principal.display_name).map(str::to_owned);
    if display_name.is_some() {
        refuse_managed(&service_principal)?;
    }
    let enabled = body.flag("accountEnabled")?.filter(|enabled| *enabled != service_principal.standing.enabled);
    if enabled.is_some() || body.has("keyCredentials") {
        call.authorise_over("servicePrincipals/credentials/write", service_principal.object_id).await?;
    }
    credential::replace_certificates(call, &service_principal, body).await?;
    if display_name.is_some() {
        call.directory().rename(service_principal.object_id, Names { display_name, ..Names::default() }).await?;
    }
    if let Some(enabled) = enabled {
        call.directory().set_enabled(service_principal.object_id, enabled).await?;
    }
    Ok(Answer::done())
}

pub(super) async fn delete(call: &Call, id: &str) -> Result<Answer, GraphError> {
    call.authorise("servicePrincipals/delete").await?;
    let service_principal = find(call, id).await?;
    call.authorise_over("servicePrincipals/delete", service_principal.object_id).await?;
    refuse_managed(&service_principal)?;
    call.directory().delete(service_principal.object_id).await?;
    Ok(Answer::done())
}

pub(super) async fn add_password(call: &Call, id: &str) -> Result<Answer, GraphError> {
    call.authorise("servicePrincipals/credentials/write").await?;
    let service_principal = find(call, id).await?;
    call.authorise_over("servicePrincipals/credentials/write", service_principal.object_id).await?;
    credential::add_password(call, &service_principal).await
}

pub(super) async fn remove_password(call: &Call, id: &str) -> Result<Answer, GraphError> {
    call.authorise("servicePrincipals/credentials/write").await?;
    let service_principal = find(call, id).await?;
    call.authorise_over("servicePrincipals/credentials/write", service_principal.object_id).await?;
    credential::remove_password(call, &service_principal).await
}

/// Refuses to touch the identity of a resource, which lives and dies with it.
pub(super) fn refuse_managed(service_principal: &ServicePrincipal) -> Result<(), GraphError> {
    match service_principal.service_principal_type {
        ServicePrincipalType::Application => Ok(()),
        ServicePrincipalType::ManagedIdentity => Err(GraphError::bad_request(
            "This is the managed identity of a resource. Change or delete the resource instead.",
        )),
    }
}

/// By object id, or by `appId='...'`.
async fn find(call: &Call, id: &str) -> Result<ServicePrincipal, GraphError> {
    let found = match alternate_key(id) {
        Some(app_id) => call.directory().service_principal_by_name(app_id).await?,
        None => match Uuid::try_parse(id) {
            Ok(id) => call.directory().object(id).await?.and_then(|object| object.as_service_principal().cloned()),
            Err(_) => None,
        },
    };
    found.ok_or_else(|| GraphError::not_found(id))
}

/// The value in `appid='...'`.
pub(super) fn alternate_key(id: &str) -> Option<&str> {
    id.strip_prefix("appid=")?.strip_prefix('\'')?.strip_suffix('\'')
}

fn outline(call: &Call, service_principal: &ServicePrincipal) -> Value {
    let (kind, alternative_names) = match service_principal.service_principal_type {
        ServicePrincipalType::Application => ("Application", Vec::new()),
        ServicePrincipalType::ManagedIdentity => {
            ("ManagedIdentity", service_principal.resource_id.iter().cloned().collect())
        }
    };
    json!({
        "id": service_principal.object_id,
        "appId": service_principal.app_id,
        "displayName": service_principal.display_name,
        "appDisplayName": service_principal.display_name,
        "accountEnabled": service_principal.standing.enabled,
        "appOwnerOrganizationId": call.caller.tenant_id,
        "servicePrincipalType": kind,
        "servicePrincipalNames": service_principal.service_principal_names,
        "alternativeNames": alternative_names,
        "replyUrls": service_principal.redirect_uris,
        "createdDateTime": service_principal.standing.created,
        "signInAudience": "AzureADMyOrg",
        "appRoleAssignmentRequired": false,
        "appRoles": [],
        "oauth2PermissionScopes": [],
        "tags": [],
        "homepage": null,
        "notes": null,
    })
}
