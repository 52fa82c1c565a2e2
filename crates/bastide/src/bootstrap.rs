//! `bootstrap.json`: how to reach a new Bastide as its first client and as its first person.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bastide_server::tls::write_atomically;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What the file holds. It has no `Debug`: two of the fields are secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Bootstrap {
    /// The canonical origin, without a trailing slash.
    pub(crate) endpoint: String,
    /// The certificate to trust, an absolute path.
    pub(crate) ca_file: PathBuf,
    pub(crate) tenant_id: Uuid,
    pub(crate) subscription_id: Uuid,
    /// The bootstrap client: Owner of the subscription.
    pub(crate) client_id: Uuid,
    pub(crate) client_secret: String,
    pub(crate) portal_url: String,
    /// The first person: Owner of the tenant.
    pub(crate) admin_user: String,
    pub(crate) admin_password: String,
}

/// `bootstrap.json` cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootstrapError {
    #[error("cannot {deed} {}: {source}", .path.display())]
    File { deed: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is not a bootstrap file: {source}", .path.display())]
    Malformed { path: PathBuf, source: serde_json::Error },
}

impl Bootstrap {
    /// The file in a data directory.
    pub(crate) fn file(data_directory: &Path) -> PathBuf {
        data_directory.join("bootstrap.json")
    }

    /// Reads a bootstrap file; `None` when there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, BootstrapError> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(BootstrapError::File { deed: "read", path: path.to_owned(), source }),
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|source| BootstrapError::Malformed { path: path.to_owned(), source })
    }

    /// Writes it, readable by its owner alone.
    pub(crate) fn write(&self, path: &Path) -> Result<(), BootstrapError> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|source| BootstrapError::Malformed { path: path.to_owned(), source })?;
        write_atomically(path, format!("{text}\n").as_bytes(), 0o600).map_err(|source| BootstrapError::File {
            deed: "write",
            path: path.to_owned(),
            source,
        })
    }
}
