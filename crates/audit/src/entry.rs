use std::fmt::Write as _;

use aws_lc_rs::digest;
use jiff::Timestamp;
use serde_json::{Map, Value};

/// An entry as it is stored: its record is the text that was hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number: 1, 2, 3, ...
    pub seq: i64,
    /// When it was written, to the microsecond.
    pub at: Timestamp,
    /// The hash of the entry before it; empty for the first.
    pub prev_hash: String,
    /// SHA-256, in hexadecimal, over `prev_hash`, `seq`, `at` and `record`, each behind its length.
    pub hash: String,
    /// What was done: the [`canonical`] text of a JSON value.
    pub record: String,
}

/// The end of a chain, where the next entry goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// The number of the last entry; 0 when there is none.
    pub seq: i64,
    /// The hash of the last entry; empty when there is none.
    pub hash: String,
}

impl Head {
    /// The entry of a record behind this head, which moves on to it.
    pub fn append(&mut self, at: Timestamp, record: &Value) -> Entry {
        let record = canonical(record).to_string();
        let seq = self.seq + 1;
        let hash = link(&self.hash, seq, at, &record);
        let prev_hash = std::mem::replace(&mut self.hash, hash.clone());
        self.seq = seq;
        Entry { seq, at, prev_hash, hash, record }
    }
}

impl Entry {
    /// Whether its hash is the one it should have.
    pub fn is_sound(&self) -> bool {
        self.hash == link(&self.prev_hash, self.seq, self.at, &self.record)
    }
}

/// The same value with the names of every object in order, so that equal records have equal texts.
pub fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut members: Vec<_> = object.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            Value::Object(
                members.into_iter().map(|(name, value)| (name.clone(), canonical(value))).collect::<Map<_, _>>(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(canonical).collect()),
        other => other.clone(),
    }
}

/// The hash that ties an entry to the one before it. Each part stands behind its length (eight bytes, the highest first):
/// no two entries read the same.
fn link(prev_hash: &str, seq: i64, at: Timestamp, record: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    let at = at.as_microsecond().to_be_bytes();
    for part in [prev_hash.as_bytes(), &seq.to_be_bytes(), &at, record.as_bytes()] {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(microseconds: i64) -> Timestamp {
        Timestamp::from_microsecond(microseconds).unwrap()
    }

    #[test]
    fn equal_records_have_equal_texts_whatever_the_order_of_their_members() {
        let one = json!({"b": [{"y": 1, "x": 2}], "a": null});
        let other = json!({"a": null, "b": [{"x": 2, "y": 1}]});
        assert_eq!(canonical(&one).to_string(), canonical(&other).to_string());
        assert_eq!(canonical(&one).to_string(), r#"{"a":null,"b":[{"x":2,"y":1}]}"#);
    }

    #[test]
    fn the_hash_depends_on_every_part_and_on_where_parts_end() {
        let reference = link("ab", 1, at(2), "{}");
        assert_eq!(reference.len(), 64);
        let others = [
            link("a", 1, at(2), "b{}"),
            link("ab", 2, at(2), "{}"),
            link("ab", 1, at(3), "{}"),
            link("ab", 1, at(2), "[]"),
        ];
        for other in others {
            assert_ne!(other, reference);
        }
    }

    /// So that anybody can compute it with other tools; docs/operations.md says how.
    #[test]
    fn the_hash_is_the_one_the_documentation_tells() {
        let entry = Head::default().append(at(1_795_341_600_000_000), &json!({"b": "ü", "a": 1}));
        assert_eq!(entry.record, r#"{"a":1,"b":"ü"}"#);
        assert_eq!(entry.hash, "e4256942db0e8408f874fc161732a04c95dcd42afba2a827625aac0e844f75ab");
    }
}
