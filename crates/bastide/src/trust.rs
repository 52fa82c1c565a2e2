//! The bundle of certificates that clients are given.
//!
//! The variables that clients read (`REQUESTS_CA_BUNDLE`, `SSL_CERT_FILE`) replace what they trust otherwise. Were they to
//! name our certificate alone, `pip install` in the same shell would fail; so the bundle holds the system's roots too.

use std::fs;
use std::io;
use std::path::Path;

use bastide_server::tls::{Authority, write_atomically};

use crate::configuration::Configuration;
use crate::data_directory::DataDirectory;

/// Writes the bundle of a Bastide with these settings. A certificate of the operator's may be signed by anyone: the bundle
/// holds its chain and whom the system trusts.
pub(crate) fn write_for(configuration: &Configuration, directory: &DataDirectory) -> io::Result<()> {
    let authority = Authority::certificate_file(&directory.pki());
    let presented = configuration.certificate.as_ref();
    let bundle = DataDirectory::trust_file(directory.path());
    write(&bundle, presented.map_or(&authority, |files| &files.certificate))
}

/// Writes `ours` (a PEM file) and the system's roots, where there are any, to `bundle`.
fn write(bundle: &Path, ours: &Path) -> io::Result<()> {
    let ours = fs::read_to_string(ours)?;
    let roots = SYSTEM_ROOTS.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    if let Some(directory) = bundle.parent() {
        fs::create_dir_all(directory)?;
    }
    write_atomically(bundle, format!("{}\n{roots}", ours.trim_end()).as_bytes(), 0o644)
}

/// Where Debian, Fedora and SUSE (in this order) keep the roots their programs trust.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];
