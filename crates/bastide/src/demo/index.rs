//! Where this host gets its Python packages from.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use url::Url;

/// An index of Python packages.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Index {
    /// Its address, when it is not pip's own default.
    address: Option<String>,
    hosts: Vec<String>,
}

impl Index {
    /// What pip is told on this host, by its files or by the environment; pip's default where it is told nothing.
    pub(super) fn of_host() -> Self {
        let listed = Command::new("pip3").args(["config", "list"]).stdin(Stdio::null()).stderr(Stdio::null()).output();
        let listed = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let told = std::env::var("PIP_INDEX_URL").ok().filter(|address| !address.is_empty());
        Self::read(told.as_deref(), &listed)
    }

    fn read(told: Option<&str>, listed: &str) -> Self {
        let lines = listed.lines().rev().filter_map(|line| line.split_once('='));
        let mut own = lines.filter(|(name, _)| name.ends_with(".index-url")).map(|(_, value)| value.trim_matches('\''));
        let address = told.or_else(|| own.next());
        let host = address.and_then(|address| Url::parse(address).ok()?.host_str().map(str::to_owned));
        match (address, host) {
            (Some(address), Some(host)) => Self { address: Some(address.to_owned()), hosts: vec![host] },
            _ => Self { address: None, hosts: DEFAULT.map(str::to_owned).to_vec() },
        }
    }

    /// The hosts that packages come from.
    pub(super) fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// The host that is asked first.
    pub(super) fn host(&self) -> &str {
        self.hosts.first().map_or("", String::as_str)
    }

    /// What tells pip in a compute the same. They are never printed: an address may hold a password.
    pub(super) fn variables(&self) -> BTreeMap<String, String> {
        let address = self.address.iter().map(|address| ("PIP_INDEX_URL".to_owned(), address.clone()));
        address.chain([("PIP_DISABLE_PIP_VERSION_CHECK".to_owned(), "1".to_owned())]).collect()
    }
}

/// The hosts of pip's own default: rule destinations that the mission names (N3).
const DEFAULT: [&str; 2] = ["pypi.org", "files.pythonhosted.org"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_the_one_that_pip_is_told() {
        assert_eq!(Index::read(None, "global.cert='/x'\n").hosts(), DEFAULT);
        let listed = "global.index-url='https://user:word@packages.example.org/simple'\nglobal.timeout='60'\n";
        let index = Index::read(None, listed);
        assert_eq!(index.hosts(), ["packages.example.org"]);
        assert_eq!(index.variables()["PIP_INDEX_URL"], "https://user:word@packages.example.org/simple");
        let told = Index::read(Some("https://other.example.org/simple"), listed);
        assert_eq!(told.host(), "other.example.org");
        assert_eq!(Index::read(Some("no address"), "").host(), DEFAULT[0]);
    }
}
