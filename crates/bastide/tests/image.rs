//! Archives of images become file systems, by a process that can do nothing else. Takes root: who is not may not give
//! files to the users of an image.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test panics when it fails")]

#[path = "../../registry/tests/fake/mod.rs"]
mod fake;

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use bastide_agent::compute::image::{ImageError, Images, Unpacked};
use bastide_image::digest::Digest;
use bastide_plan::compute_plan::Image;
use fake::Fake;
use serde_json::json;
use tempfile::TempDir;

#[test]
fn an_archive_becomes_a_file_system_that_belongs_to_its_users() {
    let Some(node) = Node::new() else { return };
    node.layer(|files| {
        fs::create_dir_all(files.join("home/azureuser")).unwrap();
        fs::write(files.join("home/azureuser/notes"), "mine").unwrap();
        std::os::unix::fs::chown(files.join("home/azureuser/notes"), Some(1000), Some(1000)).unwrap();
        fs::write(files.join("su"), "").unwrap();
        fs::set_permissions(files.join("su"), fs::Permissions::from_mode(0o4755)).unwrap();
    });
    let image = node.resolve().unwrap();
    let notes = fs::metadata(image.root.join("home/azureuser/notes")).unwrap();
    assert_eq!((notes.uid(), notes.gid()), (1000, 1000));
    assert_eq!(fs::metadata(image.root.join("su")).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(image.environment, [("LANG".to_owned(), "C".to_owned())]);
    assert_eq!(node.resolve().unwrap(), image);
}

#[test]
fn a_hostile_archive_reaches_nothing_of_the_node_and_leaves_nothing() {
    let Some(node) = Node::new() else { return };
    let victim = node.directory.path().join("victim");
    fs::write(&victim, "safe").unwrap();
    node.layer(|files| symlink(&victim, files.join("door")).unwrap());
    // The second layer writes through what the first has put there.
    node.layer(|files| {
        fs::create_dir(files.join("door")).and_then(|()| fs::write(files.join("door/x"), "owned")).unwrap();
    });
    node.resolve().unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "safe");

    let Some(node) = Node::new() else { return };
    node.layer(|files| fs::write(files.join("a"), "content").unwrap());
    fs::write(node.directory.path().join("archives/image.tar"), "no archive").unwrap();
    let error = node.resolve().unwrap_err().to_string();
    assert!(error.contains("An OCI archive is expected"), "{error}");
    assert_eq!(fs::read_dir(node.directory.path().join("cache/making")).unwrap().count(), 0);
}

/// A registry is asked by a process of its own, without privilege, and what it sends is read like any archive.
#[test]
fn an_image_is_pulled_from_an_admitted_registry_and_from_no_other() {
    let Some(node) = Node::new() else { return };
    let registry = Fake::start();
    let layer = |text: &str| {
        let files = TempDir::new().unwrap();
        fs::write(files.path().join("note"), text).unwrap();
        tar(files.path())
    };
    registry.image("1.0", &layer("first"));
    let name = format!("{}/team/image:1.0", registry.host);
    let images = |admitted: &str| {
        let program = |step: &str| [env!("CARGO_BIN_EXE_bastide"), step].map(str::to_owned).to_vec();
        let images = Images::open(&node.directory.path().join("cache")).unwrap();
        let images = images.with_archives(node.directory.path().join("archives"), program("image"));
        images.with_registries(vec![admitted.parse().unwrap()], program("fetch-image"))
    };
    let told = RefCell::new(Vec::new());
    let pull = |images: &Images, name: &str| {
        images.resolve(&Image::Reference(name.to_owned()), &|text| told.borrow_mut().push(text))
    };
    let refusal = pull(&images("registry.example"), &name).unwrap_err().to_string();
    assert!(refusal.contains("'image-registries' in bastide.toml"), "{refusal}");
    assert_eq!(registry.heard(), Vec::<String>::new());

    let images = images(&registry.host);
    let first = pull(&images, &name).unwrap();
    assert_eq!(fs::read_to_string(first.root.join("note")).unwrap(), "first");
    assert!(told.borrow().contains(&"fetching the image: 100 %".to_owned()), "{told:?}");
    assert!(!first.root.with_file_name("image.tar").exists());
    registry.heard();
    assert_eq!(pull(&images, &name).unwrap(), first);
    assert_eq!(registry.heard(), ["/v2/team/image/manifests/1.0"]);

    registry.image("1.0", &layer("second"));
    let second = pull(&images, &name).unwrap();
    assert_eq!(fs::read_to_string(second.root.join("note")).unwrap(), "second");
    registry.heard();
    let by_digest = format!("{}/team/image@{}", registry.host, first.digest);
    assert_eq!(pull(&images, &by_digest).unwrap(), first);
    assert_eq!(registry.heard(), Vec::<String>::new());
    let refusal = pull(&images, &name.replace("1.0", "2.0")).unwrap_err().to_string();
    assert!(refusal.starts_with("asking the registry failed: ") && refusal.contains("no manifests/2.0"), "{refusal}");
}

