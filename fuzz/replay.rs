//! Replays what a fuzzer starts from and what it found worth keeping, so that every test run checks it without one.

use std::fs;
use std::path::Path;

/// Gives every kept input of a fuzz target to its check. There are at least `least`, or the corpus is not checked out.
pub fn replay(target: &str, least: usize, check: fn(&[u8])) {
    let mut replayed = 0;
    for kind in ["seeds", "corpus"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(kind).join(target);
        // What a fuzzer found is committed only when it found something.
        let Ok(files) = fs::read_dir(folder) else { continue };
        for file in files {
            let file = file.unwrap().path();
            // Printed only when the check fails: names the culprit.
            println!("{}", file.display());
            check(&fs::read(&file).unwrap());
            replayed += 1;
        }
    }
    assert!(replayed >= least, "only {replayed} inputs for {target}: is the corpus checked out?");
}
