//! What an image says of itself: indexes, manifests and configurations (OCI image specification 1.1, and Docker's own
//! forms of the same). Data to be judged, never orders: of a configuration only the environment is taken.

use std::fmt;

use serde::Deserialize;

use crate::digest::Digest;

/// What there is, for several platforms or in several versions.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Index {
    /// Manifests, or further indexes.
    pub manifests: Vec<Descriptor>,
}

/// A part, by what it must be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// What it runs on.
    pub platform: Option<Platform>,
}

/// What an image runs on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Platform {
    /// A processor, in Go's words: `amd64`.
    pub architecture: String,
    /// `linux`.
    pub os: String,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Manifest {
    /// Where its configuration is.
    pub config: Descriptor,
    /// Its layers, the lowest first.
    pub layers: Vec<Descriptor>,
}

/// What an image wants.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Configuration {
    /// What it runs on.
    #[serde(flatten)]
    pub platform: Platform,
    /// How it wants to be run.
    pub config: Option<Execution>,
    /// What its layers are, unpacked.
    #[serde(rename = "rootfs")]
    pub layers: Layers,
}

/// How an image wants to be run. Users, entry points and the like are not asked: Bastide says what runs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Execution {
    /// `NAME=value`.
    #[serde(rename = "Env")]
    pub environment: Option<Vec<String>>,
}

/// What layers are, unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Layers {
    /// Their digests, the lowest first.
    pub diff_ids: Vec<Digest>,
}

impl Index {
    /// What there is for a platform; what does not say what it is for is for all.
    pub fn for_platform(&self, platform: &Platform) -> Vec<&Descriptor> {
        let fits = |found: &&Descriptor| found.platform.as_ref().is_none_or(|wanted| wanted == platform);
        self.manifests.iter().filter(fits).collect()
    }
}

impl Platform {
    /// What this program was made for.
    pub fn of_this_node() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self { architecture: architecture.to_owned(), os: "linux".to_owned() }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)
    }
}

impl Descriptor {
    /// Whether it leads to further descriptors.
    pub fn is_index(&self) -> bool {
        ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"]
            .contains(&self.media_type.as_str())
    }
}

impl Configuration {
    /// The variables it sets, without those that no shell could set, and no more than a real image has.
    pub fn environment(&self) -> Vec<(String, String)> {
        let given = self.config.as_ref().and_then(|config| config.environment.as_deref()).unwrap_or_default();
        let variable = |text: &String| {
            let (name, value) = text.split_once('=')?;
            let is_name = |(place, byte): (usize, u8)| {
                byte == b'_' || byte.is_ascii_alphabetic() || (place > 0 && byte.is_ascii_digit())
            };
            let is_good = !name.is_empty() && name.bytes().enumerate().all(is_name);
            let fits = text.len() <= LONGEST_VARIABLE && !value.contains('\0');
            (is_good && fits).then(|| (name.to_owned(), value.to_owned()))
        };
        given.iter().filter_map(variable).take(MOST_VARIABLES).collect()
    }
}

const MOST_VARIABLES: usize = 256;
const LONGEST_VARIABLE: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_variables_that_can_be_set_are_taken() {
        let text = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},
            "config":{"User":"0","Entrypoint":["/evil"],
            "Env":["PATH=/usr/bin","A=b=c","no value","=x","1A=x","A B=x","NUL=a\u0000b","LF=a\nb"]}}"#;
        let configuration: Configuration = serde_json::from_str(text).unwrap();
        let names: Vec<_> =
            configuration.environment().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(names, ["PATH=/usr/bin", "A=b=c", "LF=a\nb"]);
    }

    #[test]
    fn a_digest_that_is_a_path_is_refused() {
        let text = r#"{"mediaType":"x","digest":"sha256:../../etc/shadow","size":1}"#;
        serde_json::from_str::<Descriptor>(text).unwrap_err();
    }
}
