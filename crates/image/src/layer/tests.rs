use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::tar::tests::Writer;

#[test]
fn layers_lie_over_each_other() {
    let image = image(&[
        layer(|tar| tar.directory("etc").file("etc/a", "one").file("etc/b", "one").symlink("bin", "usr/bin")),
        layer(|tar| tar.file("etc/a", "two").add(b'1', "etc/c", "etc/b", b"")),
    ]);
    assert_eq!(read(&image, "etc/a"), "two");
    assert_eq!(
        fs::metadata(image.path().join("root/etc/b")).unwrap().ino(),
        fs::metadata(image.path().join("root/etc/c")).unwrap().ino()
    );
    assert_eq!(fs::read_link(image.path().join("root/bin")).unwrap(), Path::new("usr/bin"));
}

#[test]
fn a_whiteout_takes_away_what_lies_below() {
    let image = image(&[
        layer(|tar| tar.directory("a").file("a/gone", "").file("a/stays", "").directory("b").file("b/deep/er", "")),
        layer(|tar| tar.file("a/.wh.gone", "").file(".wh.b", "").file(".wh.never", "").file("no/where/.wh.x", "")),
    ]);
    assert!(!exists(&image, "a/gone") && exists(&image, "a/stays") && !exists(&image, "b"));
}

#[test]
fn an_opaque_directory_hides_what_is_below_and_nothing_of_its_own_layer() {
    let below = layer(|tar| tar.directory("d").file("d/old", "").directory("d/sub").file("d/sub/old", ""));
    // Whether the mark comes first or last must not matter.
    let first = layer(|tar| tar.directory("d").file("d/.wh..wh..opq", "").file("d/new", "").file("d/sub/new", ""));
    let last = layer(|tar| tar.directory("d").file("d/new", "").file("d/sub/new", "").file("d/.wh..wh..opq", ""));
    for above in [first, last] {
        let image = image(&[below.clone(), above]);
        assert!(exists(&image, "d/new") && exists(&image, "d/sub/new"));
        assert!(!exists(&image, "d/old") && !exists(&image, "d/sub/old"));
    }
}

#[test]
fn a_directory_may_be_reached_over_a_link_that_stays_inside() {
    let image = image(&[
        layer(|tar| tar.directory("usr/lib").symlink("lib", "usr/lib").symlink("abs", "/usr/lib")),
        layer(|tar| tar.file("lib/a", "a").file("abs/b", "b")),
    ]);
    assert_eq!((read(&image, "usr/lib/a"), read(&image, "usr/lib/b")), ("a".to_owned(), "b".to_owned()));
}

#[test]
fn nothing_is_written_outside() {
    let escapes = [
        layer(|tar| tar.file("../victim", "owned")),
        layer(|tar| tar.file("a/../../victim", "owned")),
        layer(|tar| tar.symlink("up", "..").file("up/victim", "owned")),
        layer(|tar| tar.symlink("up", "../../../../../../..").file("up/victim", "owned")),
        layer(|tar| tar.symlink("out", "/").file("out/victim", "owned")),
        layer(|tar| tar.symlink("victim", "../victim").file("victim", "owned")),
        layer(|tar| tar.symlink("link", "../victim").add(b'1', "hard", "link", b"").file("hard", "owned")),
        layer(|tar| tar.add(b'1', "hard", "../victim", b"").file("hard", "owned")),
        layer(|tar| tar.symlink("up", "..").add(b'1', "hard", "up/victim", b"")),
        layer(|tar| tar.symlink("up", "..").file("up/.wh.victim", "")),
        layer(|tar| tar.symlink("up", "..").file("up/.wh..wh..opq", "")),
        layer(|tar| tar.file(".wh...", "").file(".wh..", "")),
        layer(|tar| tar.symlink("up", "..").directory("up/victim")),
        layer(|tar| tar.pax(&[("path", "../victim")]).file("harmless", "owned")),
        layer(|tar| tar.symlink("proc", "/proc/self/root").file("proc/victim", "owned")),
    ];
    for (number, escape) in escapes.into_iter().enumerate() {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("victim"), "safe").unwrap();
        let _may_be_refused = put(&directory, &[escape]);
        assert_eq!(fs::read_to_string(directory.path().join("victim")).unwrap(), "safe", "escape {number}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "escape {number}");
    }
}

#[test]
fn a_link_that_is_there_already_leads_nowhere_else() {
    // As if somebody had put it there between two layers.
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("root")).unwrap();
    fs::create_dir(directory.path().join("outside")).unwrap();
    symlink("../outside", directory.path().join("root/door")).unwrap();
    let _may_be_refused = put(&directory, &[layer(|tar| tar.file("door/file", "owned"))]);
    assert_eq!(fs::read_dir(directory.path().join("outside")).unwrap().count(), 0);
}

