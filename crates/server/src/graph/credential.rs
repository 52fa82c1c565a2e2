//! `passwordCredentials` and `keyCredentials` of applications and service principals.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bastide_identity::{Credential, CredentialProof, NewCertificate, ServicePrincipal};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::body::{Body, wrong};
use super::call::{Answer, Call};
use super::error::GraphError;
use super::service_principal::refuse_managed;

/// Adds both lists to an object.
pub(super) fn write(object: &mut Value, credentials: &[Credential]) {
    let Some(object) = object.as_object_mut() else { return };
    let passwords: Vec<Value> = credentials.iter().filter_map(password).collect();
    let keys: Vec<Value> = credentials.iter().filter_map(key).collect();
    object.insert("passwordCredentials".to_owned(), passwords.into());
    object.insert("keyCredentials".to_owned(), keys.into());
}

/// POST `addPassword`: the only answer that ever holds the secret.
pub(super) async fn add_password(call: &Call, owner: &ServicePrincipal) -> Result<Answer, GraphError> {
    refuse_managed(owner)?;
    let wanted = Body(&call.body).object("passwordCredential")?;
    let (name, ends) = match wanted {
        Some(wanted) => (wanted.display_name()?, wanted.time("endDateTime")?),
        None => (None, None),
    };
    let new = call.directory().add_secret(owner.object_id, name.unwrap_or_default(), ends).await?;
    let mut shown = password(&new.credential).unwrap_or_default();
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("secretText".to_owned(), new.secret.expose().into());
    }
    Ok(call.result("microsoft.graph.passwordCredential", shown))
}

/// POST `removePassword`.
pub(super) async fn remove_password(call: &Call, owner: &ServicePrincipal) -> Result<Answer, GraphError> {
    Body(&call.body).required("keyId")?;
    let key_id = Body(&call.body).id("keyId")?.unwrap_or_default();
    let credentials = call.directory().credentials(owner.object_id).await?;
    let is_it = |credential: &Credential| credential.key_id == key_id && password(credential).is_some();
    if !credentials.iter().any(is_it) {
        return Err(GraphError::bad_request(format!("No password credential found with keyId '{key_id}'.")));
    }
    call.directory().remove_credential(owner.object_id, key_id).await?;
    Ok(Answer::done())
}

/// PATCH `keyCredentials`: the list becomes what is sent. Entries with a known `keyId` and no `key` stay as they are.
pub(super) async fn replace_certificates(
    call: &Call,
    owner: &ServicePrincipal,
    body: Body<'_>,
) -> Result<(), GraphError> {
    if !body.has("keyCredentials") {
        return Ok(());
    }
    refuse_managed(owner)?;
    let new = certificates(body)?;
    let mut kept = Vec::new();
    for entry in body.objects("keyCredentials")?.into_iter().filter(|entry| !entry.has("key")) {
        kept.extend(entry.id("keyId")?);
    }
    let existing = call.directory().credentials(owner.object_id).await?;
    // First add, then remove: a refused certificate leaves the old ones in place.
    for certificate in &new {
        certificate.add(call, owner).await?;
    }
    for old in existing.iter().filter(|old| key(old).is_some() && !kept.contains(&old.key_id)) {
        call.directory().remove_credential(owner.object_id, old.key_id).await?;
    }
    Ok(())
}

/// A certificate out of `keyCredentials`.
pub(super) struct Certificate {
    display_name: String,
    der: Vec<u8>,
    expires: Option<Timestamp>,
}

impl Certificate {
    /// Lets the certificate stand for the application.
    pub(super) async fn add(&self, call: &Call, owner: &ServicePrincipal) -> Result<(), GraphError> {
        let new = NewCertificate {
            service_principal: owner.object_id,
            display_name: &self.display_name,
            der: &self.der,
            expires: self.expires,
        };
        call.directory().add_certificate(new).await?;
        Ok(())
    }
}

/// The entries of `keyCredentials` that bring a key.
pub(super) fn certificates(body: Body<'_>) -> Result<Vec<Certificate>, GraphError> {
    let mut certificates = Vec::new();
    for entry in body.objects("keyCredentials")? {
        let Some(encoded) = entry.text("key")? else { continue };
        let kind = entry.text("type")?.unwrap_or(CERTIFICATE_TYPE);
        if !kind.eq_ignore_ascii_case(CERTIFICATE_TYPE) {
            return Err(wrong("keyCredentials", "certificates: entries of type AsymmetricX509Cert"));
        }
        certificates.push(Certificate {
            display_name: entry.display_name()?.unwrap_or_default().to_owned(),
            der: der(encoded).ok_or_else(|| wrong("key", "a certificate in DER, base64 encoded"))?,
            expires: entry.time("endDateTime")?,
        });
    }
    Ok(certificates)
}

/// az sends base64 of DER, Terraform base64 of PEM.
fn der(encoded: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(without_whitespace(encoded)).ok()?;
    let Some(pem) = std::str::from_utf8(&bytes).ok().filter(|text| text.contains(PEM_BEGIN)) else {
        return Some(bytes);
    };
    let (_, rest) = pem.split_once(PEM_BEGIN)?;
    let (body, _) = rest.split_once("-----END")?;
    STANDARD.decode(without_whitespace(body)).ok()
}

fn without_whitespace(text: &str) -> String {
    text.split_ascii_whitespace().collect()
}

fn password(credential: &Credential) -> Option<Value> {
    matches!(credential.proof, CredentialProof::Secret { .. }).then(|| {
        json!({
            "customKeyIdentifier": null,
            "displayName": credential.display_name,
            "endDateTime": credential.expires,
            "hint": null,
            "keyId": credential.key_id,
            "secretText": null,
            "startDateTime": credential.created,
        })
    })
}

fn key(credential: &Credential) -> Option<Value> {
    let CredentialProof::Certificate { sha1, .. } = &credential.proof else { return None };
    Some(json!({
        "customKeyIdentifier": thumbprint(sha1),
        "displayName": credential.display_name,
        "endDateTime": credential.expires,
        // Graph shows the key itself only when asked for by name; nobody here needs it back.
        "key": null,
        "keyId": credential.key_id,
        "startDateTime": credential.created,
        "type": CERTIFICATE_TYPE,
        "usage": "Verify",
    }))
}

/// The SHA-1 thumbprint as Graph writes it: upper-case hexadecimal.
fn thumbprint(base64url: &str) -> String {
    let bytes = URL_SAFE_NO_PAD.decode(base64url).unwrap_or_default();
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02X}");
    }
    text
}

const CERTIFICATE_TYPE: &str = "AsymmetricX509Cert";
const PEM_BEGIN: &str = "-----BEGIN CERTIFICATE-----";
