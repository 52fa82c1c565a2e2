//! How a service principal proves who it is: secrets, certificates, and tokens of outside issuers.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bastide_store::{Change, Expectation, RecordQuery};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{CREDENTIAL, Directory, ServicePrincipal, ServicePrincipalType, absent, put_record};
use crate::error::IdentityError;
use crate::secret::{Secret, fingerprint};

impl Directory {
    /// Adds a secret. It is random, shown only here, and stored as a fingerprint.
    pub async fn add_secret(
        &self,
        service_principal: Uuid,
        display_name: &str,
        expires: Option<Timestamp>,
    ) -> Result<NewSecret, IdentityError> {
        let new = self.secret(display_name, expires)?;
        self.add(service_principal, &new.credential).await?;
        Ok(new)
    }

    /// Adds a certificate by its DER. It counts until the earlier of its own end and `expires`.
    pub async fn add_certificate(&self, new: NewCertificate<'_>) -> Result<Credential, IdentityError> {
        let invalid = |rule| IdentityError::Invalid { what: "certificate", rule };
        let (rest, certificate) =
            X509Certificate::from_der(new.der).map_err(|_| invalid("must be one X.509 certificate in DER"))?;
        if !rest.is_empty() {
            return Err(invalid("must be one X.509 certificate in DER"));
        }
        let public_key = certificate.public_key();
        if !matches!(public_key.parsed(), Ok(x509_parser::public_key::PublicKey::RSA(ref key)) if key.key_size() >= 2048)
        {
            return Err(invalid("must hold an RSA key of at least 2048 bits"));
        }
        let not_after = Timestamp::from_second(certificate.validity().not_after.timestamp())
            .map_err(|_| invalid("must end at a time that can be represented"))?;
        let credential = Credential {
            key_id: Uuid::new_v4(),
            display_name: new.display_name.to_owned(),
            created: self.clock.now(),
            expires: Some(new.expires.map_or(not_after, |expires| expires.min(not_after))),
            proof: CredentialProof::Certificate {
                sha1: URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, new.der)),
                sha256: URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, new.der)),
                rsa_public_key: STANDARD.encode(&public_key.subject_public_key.data),
            },
        };
        self.add(new.service_principal, &credential).await?;
        Ok(credential)
    }

    /// Lets tokens of a trusted outside issuer stand for the service principal or managed identity.
    ///
    /// Issuer, subject and audience are compared exactly; issuer and subject must be unique for the principal.
    pub async fn add_federated_credential(&self, new: NewFederatedCredential) -> Result<Credential, IdentityError> {
        let NewFederatedCredential { service_principal, display_name, issuer, subject, audience } = new;
        let key_id = federated_credential(service_principal, &issuer, &subject);
        let credential = Credential {
            key_id,
            display_name,
            created: self.clock.now(),
            expires: None,
            proof: CredentialProof::Federated { issuer, subject, audience },
        };
        let expect = vec![Expectation::RecordAbsent { kind: CREDENTIAL.into(), key: key_id.to_string() }];
        let object = self.required(service_principal).await?;
        object.as_service_principal().ok_or_else(|| absent("service principal", service_principal))?;
        let changes = vec![credential.put(service_principal)];
        self.commit_about(CREATE, service_principal, Some(("credential", key_id)), expect, changes).await?;
        Ok(credential)
    }

    /// Puts a federated credential in the place of another one of the same principal.
    pub async fn replace_federated_credential(
        &self,
        old: &Credential,
        new: NewFederatedCredential,
    ) -> Result<Credential, IdentityError> {
        let NewFederatedCredential { service_principal, display_name, issuer, subject, audience } = new;
        let key_id = federated_credential(service_principal, &issuer, &subject);
        let proof = CredentialProof::Federated { issuer, subject, audience };
        let credential = Credential { key_id, display_name, proof, ..old.clone() };
        let key = |id: Uuid| (CREDENTIAL.to_owned(), id.to_string());
        let (mut expect, mut changes) = (Vec::new(), vec![credential.put(service_principal)]);
        if key_id != old.key_id {
            let (kind, key_of_new) = key(key_id);
            expect.push(Expectation::RecordAbsent { kind, key: key_of_new });
            let (kind, key_of_old) = key(old.key_id);
            changes.push(Change::DeleteRecord { kind, key: key_of_old });
        }
        self.commit_about("credentials/update", service_principal, Some(("credential", key_id)), expect, changes)
            .await?;
        Ok(credential)
    }

    /// What a write must contain so that tokens of a trusted outside issuer stand for the managed identity. The name tells
    /// it from others of the identity: a second one of that name takes its place.
    pub fn issuer_trust(&self, new: NewFederatedCredential) -> Change {
        let NewFederatedCredential { service_principal, display_name, issuer, subject, audience } = new;
        let credential = Credential {
            key_id: named_credential(service_principal, &display_name),
            display_name,
            created: self.clock.now(),
            expires: None,
            proof: CredentialProof::Federated { issuer, subject, audience },
        };
        credential.put(service_principal)
    }

    /// What a write must contain to end the trust of that name.
    pub fn issuer_distrust(service_principal: Uuid, name: &str) -> Change {
        Change::DeleteRecord { kind: CREDENTIAL.into(), key: named_credential(service_principal, name).to_string() }
    }

    /// The credentials of a service principal, expired ones too.
    pub async fn credentials(&self, service_principal: Uuid) -> Result<Vec<Credential>, IdentityError> {
        let query = RecordQuery {
            kind: CREDENTIAL.into(),
            owner: Some(service_principal.to_string()),
            now: self.clock.now(),
            after: None,
            limit: MOST_CREDENTIALS,
        };
        let read = |record: bastide_store::Record| {
            let damaged = |_| IdentityError::Damaged { kind: CREDENTIAL, key: record.key };
            serde_json::from_value(record.body).map_err(damaged)
        };
        self.store.records(&query).await?.into_iter().map(read).collect()
    }

    /// Removes a credential; what was proved with it before stays valid until it expires.
    pub async fn remove_credential(&self, service_principal: Uuid, key_id: Uuid) -> Result<(), IdentityError> {
        if !self.credentials(service_principal).await?.iter().any(|credential| credential.key_id == key_id) {
            return Err(absent("credential", key_id));
        }
        let change = Change::DeleteRecord { kind: CREDENTIAL.into(), key: key_id.to_string() };
        self.commit_about(
            "credentials/delete",
            service_principal,
            Some(("credential", key_id)),
            Vec::new(),
            vec![change],
        )
        .await
    }

    /// A new secret, for a write of the caller's own.
    pub(crate) fn secret(&self, display_name: &str, expires: Option<Timestamp>) -> Result<NewSecret, IdentityError> {
        let secret = Secret::generate(SECRET_PREFIX)?;
        let credential = Credential {
            key_id: Uuid::new_v4(),
            display_name: display_name.to_owned(),
            created: self.clock.now(),
            expires,
            proof: CredentialProof::Secret { fingerprint: fingerprint(CREDENTIAL, secret.expose()) },
        };
        Ok(NewSecret { credential, secret })
    }

    async fn add(&self, service_principal: Uuid, credential: &Credential) -> Result<(), IdentityError> {
        let object = self.required(service_principal).await?;
        object
            .as_service_principal()
            .filter(|object| ServicePrincipal::may_have_secrets(object))
            .ok_or_else(|| absent("application", service_principal))?;
        if self.credentials(service_principal).await?.len() >= MOST_CREDENTIALS as usize {
            let rule = "a service principal has at most 100; remove old ones first";
            return Err(IdentityError::Invalid { what: "credentials", rule });
        }
        let about = Some(("credential", credential.key_id));
        let changes = vec![credential.put(service_principal)];
        self.commit_about(CREATE, service_principal, about, Vec::new(), changes).await
    }
}

