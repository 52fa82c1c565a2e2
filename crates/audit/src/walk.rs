use std::collections::BTreeMap;
use std::fmt;

use crate::checkpoint::Checkpoint;
use crate::entry::{Entry, Head};
use crate::key::VerifyingKey;

/// A walk along a chain, from its first entry to its last.
#[derive(Debug, Clone)]
pub struct Walk {
    head: Head,
    begun: i64,
    /// Those that lie ahead.
    ahead: BTreeMap<i64, Checkpoint>,
    covered: i64,
}

/// What a walk found when every entry is there, unchanged and in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intact {
    /// The number before the first entry: not 0 when older ones were cut off on purpose.
    pub begun: i64,
    /// The last entry. Keep a copy elsewhere to notice a rewritten chain.
    pub head: Head,
    /// The number up to which a signed checkpoint covers the chain; 0 when there is none. A removed tail shows up to here.
    pub covered: i64,
}

/// Somebody, or something, has changed the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The first number at which it is not as it was written.
    pub seq: i64,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The entry is not there.
    Missing,
    /// The entry does not match its hash, or does not follow from the one before it.
    Changed,
    /// The entry lies outside the chain: before its first or behind its last.
    Foreign,
    /// The entry is not the one a checkpoint was signed for: the chain was written anew up to here, or further.
    Rewritten,
    /// What stands as the checkpoint of this number was not signed by the key.
    Forged,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seq = self.seq;
        match self.fault {
            Fault::Missing => write!(f, "entry {seq} is missing"),
            Fault::Changed => write!(f, "entry {seq} was changed, or does not follow from the one before it"),
            Fault::Foreign => write!(f, "entry {seq} does not belong to the chain"),
            Fault::Rewritten => write!(f, "entry {seq} is not the one its checkpoint was signed for"),
            Fault::Forged => write!(f, "the checkpoint at entry {seq} is not signed by the audit key"),
        }
    }
}

impl Walk {
    /// Begins at the last cut, or at the first entry. The notes are signed checkpoints with their numbers, in any order.
    pub fn begin<'a>(notes: impl IntoIterator<Item = (i64, &'a str)>, key: &VerifyingKey) -> Result<Self, Broken> {
        let mut ahead: BTreeMap<i64, Checkpoint> = BTreeMap::new();
        for (seq, note) in notes {
            let forged = Broken { seq, fault: Fault::Forged };
            let checkpoint = Checkpoint::open(note, key).map_err(|_| forged.clone())?;
            if checkpoint.head.seq != seq {
                return Err(forged);
            }
            match ahead.get(&seq) {
                Some(other) if other.head != checkpoint.head => return Err(Broken { seq, fault: Fault::Rewritten }),
                // What was cut stays cut.
                Some(other) if other.is_cut => {}
                _ => {
                    ahead.insert(seq, checkpoint);
                }
            }
        }
        let cut = ahead.values().rev().find(|checkpoint| checkpoint.is_cut);
        let head = cut.map(|cut| cut.head.clone()).unwrap_or_default();
        let mut walk = Self { begun: head.seq, covered: head.seq, ahead: ahead.split_off(&(head.seq + 1)), head };
        // Entries have numbers from 1 on.
        walk.ahead.retain(|seq, _| *seq > 0);
        Ok(walk)
    }

    /// Begins at the first entry, believing no checkpoint.
    pub fn unsigned() -> Self {
        Self::from(Head::default())
    }

    /// Begins behind an entry that is known to be good.
    pub fn from(head: Head) -> Self {
        Self { begun: head.seq, covered: head.seq, ahead: BTreeMap::new(), head }
    }

    /// The last entry passed.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Passes the next entry.
    pub fn step(&mut self, entry: &Entry) -> Result<(), Broken> {
        let seq = self.head.seq + 1;
        if entry.seq < seq {
            return Err(Broken { seq: entry.seq, fault: Fault::Foreign });
        }
        if entry.seq != seq {
            return Err(Broken { seq, fault: Fault::Missing });
        }
        if entry.prev_hash != self.head.hash || !entry.is_sound() {
            return Err(Broken { seq, fault: Fault::Changed });
        }
        self.head = Head { seq, hash: entry.hash.clone() };
        if let Some(checkpoint) = self.ahead.remove(&seq) {
            if checkpoint.head != self.head {
                return Err(Broken { seq, fault: Fault::Rewritten });
            }
            self.covered = seq;
        }
        Ok(())
    }

    /// Ends, when there are no more entries.
    pub fn finish(self) -> Result<Intact, Broken> {
        if self.ahead.is_empty() {
            Ok(Intact { begun: self.begun, head: self.head, covered: self.covered })
        } else {
            Err(Broken { seq: self.head.seq + 1, fault: Fault::Missing })
        }
    }
}
