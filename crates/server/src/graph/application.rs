//! `/applications`: the same objects as `/servicePrincipals`, under their application id.

use bastide_identity::{
    ApplicationUris, Directory, IdentityError, Names, NewServicePrincipal, ServicePrincipal, ServicePrincipalType,
};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::body::{Body, wrong};
use super::call::{Answer, Call};
use super::collection::Collection;
use super::credential;
use super::error::GraphError;
use super::filter::Filter;
use super::service_principal::alternate_key;

/// The collection of applications.
pub(super) struct Applications;

impl Collection for Applications {
    type Item = ServicePrincipal;

    const NAME: &'static str = "applications";

    async fn page(
        directory: &Directory,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<ServicePrincipal>, IdentityError> {
        directory.service_principals(after, limit).await
    }

    async fn indexed(directory: &Directory, filter: &Filter) -> Result<Option<Vec<ServicePrincipal>>, IdentityError> {
        let name = filter.pinned("appId").or_else(|| filter.pinned("id"));
        let Some(name) = name.or_else(|| filter.pinned_element("identifierUris")) else { return Ok(None) };
        Ok(Some(directory.service_principal_by_name(name).await?.into_iter().collect()))
    }

    fn includes(item: &ServicePrincipal) -> bool {
        item.service_principal_type == ServicePrincipalType::Application
    }

    fn object_id(item: &ServicePrincipal) -> Uuid {
        item.object_id
    }

    fn outline(call: &Call, item: &ServicePrincipal) -> Value {
        outline(call, item)
    }

    async fn shown(call: &Call, item: &ServicePrincipal) -> Result<Value, GraphError> {
        shown(call, item).await
    }
}

pub(super) async fn show(call: &Call, id: &str) -> Result<Answer, GraphError> {
    let application = find(call, id).await?;
    Ok(call.object(Applications::NAME, shown(call, &application).await?))
}

pub(super) async fn create(call: &Call) -> Result<Answer, GraphError> {
    call.authorise("applications/write").await?;
    let body = Body(&call.body);
    let new = NewServicePrincipal {
        display_name: body.required_display_name()?.to_owned(),
        identifier_uris: new_identifier_uris(body)?,
        redirect_uris: redirect_uris(body)?,
    };
    if !body.objects("passwordCredentials")?.is_empty() {
        return Err(GraphError::bad_request("Secrets are made with addPassword; leave 'passwordCredentials' out."));
    }
    let certificates = credential::certificates(body)?;
    let application = call.directory().create_service_principal(new).await?;
    // An application whose certificate was refused would be left over without anybody knowing, hence the undo.
    for certificate in &certificates {
        if let Err(error) = certificate.add(call, &application).await {
            call.directory().delete(application.object_id).await?;
            return Err(error);
        }
    }
    Ok(call.created(Applications::NAME, shown(call, &application).await?))
}

pub(super) async fn update(call: &Call, id: &str) -> Result<Answer, GraphError> {
    call.authorise("applications/write").await?;
    let application = find(call, id).await?;
    let body = Body(&call.body);
    let names = Names { display_name: body.display_name()?.map(str::to_owned), ..Names::default() };
    let uris = ApplicationUris {
        identifier: if body.has("identifierUris") { Some(new_identifier_uris(body)?) } else { None },
        redirect: new_redirect_uris(body, &application)?,
    };
    if uris.redirect.is_some() {
        // Where codes and tokens of those who sign in are sent to.
        call.authorise_over("applications/write", application.object_id).await?;
    }
    if body.has("keyCredentials") {
        call.authorise_over("applications/credentials/write", application.object_id).await?;
    }
    credential::replace_certificates(call, &application, body).await?;
    if uris.identifier.is_some() || uris.redirect.is_some() {
        call.directory().set_uris(application.object_id, uris).await?;
    }
    if names.display_name.as_ref().is_some_and(|name| *name != application.display_name) {
        call.directory().rename(application.object_id, names).await?;
    }
    Ok(Answer::done())
}

pub(super) async fn delete(call: &Call, id: &str) -> Result<Answer, GraphError> {
    call.authorise("applications/delete").await?;
    let application = find(call, id).await?;
    call.authorise_over("applications/delete", application.object_id).await?;
    call.directory().delete(application.object_id).await?;
    Ok(Answer::done())
}

pub(super) async fn add_password(call: &Call, id: &str) -> Result<Answer, GraphError> {
    call.authorise("applications/credentials/write").await?;
    let application = find(call, id).await?;
    call.authorise_over("applications/credentials/write", application.object_id).await?;
    credential::add_password(call, &application).await
}

pub(super) async fn remove_password(call: &Call, id: &str) -> Result<Answer, GraphError> {
    call.authorise("applications/credentials/write").await?;
    let application = find(call, id).await?;
    call.authorise_over("applications/credentials/write", application.object_id).await?;
    credential::remove_password(call, &application).await
}

/// By application id, plain or as `appId='...'`.
pub(super) async fn find(call: &Call, id: &str) -> Result<ServicePrincipal, GraphError> {
    let found = match Uuid::try_parse(alternate_key(id).unwrap_or(id)) {
        Ok(app_id) => call.directory().service_principal_by_app_id(app_id).await?,
        Err(_) => None,
    };
    found.filter(Applications::includes).ok_or_else(|| GraphError::not_found(id))
}

async fn shown(call: &Call, application: &ServicePrincipal) -> Result<Value, GraphError> {
    let credentials = call.directory().credentials(application.object_id).await?;
    let mut shown = outline(call, application);
    credential::write(&mut shown, &credentials);
    Ok(shown)
}

fn outline(call: &Call, application: &ServicePrincipal) -> Value {
    json!({
        "id": application.app_id,
        "appId": application.app_id,
        "displayName": application.display_name,
        "identifierUris": identifier_uris(application).collect::<Vec<_>>(),
        "createdDateTime": application.standing.created,
        "publisherDomain": call.domain(),
        "signInAudience": "AzureADMyOrg",
        "isFallbackPublicClient": null,
        "api": { "requestedAccessTokenVersion": 2, "oauth2PermissionScopes": [], "preAuthorizedApplications": [] },
        "appRoles": [],
        "requiredResourceAccess": [],
        "web": { "homePageUrl": null, "logoutUrl": null, "redirectUris": application.redirect_uris },
        "publicClient": { "redirectUris": [] },
        "spa": { "redirectUris": [] },
        "tags": [],
        "notes": null,
    })
}

/// The names besides the application id.
fn identifier_uris(application: &ServicePrincipal) -> impl Iterator<Item = &str> {
    let app_id = application.app_id.to_string();
    application.service_principal_names.iter().map(String::as_str).filter(move |name| *name != app_id)
}

fn new_identifier_uris(body: Body<'_>) -> Result<Vec<String>, GraphError> {
    body.texts("identifierUris")?.into_iter().map(identifier_uri).collect()
}

fn identifier_uri(text: &str) -> Result<String, GraphError> {
    // A GUID here would take the place of somebody else's application id.
    if Uuid::try_parse(text).is_ok() || Url::parse(text).is_err() || text.len() > 255 {
        return Err(wrong("identifierUris", "URIs such as api://my-application"));
    }
    Ok(text.to_owned())
}

/// The redirect URIs that a change asks for, if it says anything about them. Platforms share one list here, which is
/// shown as that of `web`: who sends that one has seen all, who sends another one adds to it.
fn new_redirect_uris(body: Body<'_>, application: &ServicePrincipal) -> Result<Option<Vec<String>>, GraphError> {
    let mut uris = redirect_uris(body)?;
    if body.object("web")?.is_some_and(|web| web.has("redirectUris")) {
        return Ok(Some(uris));
    }
    uris.retain(|uri| !application.redirect_uris.contains(uri));
    if uris.is_empty() {
        return Ok(None);
    }
    Ok(Some(application.redirect_uris.iter().cloned().chain(uris).collect()))
}

/// Redirect URIs of every platform: they are compared exactly, whatever the platform.
fn redirect_uris(body: Body<'_>) -> Result<Vec<String>, GraphError> {
    let mut uris = Vec::new();
    for platform in PLATFORMS {
        let Some(platform) = body.object(platform)? else { continue };
        for text in platform.texts("redirectUris")? {
            uris.push(redirect_uri(text)?);
        }
    }
    Ok(uris)
}

fn redirect_uri(text: &str) -> Result<String, GraphError> {
    let rule = "https URLs, or http ones on localhost, without a fragment";
    let url = Url::parse(text).map_err(|_| wrong("redirectUris", rule))?;
    let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let safe = url.scheme() == "https" || url.scheme() == "http" && local;
    let plain = url.fragment().is_none() && url.username().is_empty();
    if safe && plain { Ok(text.to_owned()) } else { Err(wrong("redirectUris", rule)) }
}

/// The kinds of applications that redirect URIs are written down for.
const PLATFORMS: [&str; 3] = ["web", "publicClient", "spa"];
