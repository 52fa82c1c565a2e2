//! What the administrator has laid down about registries: in whose name they are asked, and by which authorities they are
//! known. It is read whenever one is asked, and goes to who asks, and to nobody else.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use bastide_plan::reference::Reference;
use bastide_plan::registry_access::{Credentials, RegistryAccess};
use serde::Deserialize;

use super::ImageError;
use super::cache::failed;

/// A directory, in which everything may be missing.
///
/// ```text
/// config.json            credentials, as `docker login` writes them
/// HOST[:PORT]/ca.crt     certificates in PEM, where Docker has them below `certs.d`
/// ```
#[derive(Debug)]
pub(super) struct AccessFiles {
    directory: PathBuf,
}

impl AccessFiles {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// How the registry of an image is asked for it.
    pub(super) fn access(&self, reference: &Reference) -> Result<RegistryAccess, ImageError> {
        let path = self.directory.join("config.json");
        let credentials = match private(&path)? {
            Some(text) => credentials(&text, reference)
                .map_err(|complaint| ImageError::Unable(format!("{} cannot be used: {complaint}", path.display())))?,
            None => None,
        };
        let authorities = self.directory.join(reference.registry.to_string()).join("ca.crt");
        Ok(RegistryAccess { credentials, authorities: text(&authorities)? })
    }
}

/// What is in a file that nobody but its owner, this user, may read.
fn private(path: &Path) -> Result<Option<String>, ImageError> {
    let Some(file) = opened(path)? else { return Ok(None) };
    let metadata = file.metadata().map_err(failed("read", path))?;
    if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.permissions().mode() & 0o077 != 0 {
        let path = path.display();
        return Err(ImageError::Unable(format!(
            "{path} has credentials in it and is not root's alone: run 'chown root {path}' and 'chmod 600 {path}'"
        )));
    }
    read(file, path).map(Some)
}

fn text(path: &Path) -> Result<Option<String>, ImageError> {
    opened(path)?.map(|file| read(file, path)).transpose()
}

fn opened(path: &Path) -> Result<Option<File>, ImageError> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => file.map(Some).map_err(failed("read", path)),
    }
}

fn read(file: File, path: &Path) -> Result<String, ImageError> {
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text).map_err(failed("read", path))?;
    Ok(text)
}

/// The credentials that are for an image: those of the longest name that its own begins with, as `podman` and `skopeo`
/// have it. None: the registry is asked in nobody's name.
fn credentials(config: &str, reference: &Reference) -> Result<Option<Credentials>, String> {
    // What is wrong with it is said without a word of what is in it.
    let config: Config = serde_json::from_str(config).map_err(|error| {
        format!("it is not what 'docker login' writes (line {}, column {})", error.line(), error.column())
    })?;
    let name = format!("{}/{}", reference.registry, reference.repository);
    let fits = |key: &str| key == name || name.strip_prefix(key).is_some_and(|rest| rest.starts_with('/'));
    let entries = config.auths.into_iter().map(|(key, entry)| (bare(&key), entry));
    let Some((key, entry)) = entries.filter(|(key, _)| fits(key)).max_by_key(|(key, _)| key.len()) else {
        return Ok(None);
    };
    match entry {
        Entry { identitytoken: Some(_), .. } => Err(format!(
            "for {key} it has an identity token, which is not supported. Log in with a name and a password"
        )),
        Entry { auth: Some(auth), .. } => match Credentials::try_from(auth) {
            Ok(credentials) => Ok(Some(credentials)),
            Err(complaint) => Err(format!("'auth' of {key}: {complaint}")),
        },
        Entry { auth: None, .. } => Err(format!(
            "for {key} it has no 'auth': the credentials are in a helper's keeping. Log in without 'credsStore'"
        )),
    }
}

/// `registry.example` of `https://registry.example/v1/`.
fn bare(key: &str) -> String {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let key = key.trim_end_matches('/');
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    key.to_ascii_lowercase()
}

/// The part of `config.json` that is about credentials.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    identitytoken: Option<String>,
}

const LARGEST: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const CONFIG: &str = r#"{"auths": {
        "registry.example": {"auth": "cmVhZGVyOm9uZQ=="},
        "registry.example/team": {"auth": "cmVhZGVyOnR3bw=="},
        "https://old.example/v1/": {"auth": "cmVhZGVyOm9sZA=="},
        "helped.example": {},
        "token.example": {"auth": "MDA6", "identitytoken": "eyJ"},
        "odd.example": {"auth": "a\r\nHost: b"}
    }, "HttpHeaders": {}}"#;

    #[test]
    fn credentials_are_those_of_the_longest_name_that_fits() {
        let found = |image: &str| credentials(CONFIG, &image.parse().unwrap()).unwrap().map(String::from);
        assert_eq!(found("registry.example/other/image").as_deref(), Some("cmVhZGVyOm9uZQ=="));
        assert_eq!(found("registry.example/team/image").as_deref(), Some("cmVhZGVyOnR3bw=="));
        assert_eq!(found("registry.example/teams/image").as_deref(), Some("cmVhZGVyOm9uZQ=="));
        assert_eq!(found("old.example/image").as_deref(), Some("cmVhZGVyOm9sZA=="));
        assert_eq!(found("registry.example:5000/image"), None);
        assert_eq!(found("registry.example.other.example/image"), None);
    }

    #[test]
    fn what_cannot_be_used_is_said_without_a_word_of_it() {
        let complaint = |config: &str, image: &str| credentials(config, &image.parse().unwrap()).unwrap_err();
        assert!(complaint(CONFIG, "helped.example/image").contains("without 'credsStore'"));
        assert!(complaint(CONFIG, "token.example/image").contains("identity token"));
        assert!(complaint(CONFIG, "odd.example/image").contains("no name and password in base64"));
        let broken = complaint(r#"{"auths": {"registry.example": {"auth": ["secret"]}}}"#, "registry.example/image");
        assert!(broken.contains("line 1") && !broken.contains("secret"), "{broken}");
        let found = credentials(CONFIG, &"registry.example/image".parse().unwrap()).unwrap();
        assert_eq!(format!("{found:?}"), "Some(Credentials)");
    }

    #[test]
    fn a_file_that_others_can_read_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let files = AccessFiles::new(directory.path().to_owned());
        let reference: Reference = "registry.example:5000/team/image".parse().unwrap();
        assert_eq!(files.access(&reference).unwrap(), RegistryAccess::default());
        let config = directory.path().join("config.json");
        fs::write(&config, r#"{"auths": {"registry.example:5000": {"auth": "YTpi"}}}"#).unwrap();
        for (mode, is_used) in [(0o644, false), (0o640, false), (0o600, true)] {
            fs::set_permissions(&config, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(files.access(&reference).is_ok(), is_used, "{mode:o}");
        }
        fs::create_dir(directory.path().join("registry.example:5000")).unwrap();
        fs::write(directory.path().join("registry.example:5000/ca.crt"), "certificates").unwrap();
        let access = files.access(&reference).unwrap();
        assert_eq!(access.credentials.map(String::from).as_deref(), Some("YTpi"));
        assert_eq!(access.authorities.as_deref(), Some("certificates"));
    }
}
