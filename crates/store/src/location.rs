//! Where the database is.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a store keeps its rows.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A file of this process's own, made (mode 0600) when it does not exist yet.
    Sqlite(PathBuf),
    /// The URL of a PostgreSQL database that Bastide has for itself, `postgres://user:password@host/database`.
    Postgres(String),
}

impl FromStr for Location {
    type Err = Infallible;

    /// A `postgres://` or `postgresql://` URL names a server, everything else a file.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        Ok(match scheme.as_deref() {
            Some("postgres" | "postgresql") => Self::Postgres(text.to_owned()),
            _ => Self::Sqlite(PathBuf::from(text)),
        })
    }
}

impl fmt::Debug for Location {
    /// Never prints the URL of a server: it may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres(_) => f.write_str("Postgres(..)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_url_names_a_server_and_a_path_a_file() {
        for url in ["postgres://db/bastide", "PostgreSQL://db/bastide"] {
            assert_eq!(url.parse(), Ok(Location::Postgres(url.to_owned())));
        }
        assert_eq!("/var/lib/bastide/x.db".parse(), Ok(Location::Sqlite("/var/lib/bastide/x.db".into())));
    }

    #[test]
    fn debug_output_hides_the_password() {
        let location = Location::Postgres("postgres://admin:hunter2@db/bastide".to_owned());
        assert!(!format!("{location:?}").contains("hunter2"));
    }
}