/// What the administrator has laid down reaches who asks: in whose name, and by which certificate the registry is known.
#[test]
fn an_image_is_pulled_in_the_name_that_the_administrator_has_laid_down() {
    let Some(node) = Node::new() else { return };
    let registry = Fake::start_with_tls();
    let files = TempDir::new().unwrap();
    fs::write(files.path().join("note"), "private").unwrap();
    registry.image("1.0", &tar(files.path()));
    registry.want("/v2/", "Basic cmVhZGVyOm9uZQ==", "Basic realm=\"registry\"");
    let access = node.directory.path().join("registries");
    fs::create_dir_all(access.join(&registry.host)).unwrap();
    let program = |step: &str| [env!("CARGO_BIN_EXE_bastide"), step].map(str::to_owned).to_vec();
    let images = Images::open(&node.directory.path().join("cache")).unwrap();
    let images = images.with_archives(node.directory.path().join("archives"), program("image"));
    let images = images.with_registries(vec![registry.host.parse().unwrap()], program("fetch-image"));
    let images = images.with_access(access.clone());
    let name = Image::Reference(format!("{}/team/image:1.0", registry.host));
    let refusal = || images.resolve(&name, &|_| {}).unwrap_err().to_string();
    // Without its certificate it is asked as one without TLS.
    assert!(refusal().contains("cannot be asked for the image"), "{}", refusal());
    fs::write(access.join(&registry.host).join("ca.crt"), registry.authority.as_ref().unwrap()).unwrap();
    assert!(refusal().contains("'registries/config.json' of the data directory"), "{}", refusal());
    let config = json!({"auths": {&registry.host: {"auth": "cmVhZGVyOm9uZQ=="}}});
    fs::write(access.join("config.json"), config.to_string()).unwrap();
    fs::set_permissions(access.join("config.json"), fs::Permissions::from_mode(0o600)).unwrap();
    let image = images.resolve(&name, &|_| {}).unwrap();
    assert_eq!(fs::read_to_string(image.root.join("note")).unwrap(), "private");
}

/// A cache, and an archive in the making.
struct Node {
    directory: TempDir,
    layers: RefCell<Vec<serde_json::Value>>,
}

impl Node {
    /// None, aloud, for who is not root.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("\n*** SKIPPED, and nothing is known about archives of images: only root can unpack them ***\n");
            return None;
        }
        let directory = TempDir::new().unwrap();
        fs::create_dir_all(directory.path().join("layout/blobs/sha256")).unwrap();
        fs::create_dir(directory.path().join("archives")).unwrap();
        Some(Self { directory, layers: RefCell::default() })
    }

    /// Adds a layer of what is put into a directory, and writes the archive anew.
    fn layer(&self, fill: impl FnOnce(&Path)) {
        let files = TempDir::new().unwrap();
        fs::set_permissions(files.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fill(files.path());
        let layer = tar(files.path());
        self.layers.borrow_mut().push(self.blob(&layer));
        let layers = self.layers.borrow().clone();
        let diff_ids: Vec<_> = layers.iter().map(|layer| layer["digest"].clone()).collect();
        let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
        let config = json!({
            "architecture": architecture, "os": "linux", "config": {"Env": ["LANG=C"], "User": "0"},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let manifest =
            json!({"schemaVersion": 2, "config": self.blob(config.to_string().as_bytes()), "layers": layers});
        let index = json!({"schemaVersion": 2, "manifests": [self.blob(manifest.to_string().as_bytes())]});
        let layout = self.directory.path().join("layout");
        fs::write(layout.join("index.json"), index.to_string()).unwrap();
        fs::write(self.directory.path().join("archives/image.tar"), tar(&layout)).unwrap();
    }

    fn blob(&self, bytes: &[u8]) -> serde_json::Value {
        let digest = Digest::of(bytes);
        fs::write(self.directory.path().join("layout/blobs/sha256").join(digest.digits()), bytes).unwrap();
        json!({"mediaType": "application/octet-stream", "digest": digest, "size": bytes.len()})
    }

    fn resolve(&self) -> Result<Unpacked, ImageError> {
        let reader = [env!("CARGO_BIN_EXE_bastide"), "image"].map(str::to_owned).to_vec();
        let images = Images::open(&self.directory.path().join("cache")).unwrap();
        let images = images.with_archives(self.directory.path().join("archives"), reader);
        images.resolve(&Image::Archive("image.tar".to_owned()), &|_| {})
    }
}

fn tar(directory: &Path) -> Vec<u8> {
    let output = Command::new("tar").arg("-C").arg(directory).args(["--numeric-owner", "-c", "."]).output().unwrap();
    assert!(output.status.success());
    output.stdout
}
