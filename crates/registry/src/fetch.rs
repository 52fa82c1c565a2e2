//! An image, from its reference to an archive of it.

use std::collections::BTreeSet;
use std::io::Write;

use aws_lc_rs::digest::{Context, SHA256};
use bastide_image::description::{Descriptor, Index, Manifest, Platform};
use bastide_image::digest::Digest;
use bastide_plan::reference::{Reference, Version};
use bastide_plan::registry_access::RegistryAccess;
use serde::Deserialize;

use crate::archive::Writer;
use crate::client::{Conversation, FetchError};

/// How large an image may be, packed.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The bytes of its layers and its configuration.
    pub bytes: u64,
    /// Its layers.
    pub layers: usize,
}

/// What an image is at this time: the digest of its manifest, or of its index.
pub async fn resolve(reference: &Reference, access: &RegistryAccess) -> Result<Digest, FetchError> {
    let mut registry = Conversation::new(reference, access)?;
    Ok(described(&mut registry, &reference.version).await?.0)
}

/// Fetches the image for this platform, and writes an archive of it. `on_progress` hears of every percent.
pub async fn fetch(
    reference: &Reference,
    access: &RegistryAccess,
    platform: &Platform,
    limits: Limits,
    archive: impl Write,
    mut on_progress: impl FnMut(u64),
) -> Result<(), FetchError> {
    let mut registry = Conversation::new(reference, access)?;
    let (digest, bytes, manifest) = choose(&mut registry, &reference.version, platform).await?;
    let mut known = BTreeSet::new();
    // The same layer twice is one part.
    let parts: Vec<_> = manifest.layers.iter().filter(|layer| known.insert(&layer.digest)).collect();
    let total = parts.iter().fold(manifest.config.size, |total, part| total.saturating_add(part.size));
    if total > limits.bytes || manifest.layers.len() > limits.layers {
        let (most_bytes, most_layers) = (limits.bytes, limits.layers);
        return Err(FetchError::TooLarge { bytes: total, layers: manifest.layers.len(), most_bytes, most_layers });
    }
    let mut archive = Writer::new(archive);
    archive.add(&digest, &bytes)?;
    let (mut done, mut told) = (0, 0);
    for part in parts.into_iter().chain((!known.contains(&manifest.config.digest)).then_some(&manifest.config)) {
        copy(&mut registry, part, &mut archive, |length| {
            done += length;
            let percent = (u128::from(done) * 100).checked_div(total.into()).unwrap_or_default();
            let percent = u64::try_from(percent).unwrap_or_default();
            if percent > told {
                told = percent;
                on_progress(percent);
            }
        })
        .await?;
    }
    // Docker's form has the same fields, and is read as the same.
    let media_type = OCI_MANIFEST.to_owned();
    Ok(archive.finish(&Descriptor { media_type, digest, size: bytes.len() as u64, platform: None })?)
}

/// The manifest for a platform, over indexes of indexes.
async fn choose(
    registry: &mut Conversation<'_>,
    version: &Version,
    platform: &Platform,
) -> Result<(Digest, Vec<u8>, Manifest), FetchError> {
    let mut version = version.clone();
    for _ in 0..=DEEPEST_INDEX {
        let (digest, bytes, document) = described(registry, &version).await?;
        match document {
            Document::Manifest(manifest) => return Ok((digest, bytes, manifest)),
            Document::Index(index) => match index.for_platform(platform).as_slice() {
                [one] => version = Version::Digest(one.digest.to_string()),
                several => return Err(FetchError::Choice(several.len(), platform.to_string())),
            },
        }
    }
    Err(FetchError::Choice(0, platform.to_string()))
}

/// A manifest or an index, which is what its digest says when that is known.
async fn described(
    registry: &mut Conversation<'_>,
    version: &Version,
) -> Result<(Digest, Vec<u8>, Document), FetchError> {
    let bytes = registry.manifest(&version.to_string()).await?;
    let digest = Digest::of(&bytes);
    if let Version::Digest(wanted) = version
        && *wanted != digest.to_string()
    {
        return Err(different("the manifest", digest.to_string(), wanted.clone()));
    }
    let document = serde_json::from_slice(&bytes).map_err(FetchError::Malformed)?;
    Ok((digest, bytes, document))
}

/// Fetches a part into the archive, and says of every piece how long it is.
async fn copy<W: Write>(
    registry: &mut Conversation<'_>,
    part: &Descriptor,
    archive: &mut Writer<W>,
    mut on_piece: impl FnMut(u64),
) -> Result<(), FetchError> {
    let name = format!("part {}", part.digest);
    let mut response = registry.blob(&part.digest).await?;
    archive.begin(&part.digest, part.size)?;
    let mut context = Context::new(&SHA256);
    let mut length = 0;
    while let Some(piece) = response.chunk().await.map_err(|source| registry.unreachable(source))? {
        length += piece.len() as u64;
        if length > part.size {
            return Err(different(&name, "longer".to_owned(), format!("{} bytes long", part.size)));
        }
        context.update(&piece);
        archive.write(&piece)?;
        on_piece(piece.len() as u64);
    }
    if length < part.size {
        return Err(different(&name, format!("{length} bytes long"), format!("{} bytes long", part.size)));
    }
    let found = Digest::finish(context);
    if found != part.digest {
        return Err(different(&name, found.to_string(), part.digest.to_string()));
    }
    Ok(archive.end(part.size)?)
}

fn different(part: &str, found: String, wanted: String) -> FetchError {
    FetchError::Different { part: part.to_owned(), found, wanted }
}

/// What a registry calls a manifest.
#[derive(Deserialize)]
#[serde(untagged)]
enum Document {
    Index(Index),
    Manifest(Manifest),
}

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DEEPEST_INDEX: usize = 4;