impl ServicePrincipal {
    fn may_have_secrets(&self) -> bool {
        self.service_principal_type == ServicePrincipalType::Application
    }
}

/// A credential as stored: nothing in it proves anything by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credential {
    /// Names the credential.
    pub key_id: Uuid,
    /// What people call it.
    pub display_name: String,
    /// When it was added.
    pub created: Timestamp,
    /// From when on it no longer counts.
    pub expires: Option<Timestamp>,
    /// What it compares with.
    pub proof: CredentialProof,
}

impl Credential {
    /// Whether its time is over.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether this is the credential of that secret, found out in the same time either way.
    pub(crate) fn fits(&self, secret: &Secret) -> bool {
        match &self.proof {
            CredentialProof::Secret { fingerprint: stored } => {
                stored.as_bytes().ct_eq(fingerprint(CREDENTIAL, secret.expose()).as_bytes()).into()
            }
            _ => false,
        }
    }

    pub(crate) fn put(&self, service_principal: Uuid) -> Change {
        put_record(CREDENTIAL, self.key_id.to_string(), Some(service_principal.to_string()), json!(self))
    }
}

/// What a credential compares with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum CredentialProof {
    /// The fingerprint of a generated secret.
    Secret {
        /// SHA-256, base64url.
        fingerprint: String,
    },
    /// A certificate whose key signs assertions.
    Certificate {
        /// The SHA-1 thumbprint, base64url: what `x5t` names.
        sha1: String,
        /// The SHA-256 thumbprint, base64url: what `x5t#S256` names.
        sha256: String,
        /// The RSA public key (PKCS #1 DER), base64.
        rsa_public_key: String,
    },
    /// Tokens of an outside issuer.
    Federated {
        /// Exactly their `iss`.
        issuer: String,
        /// Exactly their `sub`.
        subject: String,
        /// One of their `aud`, usually `api://AzureADTokenExchange`.
        audience: String,
    },
}

/// A secret that was just made.
#[derive(Debug, Clone)]
pub struct NewSecret {
    /// What is stored of it.
    pub credential: Credential,
    /// The secret itself.
    pub secret: Secret,
}

/// A certificate to add.
#[derive(Debug, Clone, Copy)]
pub struct NewCertificate<'a> {
    /// The object id it is for.
    pub service_principal: Uuid,
    /// What people call it.
    pub display_name: &'a str,
    /// The certificate, DER.
    pub der: &'a [u8],
    /// An end before its own.
    pub expires: Option<Timestamp>,
}

/// A federated credential to add.
#[derive(Debug, Clone)]
pub struct NewFederatedCredential {
    /// The object id it is for.
    pub service_principal: Uuid,
    /// What people call it.
    pub display_name: String,
    /// Exactly the `iss` of the tokens.
    pub issuer: String,
    /// Exactly their `sub`.
    pub subject: String,
    /// One of their `aud`.
    pub audience: String,
}

/// The id of an application's federated credential. It follows from what must be unique, so that of two writers at the
/// same time one is refused.
fn federated_credential(service_principal: Uuid, issuer: &str, subject: &str) -> Uuid {
    Uuid::new_v5(&service_principal, format!("{issuer}\0{subject}").as_bytes())
}

/// The id of the credential that a managed identity has under a name, which has no case.
fn named_credential(service_principal: Uuid, name: &str) -> Uuid {
    Uuid::new_v5(&service_principal, format!("name\0{}", name.to_ascii_lowercase()).as_bytes())
}

const CREATE: &str = "credentials/create";
const SECRET_PREFIX: &str = "bst_";
const MOST_CREDENTIALS: u32 = 100;
