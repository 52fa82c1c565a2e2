//! `federatedIdentityCredentials` of applications: outside tokens that stand for a secret.

use bastide_identity::{Credential, CredentialProof, NewFederatedCredential, ServicePrincipal};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::application::find;
use super::body::{Body, unchanged, wrong};
use super::call::{Answer, Call};
use super::error::GraphError;

pub(super) async fn list(call: &Call, id: &str) -> Result<Answer, GraphError> {
    let application = find(call, id).await?;
    let credentials = call.directory().credentials(application.object_id).await?;
    Ok(call.collection(&context(&application), credentials.iter().filter_map(shown).collect(), None))
}

pub(super) async fn create(call: &Call, id: &str) -> Result<Answer, GraphError> {
    call.authorise("applications/credentials/write").await?;
    let application = find(call, id).await?;
    call.authorise_over("applications/credentials/write", application.object_id).await?;
    let body = Body(&call.body);
    let name = body.required("name")?;
    let fits = (3..=120).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !fits {
        return Err(wrong("name", "3 to 120 letters, digits, '-' and '_'"));
    }
    let new = NewFederatedCredential {
        service_principal: application.object_id,
        display_name: name.to_owned(),
        issuer: issuer(body.required("issuer")?)?,
        subject: body.required("subject")?.to_owned(),
        audience: audience(body)?,
    };
    if by_name(call, &application, name).await?.is_some() {
        return Err(GraphError::bad_request(format!("A federated identity credential named '{name}' already exists.")));
    }
    let credential = call.directory().add_federated_credential(new).await?;
    Ok(call.created(&context(&application), shown(&credential).unwrap_or_default()))
}

/// PATCH of whose tokens it is about; its name stays.
pub(super) async fn update(call: &Call, id: &str, name: &str) -> Result<Answer, GraphError> {
    call.authorise("applications/credentials/write").await?;
    let application = find(call, id).await?;
    call.authorise_over("applications/credentials/write", application.object_id).await?;
    let stored = by_name(call, &application, name).await?.ok_or_else(|| GraphError::not_found(name))?;
    let CredentialProof::Federated { issuer: own_issuer, subject, audience: own_audience } = stored.proof.clone()
    else {
        return Err(GraphError::not_found(name));
    };
    let body = Body(&call.body);
    unchanged("name", body.text("name")?, &stored.display_name)?;
    let new = NewFederatedCredential {
        service_principal: application.object_id,
        display_name: stored.display_name.clone(),
        issuer: body.text("issuer")?.map_or(Ok(own_issuer), issuer)?,
        subject: body.text("subject")?.filter(|text| !text.is_empty()).map_or(subject, str::to_owned),
        audience: if body.has("audiences") { audience(body)? } else { own_audience },
    };
    call.directory().replace_federated_credential(&stored, new).await?;
    Ok(Answer::done())
}

pub(super) async fn show(call: &Call, id: &str, name: &str) -> Result<Answer, GraphError> {
    let application = find(call, id).await?;
    let credential = by_name(call, &application, name).await?.ok_or_else(|| GraphError::not_found(name))?;
    Ok(call.object(&context(&application), shown(&credential).unwrap_or_default()))
}

pub(super) async fn delete(call: &Call, id: &str, name: &str) -> Result<Answer, GraphError> {
    call.authorise("applications/credentials/write").await?;
    let application = find(call, id).await?;
    call.authorise_over("applications/credentials/write", application.object_id).await?;
    let credential = by_name(call, &application, name).await?.ok_or_else(|| GraphError::not_found(name))?;
    call.directory().remove_credential(application.object_id, credential.key_id).await?;
    Ok(Answer::done())
}

fn issuer(text: &str) -> Result<String, GraphError> {
    match Url::parse(text) {
        Ok(url) if url.scheme() == "https" => Ok(text.to_owned()),
        _ => Err(wrong("issuer", "an https URL, exactly as the tokens' 'iss' says it")),
    }
}

fn audience(body: Body<'_>) -> Result<String, GraphError> {
    match body.texts("audiences")?.as_slice() {
        [audience] => Ok((*audience).to_owned()),
        _ => Err(wrong("audiences", "a list of exactly one audience")),
    }
}

/// By name or id.
async fn by_name(call: &Call, application: &ServicePrincipal, name: &str) -> Result<Option<Credential>, GraphError> {
    let id = Uuid::try_parse(name).ok();
    let credentials = call.directory().credentials(application.object_id).await?;
    Ok(credentials.into_iter().find(|credential| {
        matches!(credential.proof, CredentialProof::Federated { .. })
            && (credential.display_name.eq_ignore_ascii_case(name) || Some(credential.key_id) == id)
    }))
}

fn shown(credential: &Credential) -> Option<Value> {
    let CredentialProof::Federated { issuer, subject, audience } = &credential.proof else { return None };
    Some(json!({
        "id": credential.key_id,
        "name": credential.display_name,
        "issuer": issuer,
        "subject": subject,
        "audiences": [audience],
        "description": null,
    }))
}

fn context(application: &ServicePrincipal) -> String {
    format!("applications('{}')/federatedIdentityCredentials", application.app_id)
}
