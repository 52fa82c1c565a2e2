//! Images from a registry: what is fetched, what is refused, and who hears a token.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test panics when it fails")]

mod fake;

use std::fs::File;
use std::io::Read as _;

use bastide_image::archive::{Archive, Blobs as _};
use bastide_image::description::{Index, Platform};
use bastide_image::digest::{Digest, Verified};
use bastide_plan::reference::Reference;
use bastide_plan::registry_access::RegistryAccess;
use bastide_registry::{FetchError, Limits, fetch, resolve};
use fake::Fake;
use serde_json::json;

#[tokio::test]
async fn an_image_becomes_an_archive_of_all_its_parts() {
    let registry = Fake::start();
    let manifest = registry.image("1.0", b"a layer");
    let (archive, told) = pull(&registry, "1.0").await.unwrap();
    assert_eq!(told.last(), Some(&100));
    let index: Index = serde_json::from_reader(archive.index().unwrap()).unwrap();
    assert_eq!(index.manifests[0].digest.to_string(), manifest["digest"]);
    for digest in [index.manifests[0].digest.clone(), Digest::of(b"a layer")] {
        Verified::new(archive.blob(&digest).unwrap(), digest).finish().unwrap();
    }
    // The layer that is there twice is fetched once.
    let layer = format!("/v2/team/image/blobs/{}", Digest::of(b"a layer"));
    assert_eq!(registry.heard().iter().filter(|path| **path == layer).count(), 1);
}

#[tokio::test]
async fn the_image_for_this_platform_is_taken_from_an_index() {
    let registry = Fake::start();
    let platform = |descriptor: serde_json::Value, architecture: &str| {
        let mut descriptor = descriptor;
        descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
        descriptor
    };
    let ours = platform(registry.image("ours", b"ours"), &Platform::of_this_node().architecture);
    let other = platform(registry.image("other", b"other"), "mips");
    registry.manifest("1.0", &json!({"schemaVersion": 2, "manifests": [other, ours]}));
    registry.manifest("2.0", &json!({"schemaVersion": 2, "manifests": [other]}));
    let (archive, _) = pull(&registry, "1.0").await.unwrap();
    let mut layer = String::new();
    archive.blob(&Digest::of(b"ours")).unwrap().read_to_string(&mut layer).unwrap();
    assert_eq!(layer, "ours");
    assert!(archive.blob(&Digest::of(b"other")).is_err());
    assert!(refusal(&registry, "2.0").await.starts_with("there are 0 images for linux/"));
}

#[tokio::test]
async fn a_tag_means_what_it_means_at_the_time() {
    let registry = Fake::start();
    let first = registry.image("1.0", b"first");
    assert_eq!(resolve(&reference(&registry, "1.0"), &nobody()).await.unwrap().to_string(), first["digest"]);
    let second = registry.image("1.0", b"second");
    assert_eq!(resolve(&reference(&registry, "1.0"), &nobody()).await.unwrap().to_string(), second["digest"]);
}

#[tokio::test]
async fn what_is_not_what_was_announced_is_refused() {
    let registry = Fake::start();
    let manifest = registry.image("1.0", b"a layer");
    let path = format!("/v2/team/image/blobs/{}", Digest::of(b"a layer"));
    for (sent, complaint) in [
        (&b"b layer"[..], "and should be sha256:"),
        (b"a layer and more", "is longer, and should be 7 bytes long"),
        (b"a", "is 1 bytes long, and should be 7 bytes long"),
    ] {
        registry.put(&path, 200, "", sent);
        let refusal = refusal(&registry, "1.0").await;
        assert!(refusal.contains(complaint), "{refusal}");
    }
    let digest = manifest["digest"].as_str().unwrap();
    registry.put(&format!("/v2/team/image/manifests/{digest}"), 200, "", b"{\"manifests\":[]}");
    let by_digest = format!("{}/team/image@{digest}", registry.host).parse().unwrap();
    let refusal = resolve(&by_digest, &nobody()).await.unwrap_err().to_string();
    assert!(refusal.starts_with("the manifest of the image is sha256:"), "{refusal}");
}

