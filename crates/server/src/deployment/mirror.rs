//! Linked templates: read from folders that stand for addresses, never from the network. An address in a template is
//! chosen by whoever wrote it; fetching it would let them reach into networks they cannot see.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use bastide_template::{Answer, Limits, relaxed};
use url::Url;

/// Folders by the address prefix they stand for.
#[derive(Debug, Clone, Default)]
pub struct Mirror(BTreeMap<String, PathBuf>);

impl Mirror {
    /// A mirror of these prefixes, each an `https` address of a folder.
    pub fn new(folders: BTreeMap<String, PathBuf>) -> Self {
        Self(folders)
    }

    /// The document that stands for an address, or a sentence why there is none.
    pub(super) async fn document(&self, uri: &str) -> Answer {
        match self.read(uri).await {
            Ok(value) => Answer::Known { value, secret: false },
            Err(reason) => Answer::Failed(reason),
        }
    }

    async fn read(&self, uri: &str) -> Result<serde_json::Value, String> {
        let refused = || {
            "Linked templates are not fetched from the network. Put the template inline, or ask the operator to mirror \
             its address to a folder."
                .to_owned()
        };
        let file = self.file(uri).ok_or_else(refused)?;
        let bytes = tokio::task::spawn_blocking(move || read_within(&file)).await.ok().flatten();
        let bytes = bytes.ok_or_else(|| format!("The mirror holds no document for '{}'.", without_query(uri)))?;
        relaxed::parse(&bytes, &Limits::default()).map_err(|error| format!("A mirrored document is wrong: {error}"))
    }

    /// The longest prefix decides.
    fn file(&self, uri: &str) -> Option<Located> {
        // Parsing resolves `..` and the encodings of letters, so that the prefix is compared with what is meant.
        let url = Url::parse(uri).ok().filter(|url| url.scheme() == "https" && url.username().is_empty())?;
        let text = without_query(url.as_str());
        let fits = |prefix: &str| {
            let rest = text.strip_prefix(prefix.trim_end_matches('/'))?.strip_prefix('/')?;
            Some(rest.to_owned())
        };
        let (folder, rest) = self.0.iter().rev().find_map(|(prefix, folder)| Some((folder, fits(prefix)?)))?;
        let rest = percent_encoding::percent_decode_str(&rest).decode_utf8().ok()?.into_owned();
        let is_plain = Path::new(&rest).components().all(|part| matches!(part, Component::Normal(_)));
        (is_plain && !rest.contains(['\\', '\0'])).then(|| Located { folder: folder.clone(), file: folder.join(rest) })
    }
}

struct Located {
    folder: PathBuf,
    file: PathBuf,
}

/// Links that lead out of the folder are not followed.
fn read_within(located: &Located) -> Option<Vec<u8>> {
    let folder = located.folder.canonicalize().ok()?;
    let file = located.file.canonicalize().ok()?;
    let fits = file.starts_with(&folder) && file.metadata().ok()?.len() <= MAX_DOCUMENT;
    fits.then(|| std::fs::read(file).ok()).flatten()
}

fn without_query(uri: &str) -> &str {
    uri.split(['?', '#']).next().unwrap_or_default()
}

/// As large as a template may be.
const MAX_DOCUMENT: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(folder: &Path) -> Mirror {
        Mirror::new(BTreeMap::from([("https://raw.example/quickstarts/".to_owned(), folder.to_owned())]))
    }

    #[tokio::test]
    async fn only_what_lies_in_a_mirrored_folder_is_read() {
        let outside = tempfile::tempdir().unwrap();
        let folder = outside.path().join("mirror");
        std::fs::create_dir_all(folder.join("nested")).unwrap();
        std::fs::write(folder.join("nested/a.json"), "{ template: 1 }").unwrap();
        std::fs::write(outside.path().join("secret.json"), "{}").unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret.json"), folder.join("link.json")).unwrap();
        let mirror = mirror(&folder);
        for uri in [
            "https://raw.example/quickstarts/nested/a.json",
            "https://raw.example/quickstarts/x/../nested/a.json?sas=1",
        ] {
            assert!(matches!(mirror.document(uri).await, Answer::Known { .. }), "{uri}");
        }
        for uri in [
            "https://raw.example/other/a.json",
            "https://raw.example/quickstarts/../secret.json",
            "https://raw.example/quickstarts/%2e%2e/secret.json",
            "https://raw.example/quickstarts/%2e%2e%2fsecret.json",
            "https://raw.example/quickstarts/..%5csecret.json",
            "https://raw.example/quickstarts//etc/passwd",
            "https://raw.example/quickstarts/link.json",
            "https://raw.example.evil/quickstarts/nested/a.json",
            "https://raw.example@evil/quickstarts/nested/a.json",
            "http://raw.example/quickstarts/nested/a.json",
            "file:///etc/passwd",
            "http://169.254.169.254/metadata",
            "",
        ] {
            assert!(matches!(mirror.document(uri).await, Answer::Failed(_)), "{uri}");
        }
    }
}
