//! The certificate authority of one Bastide.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use uuid::Uuid;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{ServerNames, TlsError, file};

/// Signs the server's certificates. Clients trust its certificate, [`Authority::certificate_file`].
///
/// Its private key never leaves its file and this value; the file must be readable by its owner alone.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The key identifier that certificates signed by this authority name as their issuer's.
    key_identifier: Vec<u8>,
    not_after: Timestamp,
    directory: PathBuf,
}

impl Authority {
    /// Opens the authority in `directory`, making it on the first call.
    ///
    /// The key is written before the certificate, so a stop between the two leaves a key without certificate, from which
    /// the next call goes on.
    pub fn open(directory: &Path, now: Timestamp) -> Result<Self, TlsError> {
        fs::create_dir_all(directory).map_err(|source| TlsError::File {
            deed: "create",
            path: directory.to_owned(),
            source,
        })?;
        let (key_path, certificate_path) = (directory.join(KEY_FILE), Self::certificate_file(directory));
        let key = match (file::read_private(&key_path)?, certificate_path.exists()) {
            (Some(pem), _) => KeyPair::from_pem(&pem).map_err(|error| TlsError::Unreadable {
                path: key_path.clone(),
                expected: "a private key in PEM",
                problem: error.to_string(),
            })?,
            (None, true) => {
                return Err(TlsError::AuthorityKeyMissing { certificate: certificate_path, key: key_path });
            }
            (None, false) => {
                let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
                file::write(&key_path, key.serialize_pem().as_bytes(), 0o600)?;
                key
            }
        };
        let pem = if let Some(pem) = file::read_optional(&certificate_path)? {
            pem
        } else {
            let pem = root_parameters(now).self_signed(&key)?.pem();
            file::write(&certificate_path, pem.as_bytes(), 0o644)?;
            pem
        };
        Self::assemble(directory, &pem, key, now)
    }

    /// Where the certificate that clients must trust is, for an authority in `directory`.
    pub fn certificate_file(directory: &Path) -> PathBuf {
        directory.join("ca.pem")
    }

    /// The directory this authority lives in.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Signs a server certificate for `names`: it and its fresh key, both as PEM text.
    pub(super) fn issue(&self, names: &ServerNames, now: Timestamp) -> Result<(String, String), TlsError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut parameters = parameters("Bastide server", now, LIFE.min(self.not_after.duration_since(now)));
        parameters.subject_alt_names = names.to_extension()?;
        parameters.is_ca = IsCa::ExplicitNoCa;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = parameters.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    /// Whether this authority, and not an earlier one, signed the certificate.
    pub(super) fn signed(&self, certificate: &X509Certificate<'_>) -> bool {
        certificate.extensions().iter().any(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(named) => {
                named.key_identifier.as_ref().is_some_and(|identifier| identifier.0 == self.key_identifier)
            }
            _ => false,
        })
    }

    fn assemble(directory: &Path, pem: &str, key: KeyPair, now: Timestamp) -> Result<Self, TlsError> {
        let path = Self::certificate_file(directory);
        let unreadable = |problem: String| TlsError::Unreadable {
            path: path.clone(),
            expected: "a certificate authority in PEM",
            problem,
        };
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| unreadable(error.to_string()))?;
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|error| unreadable(error.to_string()))?;
        if !certificate.is_ca() {
            return Err(unreadable("it is a certificate, but no authority's".to_owned()));
        }
        if certificate.public_key().raw != key.subject_public_key_info() {
            return Err(TlsError::KeyMismatch { key: directory.join(KEY_FILE), certificate: path });
        }
        let key_identifier = certificate
            .extensions()
            .iter()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
                _ => None,
            })
            .ok_or_else(|| unreadable("it has no subject key identifier".to_owned()))?;
        let not_after = Timestamp::from_second(certificate.validity().not_after.timestamp()).unwrap_or(Timestamp::MAX);
        if not_after <= now {
            return Err(TlsError::AuthorityExpired { path });
        }
        let issuer = Issuer::from_ca_cert_der(&der, key)?;
        Ok(Self { issuer, key_identifier, not_after, directory: directory.to_owned() })
    }
}

fn root_parameters(now: Timestamp) -> CertificateParams {
    let short_id = &Uuid::new_v4().simple().to_string()[..8];
    let mut parameters = parameters(&format!("Bastide CA {short_id}"), now, ROOT_LIFE);
    // One intermediate may stand under it: the unprivileged server is to get a name-constrained one.
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}

fn parameters(common_name: &str, now: Timestamp, life: SignedDuration) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let seconds = |at: Timestamp| Duration::from_secs(u64::try_from(at.as_second()).unwrap_or(0));
    // Clients' clocks may lag a little behind ours.
    parameters.not_before = epoch + seconds(now - SignedDuration::from_hours(1));
    parameters.not_after = epoch + seconds(now + life);
    // RFC 5280 section 4.2.1.1; Python 3.13 refuses chains without it.
    parameters.use_authority_key_identifier_extension = true;
    parameters
}

const KEY_FILE: &str = "ca.key";

/// How long an authority lasts: 10 years of 365 days.
const ROOT_LIFE: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);

/// How long a server certificate lasts: 90 days, renewed after 60.
const LIFE: SignedDuration = SignedDuration::from_hours(90 * 24);