#[tokio::test]
async fn an_image_that_is_too_large_is_not_begun() {
    let registry = Fake::start();
    registry.image("1.0", &[0; 2000]);
    let refusal = refusal(&registry, "1.0").await;
    assert!(refusal.ends_with("At most 1000 bytes in 4 are fetched"), "{refusal}");
    assert!(registry.heard().iter().all(|path| !path.contains("/blobs/")));
    registry.put("/v2/team/image/manifests/long", 200, "", &vec![b' '; (4 << 20) + 1]);
    assert_eq!(self::refusal(&registry, "long").await, "the manifest of the image has more than 4194304 bytes");
}

#[tokio::test]
async fn what_is_not_there_or_not_for_everybody_is_said_so() {
    let registry = Fake::start();
    assert!(refusal(&registry, "1.0").await.contains("has no manifests/1.0 of the image"));
    registry.put("/v2/team/image/manifests/1.0", 401, "WWW-Authenticate: Basic realm=\"x\"\r\n", b"");
    assert!(refusal(&registry, "1.0").await.contains("wants credentials"));
    registry.put("/v2/team/image/manifests/1.0", 200, "", b"{\"schemaVersion\": 1}");
    assert!(refusal(&registry, "1.0").await.starts_with("the manifest makes no sense"));
}

#[tokio::test]
async fn a_token_for_everybody_is_fetched_and_goes_nowhere_else() {
    let (registry, elsewhere) = (Fake::start(), Fake::start());
    registry.image("1.0", b"a layer");
    let realm = |address: &str| format!("Bearer realm=\"{address}\",scope=\"repository:team/image:pull\"");
    registry.want("/v2/", "Bearer open", &realm(&format!("http://{}/token", registry.host)));
    registry.put("/token?scope=repository%3Ateam%2Fimage%3Apull", 200, "", b"{\"token\": \"open\"}");
    let path = format!("/v2/team/image/blobs/{}", Digest::of(b"a layer"));
    registry.put(&path, 307, &format!("Location: http://{}/stored\r\n", elsewhere.host), b"");
    elsewhere.put("/stored", 200, "", b"a layer");
    pull(&registry, "1.0").await.unwrap();
    assert!(registry.heard().contains(&format!("{path} with Bearer open")));
    assert_eq!(elsewhere.heard(), ["/stored"]);
    registry.want("/v2/", "Bearer open", &realm("http://auth.example/token"));
    assert!(refusal(&registry, "1.0").await.contains("an address that is not https"));
}

#[tokio::test]
async fn whoever_has_credentials_gets_a_token_for_them_over_tls() {
    let registry = Fake::start_with_tls();
    registry.image("1.0", b"a layer");
    let challenge = format!("Bearer realm=\"https://{}/token\",service=\"registry\"", registry.host);
    registry.want("/v2/", "Bearer ours", &challenge);
    registry.want("/token", &format!("Basic {READER}"), "Basic realm=\"who\"");
    registry.put("/token?service=registry", 200, "", b"{\"access_token\": \"ours\"}");
    pull_as(&registry, "1.0", &known(&registry, Some(READER))).await.unwrap();
    let heard = registry.heard();
    assert!(heard.contains(&format!("/token?service=registry with Basic {READER}")), "{heard:?}");
    // They are for who gives tokens, not for whoever has the image.
    assert!(heard.iter().all(|path| !path.starts_with("/v2/") || !path.contains("Basic")), "{heard:?}");
    let refusal = refusal_as(&registry, "1.0", &known(&registry, Some("d3Jvbmc6b25l"))).await;
    assert!(refusal.contains("or not for whom 'registries/config.json'"), "{refusal}");
    let refusal = refusal_as(&registry, "1.0", &known(&registry, None)).await;
    assert!(refusal.contains("wants credentials for the image"), "{refusal}");
}

