use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use tempfile::TempDir;

use super::*;
use crate::archive::Archive;
use crate::tar::tests::Writer;

#[test]
fn an_archive_is_unpacked_whatever_its_layers_are_packed_with() {
    let image = Image {
        layers: vec![
            (gzip, layer(|tar| tar.file("a", "below").file("b", "below"))),
            (zstd, layer(|tar| tar.file("a", "middle"))),
            (plain, layer(|tar| tar.file(".wh.b", ""))),
        ],
        ..Image::default()
    };
    let (directory, unpacked) = unpacked(&image);
    let unpacked = unpacked.unwrap();
    assert_eq!(unpacked.environment, [("PATH".to_owned(), "/bin".to_owned())]);
    assert!(unpacked.digest.starts_with("sha256:"));
    assert_eq!(fs::read_to_string(directory.path().join("root/a")).unwrap(), "middle");
    assert!(!directory.path().join("root/b").exists());
}

#[test]
fn a_layer_that_is_not_what_its_digest_says_is_refused() {
    let layers = vec![(plain as Pack, layer(|tar| tar.file("a", "content")))];
    let tampered = Image { layers: layers.clone(), tamper: true, ..Image::default() };
    let error = unpacked(&tampered).1.unwrap_err().to_string();
    assert!(error.contains("and should be sha256:"), "{error}");
    let lied = Image { layers, wrong_diff_id: true, ..Image::default() };
    let error = unpacked(&lied).1.unwrap_err().to_string();
    assert!(error.contains("and should be sha256:"), "{error}");
}

#[test]
fn an_image_for_another_processor_is_refused() {
    let error = unpacked(&Image { architecture: "vax", ..Image::default() }).1.unwrap_err();
    assert_eq!(error.to_string(), "there are 0 images for linux/amd64 in it, and one is needed");
}

#[test]
fn what_is_no_archive_says_what_is_expected() {
    let open = |bytes: &[u8]| Archive::open(file(bytes)).unwrap_err().to_string();
    assert!(open(b"not a tar file").contains("skopeo copy"));
    assert!(open(&layer(|tar| tar.file("etc/passwd", ""))).starts_with("it has no index.json"));
}

type Pack = fn(&[u8]) -> Vec<u8>;

struct Image {
    layers: Vec<(Pack, Vec<u8>)>,
    architecture: &'static str,
    tamper: bool,
    wrong_diff_id: bool,
}

impl Default for Image {
    fn default() -> Self {
        Self { layers: Vec::new(), architecture: "amd64", tamper: false, wrong_diff_id: false }
    }
}

impl Image {
    fn archive(&self) -> Vec<u8> {
        let mut tar = Writer::default();
        let add = |tar: &mut Writer, bytes: &[u8], media: &str| {
            let digest = Digest::of(bytes);
            let mut written = bytes.to_vec();
            if self.tamper && media == "layer" {
                written[600] ^= 1;
            }
            tar.add(b'0', &format!("blobs/sha256/{}", digest.digits()), "", &written);
            serde_json::json!({"mediaType": media, "digest": digest, "size": bytes.len()})
        };
        let mut layers = Vec::new();
        let mut diff_ids = Vec::new();
        for (pack, layer) in &self.layers {
            layers.push(add(&mut tar, &pack(layer), "layer"));
            diff_ids.push(if self.wrong_diff_id { Digest::of(b"else") } else { Digest::of(layer) });
        }
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = add(&mut tar, config.to_string().as_bytes(), "config");
        let manifest = serde_json::json!({"schemaVersion": 2, "config": config, "layers": layers});
        let mut manifest = add(&mut tar, manifest.to_string().as_bytes(), "application/vnd.oci.image.manifest.v1+json");
        manifest["platform"] = serde_json::json!({"architecture": self.architecture, "os": "linux"});
        tar.file("index.json", &serde_json::json!({"schemaVersion": 2, "manifests": [manifest]}).to_string());
        tar.bytes
    }
}

fn unpacked(image: &Image) -> (TempDir, Result<Unpacked, UnpackError>) {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("root")).unwrap();
    let root = OwnedFd::from(fs::File::open(directory.path().join("root")).unwrap());
    let platform = Platform { architecture: "amd64".to_owned(), os: "linux".to_owned() };
    let archive = Archive::open(file(&image.archive())).unwrap();
    (directory, unpack(&archive, &platform, &root, Owners::Own))
}

fn file(bytes: &[u8]) -> fs::File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    file
}

fn layer(write: impl FnOnce(&mut Writer) -> &mut Writer) -> Vec<u8> {
    let mut writer = Writer::default();
    write(&mut writer);
    writer.bytes
}

fn plain(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}