#[test]
fn devices_are_left_out_and_counted() {
    let directory = TempDir::new().unwrap();
    let devices = layer(|tar| tar.add(b'3', "null", "", b"").add(b'4', "disk", "", b"").add(b'6', "pipe", "", b""));
    assert_eq!(put(&directory, &[devices]).unwrap(), LeftOut { special: 3 });
    assert_eq!(fs::read_dir(directory.path().join("root")).unwrap().count(), 0);
}

#[test]
fn no_file_makes_anybody_somebody_else() {
    let image = image(&[layer(|tar| {
        tar.add_with(b'0', "su", "", b"", |header| header[100..107].copy_from_slice(b"0006755"));
        tar.add_with(b'5', "tmp", "", b"", |header| header[100..107].copy_from_slice(b"0007777"))
    })]);
    let mode = |path: &str| fs::metadata(image.path().join("root").join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("su"), mode("tmp")), (0o755, 0o1777));
}

#[test]
fn what_no_instance_can_hold_is_refused_with_a_reason() {
    let refused = |layer: Vec<u8>| put(&TempDir::new().unwrap(), &[layer]).unwrap_err().to_string();
    let stranger = layer(|tar| tar.pax(&[("uid", "1000660000")]).file("a", ""));
    assert_eq!(
        refused(stranger),
        "'a' belongs to the user or group 1000660000: instances have the numbers 0 to 65,535"
    );
    let large = layer(|tar| tar.file("a", &"x".repeat(2000)));
    assert!(refused(large).starts_with("the image has more than 1000 bytes"));
    let many = layer(|tar| (0..200).fold(tar, |tar, number| tar.file(&number.to_string(), "")));
    assert!(refused(many).contains("100 files"));
    let dangling = layer(|tar| tar.add(b'1', "a", "nothing", b""));
    assert_eq!(refused(dangling), "'a' is to be another name of a file that is not there");
}

proptest! {
    /// Whatever a layer says, what is beside the image stays as it is.
    #[test]
    fn no_sequence_of_entries_leaves_the_root(entries in prop::collection::vec((kind(), path(), path()), 1..12)) {
        let directory = TempDir::new().unwrap();
        fs::create_dir(directory.path().join("beside")).unwrap();
        fs::write(directory.path().join("beside/victim"), "safe").unwrap();
        let mut tar = Writer::default();
        for (kind, path, link) in &entries {
            tar.add(*kind, path, link, if *kind == b'0' { b"owned" } else { b"" });
        }
        let _may_be_refused = put(&directory, &[tar.bytes]);
        prop_assert_eq!(fs::read_to_string(directory.path().join("beside/victim")).unwrap(), "safe");
        prop_assert_eq!(fs::read_dir(directory.path().join("beside")).unwrap().count(), 1);
        prop_assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}

fn kind() -> impl Strategy<Value = u8> {
    prop::sample::select(b"00125".to_vec())
}

fn path() -> impl Strategy<Value = String> {
    let name =
        prop::sample::select(vec!["a", "b", "..", ".", "", "beside", "victim", ".wh.a", ".wh.beside", ".wh..wh..opq"]);
    prop::collection::vec(name, 1..5).prop_map(|names| names.join("/"))
}

fn layer(write: impl FnOnce(&mut Writer) -> &mut Writer) -> Vec<u8> {
    let mut writer = Writer::default();
    write(&mut writer);
    writer.bytes
}

fn image(layers: &[Vec<u8>]) -> TempDir {
    let directory = TempDir::new().unwrap();
    put(&directory, layers).unwrap();
    directory
}

fn put(directory: &TempDir, layers: &[Vec<u8>]) -> Result<LeftOut, LayerError> {
    let root = directory.path().join("root");
    fs::create_dir_all(&root).unwrap();
    let root = OwnedFd::from(fs::File::open(root).unwrap());
    let mut spent = Spent::nothing_of(Budget { bytes: 1000, entries: 100 });
    let mut left_out = LeftOut::default();
    for layer in layers {
        left_out = apply(layer.as_slice(), &root, Owners::Own, &mut spent)?;
    }
    Ok(left_out)
}

fn read(image: &TempDir, path: &str) -> String {
    fs::read_to_string(image.path().join("root").join(path)).unwrap()
}

fn exists(image: &TempDir, path: &str) -> bool {
    image.path().join("root").join(path).exists()
}
