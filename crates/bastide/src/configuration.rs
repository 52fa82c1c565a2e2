//! What the operator wants: flags, then the environment, then `bastide.toml`, then defaults.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bastide_identity::TrustedIssuer;
use bastide_plan::reference::Registry;
use bastide_server::AuditSettings;
use bastide_server::origin::{Origin, OriginError, Origins};
use clap::{Args, ValueEnum};
use ipnet::Ipv4Net;
use jiff::SignedDuration;
use serde::Deserialize;
use url::Url;

use crate::address::{AddressError, ListenAddress};
use crate::data_directory::{DataDirectory, DataDirectoryError};
use crate::logging::LogFormat;

/// Everything that one source (flags and environment, or the file) says; what it does not say is `None`.
///
/// One list for both, so that a setting cannot exist in one and be forgotten in the other.
#[derive(Debug, Clone, Default, PartialEq, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Given {
    /// Where everything is kept [default: /var/lib/bastide for root, else ~/.local/share/bastide].
    #[arg(long, env = "BASTIDE_DATA_DIR", hide_env_values = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:8443].
    #[arg(long, env = "BASTIDE_LISTEN", hide_env_values = true, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
    /// What enforces the hubs' networks: this host's kernel, or nothing (for hosts that cannot) [default: kernel].
    #[arg(long, env = "BASTIDE_NETWORK", hide_env_values = true, value_name = "MODE")]
    pub(crate) network: Option<Network>,
    /// The resolver behind the hubs' resolvers [default: the host's].
    #[arg(long, env = "BASTIDE_UPSTREAM_DNS", hide_env_values = true, value_name = "HOST:PORT")]
    pub(crate) upstream_dns: Option<String>,
    /// Private addresses that hubs may reach as if they were on the internet, CIDR; every status names them.
    #[arg(
        long = "internet-range",
        env = "BASTIDE_INTERNET_RANGES",
        hide_env_values = true,
        value_name = "CIDR",
        value_delimiter = ','
    )]
    pub(crate) internet_ranges: Option<Vec<Ipv4Net>>,
    /// Registries that images of computes are pulled from, past the hubs' walls; none without it.
    #[arg(
        long = "image-registry",
        env = "BASTIDE_IMAGE_REGISTRIES",
        hide_env_values = true,
        value_name = "HOST",
        value_delimiter = ','
    )]
    pub(crate) image_registries: Option<Vec<Registry>>,
    /// A certificate chain in PEM to present instead of one from Bastide's own authority.
    #[arg(long, env = "BASTIDE_TLS_CERT", hide_env_values = true, value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert, in PEM.
    #[arg(long, env = "BASTIDE_TLS_KEY", hide_env_values = true, value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// A PostgreSQL database instead of the embedded one, `postgres://USER:PASSWORD@HOST/NAME`.
    #[arg(long, env = "BASTIDE_DATABASE", hide_env_values = true, value_name = "URL")]
    pub(crate) database: Option<String>,
    /// The address clients use, when it is not the one listened on, `https://HOST[:PORT]`.
    #[arg(long, env = "BASTIDE_PUBLIC_ORIGIN", hide_env_values = true, value_name = "URL")]
    pub(crate) public_origin: Option<String>,
    /// The address computes inside hubs use.
    #[arg(long, env = "BASTIDE_INTERNAL_ORIGIN", hide_env_values = true, value_name = "URL")]
    pub(crate) internal_origin: Option<String>,
    /// The DNS zone under which services have names, such as NAME.vault.ZONE [default: bastide.localhost].
    #[arg(long, env = "BASTIDE_ZONE", hide_env_values = true)]
    pub(crate) zone: Option<String>,
    /// Whether limits of the cloud that are only limits are lifted (native) or kept (strict) [default: native].
    #[arg(long, env = "BASTIDE_PARITY", hide_env_values = true, value_name = "KIND")]
    pub(crate) parity: Option<Parity>,
    /// Store resources of types nobody implements; their answers say so.
    #[arg(long, env = "BASTIDE_GENERIC_RESOURCES", hide_env_values = true, value_name = "BOOL",
          num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) generic_resources: Option<bool>,
    /// Let people log in with 'az login -u NAME -p PASSWORD', which sends the password through the client.
    #[arg(long, env = "BASTIDE_ALLOW_PASSWORD_GRANT", hide_env_values = true, value_name = "BOOL",
          num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) allow_password_grant: Option<bool>,
    /// For how many days audit entries are kept; what is older is cut off behind a signed checkpoint [default: for ever].
    #[arg(long, env = "BASTIDE_AUDIT_RETENTION_DAYS", hide_env_values = true, value_name = "DAYS")]
    pub(crate) audit_retention_days: Option<u32>,
    /// Mebibytes of what happened at the wall that are kept for each hub; the oldest go first [default: 256].
    #[arg(long, env = "BASTIDE_FLOW_LOG_MIB", hide_env_values = true, value_name = "MIB")]
    pub(crate) flow_log_mib: Option<u32>,
    /// For how many days what happened at the wall is kept, at most [default: 30].
    #[arg(long, env = "BASTIDE_FLOW_LOG_DAYS", hide_env_values = true, value_name = "DAYS")]
    pub(crate) flow_log_days: Option<u32>,
    /// Files that each signed checkpoint of the audit chain is appended to; in the file only.
    #[arg(skip)]
    pub(crate) audit_checkpoint_copies: Option<Vec<PathBuf>>,
    /// How log lines look [default: text].
    #[arg(long, env = "BASTIDE_LOG_FORMAT", hide_env_values = true, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    /// Outside token issuers that federated credentials may name; in the file only.
    #[arg(skip)]
    pub(crate) trusted_issuers: Option<Vec<GivenIssuer>>,
    /// Folders that stand for the addresses of linked templates, by address prefix; in the file only.
    #[arg(skip)]
    pub(crate) template_mirror: Option<BTreeMap<String, PathBuf>>,
}

