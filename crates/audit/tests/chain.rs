//! Whatever is done to a chain behind its back shows, and where.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

use bastide_audit::export::{self, ExportError, Exporter};
use bastide_audit::{Broken, Checkpoint, Entry, Fault, Head, Intact, SigningKey, Walk};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

const LENGTH: i64 = 12;

/// A chain of twelve entries with checkpoints signed at 4 and 9.
struct Chain {
    key: SigningKey,
    entries: Vec<Entry>,
    notes: Vec<(i64, String)>,
}

impl Chain {
    fn new() -> Self {
        let key = SigningKey::new("bastide/t/audit", &[7; 32]).unwrap();
        let mut head = Head::default();
        let (mut entries, mut notes) = (Vec::new(), Vec::new());
        for number in 1..=LENGTH {
            entries.push(head.append(at(number), &json!({"action": "a/b/write", "n": number, "name": "ü\n"})));
            if number == 4 || number == 9 {
                notes.push((number, checkpoint(&head, false).sign(&key)));
            }
        }
        Self { key, entries, notes }
    }

    fn cut(&mut self, through: i64) {
        let last = &self.entries[index(through)];
        let head = Head { seq: last.seq, hash: last.hash.clone() };
        self.notes.push((through, checkpoint(&head, true).sign(&self.key)));
        self.entries.retain(|entry| entry.seq > through);
    }

    fn walk(&self) -> Result<Intact, Broken> {
        let mut walk = Walk::begin(self.notes.iter().map(|(seq, note)| (*seq, note.as_str())), self.key.public())?;
        for entry in &self.entries {
            walk.step(entry)?;
        }
        walk.finish()
    }

    /// Ties the entries together anew, as somebody does who changes one and knows how.
    fn rewrite(&mut self) {
        let mut head = Head::default();
        for entry in &mut self.entries {
            *entry = head.append(entry.at, &serde_json::from_str(&entry.record).unwrap());
        }
    }

    fn export(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut exporter = Exporter::begin(&mut bytes, self.key.public()).unwrap();
        for (seq, note) in self.notes.iter().filter(|(seq, _)| *seq < self.entries[0].seq) {
            exporter.checkpoint(*seq, note).unwrap();
        }
        for entry in &self.entries {
            exporter.entry(entry).unwrap();
            for (seq, note) in self.notes.iter().filter(|(seq, _)| *seq == entry.seq) {
                exporter.checkpoint(*seq, note).unwrap();
            }
        }
        exporter.finish().unwrap();
        bytes
    }

    fn verify(&self, export: &[u8]) -> Result<Intact, ExportError> {
        export::verify(|| Ok(export), self.key.public())
    }
}

fn checkpoint(head: &Head, is_cut: bool) -> Checkpoint {
    Checkpoint { head: head.clone(), at: at(99), is_cut }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn index(seq: i64) -> usize {
    usize::try_from(seq - 1).unwrap()
}

fn broken(seq: i64, fault: Fault) -> Result<Intact, Broken> {
    Err(Broken { seq, fault })
}

#[test]
fn a_chain_that_was_left_alone_is_intact_and_says_how_far_it_is_covered() {
    let chain = Chain::new();
    let intact = chain.walk().unwrap();
    assert_eq!((intact.begun, intact.head.seq, intact.covered), (0, LENGTH, 9));
    assert_eq!(chain.verify(&chain.export()).unwrap(), intact);
    assert_eq!(export::key_of(&*chain.export()).unwrap(), *chain.key.public());
}

#[test]
fn what_was_removed_changed_or_rewritten_is_named() {
    let with = |change: fn(&mut Chain)| {
        let mut chain = Chain::new();
        change(&mut chain);
        chain.walk()
    };
    assert_eq!(with(|chain| drop(chain.entries.remove(5))), broken(6, Fault::Missing));
    assert_eq!(with(|chain| drop(chain.entries.remove(0))), broken(1, Fault::Missing));
    assert_eq!(with(|chain| chain.entries.swap(2, 3)), broken(3, Fault::Missing));
    assert_eq!(with(|chain| chain.entries[6].record = "{}".to_owned()), broken(7, Fault::Changed));
    // Behind the last checkpoint a tail may go unnoticed; before it, it may not.
    assert_eq!(with(|chain| chain.entries.truncate(10)).map(|intact| intact.head.seq), Ok(10));
    assert_eq!(with(|chain| chain.entries.truncate(7)), broken(8, Fault::Missing));
    // One who ties everything together anew is found by the first checkpoint behind the change.
    let rewritten = with(|chain| {
        chain.entries[1].record = "{}".to_owned();
        chain.rewrite();
    });
    assert_eq!(rewritten, broken(4, Fault::Rewritten));
    let own_key = with(|chain| {
        let mallory = SigningKey::new("bastide/t/audit", &[8; 32]).unwrap();
        let head = Head { seq: 4, hash: chain.entries[3].hash.clone() };
        chain.notes[0].1 = checkpoint(&head, false).sign(&mallory);
    });
    assert_eq!(own_key, broken(4, Fault::Forged));
    assert_eq!(with(|chain| chain.notes[0].0 = 5), broken(5, Fault::Forged));
}

#[test]
fn a_chain_that_was_cut_on_purpose_is_provable_from_the_cut_on() {
    let mut chain = Chain::new();
    chain.cut(4);
    let intact = chain.walk().unwrap();
    assert_eq!((intact.begun, intact.head.seq, intact.covered), (4, LENGTH, 9));
    assert_eq!(chain.verify(&chain.export()).unwrap(), intact);

    // Without a signed cut nothing may be missing at the beginning, not even up to a checkpoint.
    let mut stolen = Chain::new();
    stolen.entries.drain(..4);
    assert_eq!(stolen.walk(), broken(1, Fault::Missing));
    let mut more = Chain::new();
    more.cut(4);
    more.entries.remove(0);
    assert_eq!(more.walk(), broken(5, Fault::Missing));
}

proptest! {
    /// Every bit of every entry, and of every line of an export, counts.
    #[test]
    fn a_flipped_bit_of_an_export_shows(position in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let chain = Chain::new();
        let (good, first) = (chain.export(), chain.export().iter().position(|byte| *byte == b'\n').unwrap());
        let mut flipped = good.clone();
        // The first line names the key for the reader's convenience; verification takes the reader's own.
        let at = first + 1 + position.index(good.len() - first - 1);
        flipped[at] ^= 1 << bit;
        prop_assert!(chain.verify(&flipped).is_err(), "bit {bit} of byte {at}: {:?}", good[at] as char);
    }

    #[test]
    fn a_lost_line_of_an_export_shows_where_a_checkpoint_is_behind_it(line in 1..12_usize) {
        let chain = Chain::new();
        let export = String::from_utf8(chain.export()).unwrap();
        let mut lines: Vec<_> = export.lines().collect();
        let lost = lines.remove(line);
        prop_assume!(!lost.contains("checkpoint"));
        prop_assert!(matches!(chain.verify(lines.join("\n").as_bytes()), Err(ExportError::Broken(_))));
    }
}