#[tokio::test]
async fn credentials_themselves_go_to_the_registry_that_wants_them_and_nowhere_else() {
    let (registry, elsewhere) = (Fake::start_with_tls(), Fake::start_with_tls());
    registry.image("1.0", b"a layer");
    registry.want("/v2/", &format!("Basic {READER}"), "Basic realm=\"registry\"");
    let path = format!("/v2/team/image/blobs/{}", Digest::of(b"a layer"));
    registry.put(&path, 307, &format!("Location: https://{}/stored\r\n", elsewhere.host), b"");
    elsewhere.put("/stored", 200, "", b"a layer");
    let mut access = known(&registry, Some(READER));
    access.authorities = access.authorities.zip(elsewhere.authority.clone()).map(|(one, other)| one + &other);
    pull_as(&registry, "1.0", &access).await.unwrap();
    assert_eq!(elsewhere.heard(), ["/stored"]);
    // Asked first in nobody's name, it said that it wants them; from then on it has them.
    let heard = registry.heard();
    assert_eq!(heard.iter().filter(|path| !path.ends_with(READER)).count(), 1, "{heard:?}");
}

#[tokio::test]
async fn a_registry_is_known_by_a_certificate_that_is_trusted() {
    let (registry, other) = (Fake::start_with_tls(), Fake::start_with_tls());
    registry.image("1.0", b"a layer");
    pull_as(&registry, "1.0", &known(&registry, None)).await.unwrap();
    registry.heard();
    let refusal = refusal_as(&registry, "1.0", &known(&other, Some(READER))).await;
    assert!(refusal.contains("cannot be asked for the image") && refusal.contains("certificate"), "{refusal}");
    assert_eq!(registry.heard(), Vec::<String>::new());
    let nonsense = RegistryAccess { authorities: Some("-----BEGIN CERTIFICATE-----\nx".to_owned()), ..nobody() };
    let refusal = refusal_as(&registry, "1.0", &nonsense).await;
    assert!(refusal.contains("/ca.crt' of the data directory cannot be used"), "{refusal}");
}

#[tokio::test]
async fn nobody_is_followed_to_where_there_is_no_tls() {
    let registry = Fake::start();
    registry.image("1.0", b"a layer");
    let path = format!("/v2/team/image/blobs/{}", Digest::of(b"a layer"));
    registry.put(&path, 307, "Location: http://store.example/x?signature=secret\r\n", b"");
    let refusal = refusal(&registry, "1.0").await;
    assert!(refusal.contains("it leads to store.example without TLS"), "{refusal}");
    assert!(!refusal.contains("secret"), "{refusal}");
}

fn reference(registry: &Fake, tag: &str) -> Reference {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    format!("{}/team/image:{tag}", registry.host).parse().unwrap()
}

/// Asked in nobody's name, as everybody is.
fn nobody() -> RegistryAccess {
    RegistryAccess::default()
}

/// Known by its certificate, and asked with these credentials.
fn known(registry: &Fake, credentials: Option<&str>) -> RegistryAccess {
    let credentials = credentials.map(|text| text.to_owned().try_into().unwrap());
    RegistryAccess { credentials, authorities: registry.authority.clone() }
}

async fn pull(registry: &Fake, tag: &str) -> Result<(Archive, Vec<u64>), FetchError> {
    pull_as(registry, tag, &nobody()).await
}

async fn pull_as(registry: &Fake, tag: &str, access: &RegistryAccess) -> Result<(Archive, Vec<u64>), FetchError> {
    let file: File = tempfile::tempfile().unwrap();
    let limits = Limits { bytes: 1000, layers: 4 };
    let mut told = Vec::new();
    let on_progress = |percent| told.push(percent);
    fetch(&reference(registry, tag), access, &Platform::of_this_node(), limits, &file, on_progress).await?;
    std::io::Seek::rewind(&mut &file).unwrap();
    Ok((Archive::open(file).unwrap(), told))
}

/// What is said, with its causes, as the command says it.
async fn refusal(registry: &Fake, tag: &str) -> String {
    refusal_as(registry, tag, &nobody()).await
}

async fn refusal_as(registry: &Fake, tag: &str, access: &RegistryAccess) -> String {
    let error = pull_as(registry, tag, access).await.map(drop).unwrap_err();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// `reader:one`
const READER: &str = "cmVhZGVyOm9uZQ==";