/// An outside token issuer, as the file writes it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct GivenIssuer {
    issuer: String,
    jwks_uri: Option<String>,
}

/// What enforces the hubs' networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Network {
    /// This host's kernel.
    #[default]
    Kernel,
    /// Nothing; every status says so.
    Simulated,
}

/// How close to the cloud's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Parity {
    /// Limits without a reason are lifted.
    #[default]
    Native,
    /// What the cloud refuses is refused.
    Strict,
}

impl From<Parity> for bastide_arm::resource_type::Parity {
    fn from(parity: Parity) -> Self {
        match parity {
            Parity::Native => Self::Native,
            Parity::Strict => Self::Strict,
        }
    }
}

/// The settings in force.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Configuration {
    pub(crate) data_directory: PathBuf,
    pub(crate) listen: ListenAddress,
    pub(crate) network: Network,
    /// The resolver behind the hubs' resolvers; `None` is the host's.
    pub(crate) upstream_dns: Option<SocketAddr>,
    pub(crate) internet_ranges: Vec<Ipv4Net>,
    pub(crate) image_registries: Vec<Registry>,
    pub(crate) flow_log_mib: u32,
    pub(crate) flow_log_days: u32,
    pub(crate) certificate: Option<CertificateFiles>,
    /// A database URL; `None` is the embedded one.
    pub(crate) database: Option<String>,
    pub(crate) public_origin: Option<Origin>,
    pub(crate) internal_origin: Option<Origin>,
    pub(crate) zone: String,
    pub(crate) parity: Parity,
    pub(crate) generic_resources: bool,
    pub(crate) allow_password_grant: bool,
    pub(crate) audit: AuditSettings,
    pub(crate) log_format: LogFormat,
    pub(crate) trusted_issuers: Vec<TrustedIssuer>,
    pub(crate) template_mirror: BTreeMap<String, PathBuf>,
}

