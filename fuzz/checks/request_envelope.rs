//! Bodies: the strict reader never takes what `serde_json` refuses nor reads it differently, and the envelope keeps
//! its limits.

use bastide_arm::envelope::Envelope;
use bastide_arm::error::ArmError;
use bastide_arm::json::{self, Limits};
use bastide_arm::merge::merge_patch;
use serde_json::Value;

/// Reads the input as the body of a PUT and of a PATCH.
pub fn check(data: &[u8]) {
    let theirs = serde_json::from_slice::<Value>(data.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(data));
    let body = match (json::parse(data, &Limits::default()), theirs) {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(ours, theirs);
            ours
        }
        (Ok(_), Err(error)) => panic!("taken, though serde_json says: {error}"),
        (Err(error), theirs) => {
            check_error(&error);
            let stricter = ["comes twice", "U+0000", "levels deep"].iter().any(|why| error.message.contains(why));
            assert!(theirs.is_err() || stricter, "refused without a reason: {error}");
            return;
        }
    };
    for read in [Envelope::read(&body, true), Envelope::read(&body, false), Envelope::read_patch(&body)] {
        match read {
            Ok(envelope) => check_envelope(&envelope),
            Err(error) => check_error(&error),
        }
    }
    let mut patched = Value::Null;
    merge_patch(&mut patched, &body);
    let once = patched.clone();
    merge_patch(&mut patched, &body);
    assert_eq!(patched, once);
}

fn check_envelope(envelope: &Envelope) {
    let tags = envelope.tags.iter().flatten();
    assert!(tags.clone().count() <= 50);
    assert!(tags.clone().all(|(name, value)| name.chars().count() <= 512 && value.chars().count() <= 256));
    assert!(["id", "name", "type", "etag", "systemData"].iter().all(|name| !envelope.unknown.contains_key(*name)));
}

fn check_error(error: &ArmError) {
    assert!((400..500).contains(&error.status));
    assert!(!error.message.chars().any(char::is_control) && error.message.len() < 4096);
}