/// A certificate and its key, of the operator's own.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CertificateFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Configuration {
    /// The origins of a server that is bound to this address.
    pub(crate) fn origins(&self, bound: SocketAddr) -> Result<Origins, AddressError> {
        let host_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let (public, internal) = (self.public_origin.as_ref(), self.internal_origin.as_ref());
        self.listen.origins(bound, Some(&host_name), public, internal, &self.zone)
    }
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigurationError {
    #[error("cannot read the settings in {}: {source}", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}{place}: {problem}", .path.display())]
    Malformed { path: PathBuf, place: String, problem: String },
    #[error("{}: 'data-dir' cannot be set in the data directory's own file: it is already found", .0.display())]
    DataDirectoryInside(PathBuf),
    #[error("{0} is given without {1}: a certificate and its key come together")]
    HalfCertificate(&'static str, &'static str),
    #[error("'{0}' is not a database: give postgres://USER:PASSWORD@HOST/NAME, or nothing for the embedded one")]
    Database(String),
    #[error("'{0}' is not a DNS zone, such as ai.example.org")]
    Zone(String),
    #[error("'{0}' cannot begin the address of a linked template: give an https URL, such as https://host/folder")]
    TemplateMirror(String),
    #[error("'{0}' cannot be a trusted issuer or its keys: both are https URLs")]
    Issuer(String),
    #[error("'{0}' is not HOST:PORT of a resolver")]
    UpstreamDns(String),
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Origin(#[from] OriginError),
    #[error(transparent)]
    DataDirectory(#[from] DataDirectoryError),
}

impl Given {
    /// What this source says, and where it says nothing, what `other` says.
    fn or(self, other: Self) -> Self {
        Self {
            data_dir: self.data_dir.or(other.data_dir),
            listen: self.listen.or(other.listen),
            network: self.network.or(other.network),
            upstream_dns: self.upstream_dns.or(other.upstream_dns),
            internet_ranges: self.internet_ranges.or(other.internet_ranges),
            image_registries: self.image_registries.or(other.image_registries),
            tls_cert: self.tls_cert.or(other.tls_cert),
            tls_key: self.tls_key.or(other.tls_key),
            database: self.database.or(other.database),
            public_origin: self.public_origin.or(other.public_origin),
            internal_origin: self.internal_origin.or(other.internal_origin),
            zone: self.zone.or(other.zone),
            parity: self.parity.or(other.parity),
            generic_resources: self.generic_resources.or(other.generic_resources),
            allow_password_grant: self.allow_password_grant.or(other.allow_password_grant),
            audit_retention_days: self.audit_retention_days.or(other.audit_retention_days),
            flow_log_mib: self.flow_log_mib.or(other.flow_log_mib),
            flow_log_days: self.flow_log_days.or(other.flow_log_days),
            audit_checkpoint_copies: self.audit_checkpoint_copies.or(other.audit_checkpoint_copies),
            log_format: self.log_format.or(other.log_format),
            trusted_issuers: self.trusted_issuers.or(other.trusted_issuers),
            template_mirror: self.template_mirror.or(other.template_mirror),
        }
    }

    /// Reads a settings file; an unknown key is an error that names it.
    fn read(path: &Path) -> Result<Self, ConfigurationError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigurationError::Unreadable { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|error| {
            let line = error.span().map(|span| text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1);
            ConfigurationError::Malformed {
                path: path.to_owned(),
                place: line.map(|line| format!(" line {line}")).unwrap_or_default(),
                problem: error.message().replace("unknown field", "unknown key"),
            }
        })
    }
}

impl Configuration {
    /// The settings from `flags` (which hold the environment's too), and from the file `config`, or else from
    /// `bastide.toml` in the data directory when there is one.
    pub(crate) fn read(flags: Given, config: Option<&Path>) -> Result<Self, ConfigurationError> {
        if let Some(path) = config {
            return Self::resolve(flags.or(Given::read(path)?));
        }
        let directory = data_directory(flags.data_dir.as_ref())?;
        let path = directory.join("bastide.toml");
        if !path.exists() {
            return Self::resolve(flags);
        }
        let file = Given::read(&path)?;
        if file.data_dir.is_some() {
            return Err(ConfigurationError::DataDirectoryInside(path));
        }
        Self::resolve(flags.or(file))
    }

    fn resolve(given: Given) -> Result<Self, ConfigurationError> {
        let upstream_dns = given.upstream_dns.map(|text| {
            let address = text.parse::<ListenAddress>().map_err(|_| ConfigurationError::UpstreamDns(text))?;
            Ok::<_, ConfigurationError>(address.resolve()?)
        });
        Ok(Self {
            data_directory: data_directory(given.data_dir.as_ref())?,
            listen: given.listen.map(|text| text.parse()).transpose()?.unwrap_or_default(),
            network: given.network.unwrap_or_default(),
            upstream_dns: upstream_dns.transpose()?,
            internet_ranges: given.internet_ranges.unwrap_or_default(),
            image_registries: given.image_registries.unwrap_or_default(),
            flow_log_mib: given.flow_log_mib.unwrap_or(FLOW_LOG_MIB),
            flow_log_days: given.flow_log_days.unwrap_or(FLOW_LOG_DAYS),
            certificate: certificate(given.tls_cert, given.tls_key)?,
            database: given.database.map(database).transpose()?,
            public_origin: given.public_origin.map(|text| Origin::parse(&text)).transpose()?,
            internal_origin: given.internal_origin.map(|text| Origin::parse(&text)).transpose()?,
            zone: given.zone.map(zone).transpose()?.unwrap_or_else(|| "bastide.localhost".to_owned()),
            parity: given.parity.unwrap_or_default(),
            generic_resources: given.generic_resources.unwrap_or(false),
            allow_password_grant: given.allow_password_grant.unwrap_or(false),
            audit: AuditSettings {
                retention: given.audit_retention_days.map(|days| SignedDuration::from_hours(i64::from(days) * 24)),
                copies: given.audit_checkpoint_copies.unwrap_or_default(),
            },
            log_format: given.log_format.unwrap_or_default(),
            trusted_issuers: given
                .trusted_issuers
                .into_iter()
                .flatten()
                .map(trusted_issuer)
                .collect::<Result<_, _>>()?,
            template_mirror: template_mirror(given.template_mirror.unwrap_or_default())?,
        })
    }
}

/// How much of what happened at the wall is kept, unless somebody says otherwise.
pub(crate) const FLOW_LOG_MIB: u32 = 256;
/// For how long.
pub(crate) const FLOW_LOG_DAYS: u32 = 30;

fn data_directory(named: Option<&PathBuf>) -> Result<PathBuf, DataDirectoryError> {
    named.map_or_else(DataDirectory::default_path, |directory| Ok(directory.clone()))
}

/// Prefixes that no https address could begin with would silently mirror nothing.
fn template_mirror(folders: BTreeMap<String, PathBuf>) -> Result<BTreeMap<String, PathBuf>, ConfigurationError> {
    match folders.keys().find(|prefix| !prefix.starts_with("https://")) {
        Some(prefix) => Err(ConfigurationError::TemplateMirror(prefix.clone())),
        None => Ok(folders),
    }
}

fn certificate(
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<Option<CertificateFiles>, ConfigurationError> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(CertificateFiles { certificate, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(ConfigurationError::HalfCertificate("--tls-cert", "--tls-key")),
        (None, Some(_)) => Err(ConfigurationError::HalfCertificate("--tls-key", "--tls-cert")),
    }
}

fn database(text: String) -> Result<String, ConfigurationError> {
    match text.split_once("://") {
        Some(("postgres" | "postgresql", _)) => Ok(text),
        // What stands after the scheme may hold a password.
        Some((scheme, _)) => Err(ConfigurationError::Database(format!("{scheme}://..."))),
        None => Err(ConfigurationError::Database(text)),
    }
}

fn trusted_issuer(given: GivenIssuer) -> Result<TrustedIssuer, ConfigurationError> {
    let https = |text: &str| Url::parse(text).ok().filter(|url| url.scheme() == "https");
    let refuse = |text: &str| ConfigurationError::Issuer(text.to_owned());
    https(&given.issuer).ok_or_else(|| refuse(&given.issuer))?;
    let jwks_uri = given.jwks_uri.map(|text| https(&text).ok_or_else(|| refuse(&text))).transpose()?;
    Ok(TrustedIssuer { issuer: given.issuer, jwks_uri })
}

fn zone(text: String) -> Result<String, ConfigurationError> {
    let zone = text.trim_matches('.').to_ascii_lowercase();
    let is_name =
        bastide_server::tls::ServerNames::loopback().insert(&zone) && zone.parse::<std::net::IpAddr>().is_err();
    if is_name && !zone.starts_with('*') { Ok(zone) } else { Err(ConfigurationError::Zone(text)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the settings in a file of this text, below these flags.
    fn read(flags: Given, text: &str) -> Result<Configuration, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("settings.toml");
        fs::write(&path, text).unwrap();
        let flags = Given { data_dir: flags.data_dir.or(Some("/data".into())), ..flags };
        Configuration::read(flags, Some(&path)).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_override_the_file_and_the_file_the_defaults() {
        let flags = Given { zone: Some("flag.test".to_owned()), ..Given::default() };
        let text = "zone = 'file.test'\nparity = 'strict'\ngeneric-resources = true";
        let configuration = read(flags, text).unwrap();
        assert_eq!(configuration.zone, "flag.test");
        assert_eq!(configuration.parity, Parity::Strict);
        assert!(configuration.generic_resources);
        assert_eq!(configuration.listen, ListenAddress::default());
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let refusal = read(Given::default(), "zone = 'a.test'\n\nlisten-on = 'x'").unwrap_err();
        assert!(refusal.contains("settings.toml line 3: unknown key `listen-on`"), "{refusal}");
    }

    #[test]
    fn the_file_in_the_data_directory_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let flags = Given { data_dir: Some(directory.path().to_owned()), ..Given::default() };
        let zone = |flags: &Given| Configuration::read(flags.clone(), None).map(|configuration| configuration.zone);
        assert_eq!(zone(&flags).unwrap(), "bastide.localhost");
        fs::write(directory.path().join("bastide.toml"), "zone = 'mine.test'").unwrap();
        assert_eq!(zone(&flags).unwrap(), "mine.test");
        fs::write(directory.path().join("bastide.toml"), "data-dir = '/elsewhere'").unwrap();
        assert!(zone(&flags).is_err(), "it would point away from itself");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, names) in [
            ("tls-cert = 'a.pem'", "--tls-key"),
            ("database = 'mysql://root:hunter2@h/d'", "postgres://"),
            ("public-origin = 'http://hub.example.org'", "https://"),
            ("zone = '10.0.0.1'", "DNS zone"),
            ("zone = '*.a.test'", "DNS zone"),
            ("listen = '8443'", "HOST:PORT"),
            ("upstream-dns = 'dns'", "resolver"),
            ("trusted-issuers = [{ issuer = 'http://idp.test' }]", "https"),
            ("trusted-issuers = [{ isuer = 'https://idp.test' }]", "unknown key `isuer`"),
            ("template-mirror = { 'http://mirror.test' = '/srv' }", "https"),
            ("network = 'none'", "kernel"),
            ("generic-resources = 'yes'", "boolean"),
        ] {
            let refusal = read(Given::default(), text).unwrap_err();
            assert!(refusal.contains(names), "{text}: {refusal}");
            assert!(!refusal.contains("hunter2"), "{refusal}");
        }
    }
}
