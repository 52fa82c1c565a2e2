//! What the properties of a kind of compute are made of: words to choose from, switches, what is for life, what is only
//! answered.

use bastide_arm::error::ArmError;
use serde_json::{Map, Value};

use super::{AT, Terms, keep, no_subnet, size};
use crate::field;

/// The properties of a kind of compute that need no thought of their own.
pub(super) struct Vocabulary {
    /// Name, words, and the word that is meant when nothing is said.
    pub choices: &'static [(&'static str, &'static [&'static str], &'static str)],
    /// Name, and what is meant when nothing is said.
    pub flags: &'static [(&'static str, bool)],
    /// What is decided when a compute is made.
    pub for_life: &'static [&'static str],
    /// What is answered, and does not count when it is sent back.
    pub read_only: &'static [&'static str],
}

impl Vocabulary {
    /// Leaves out what does not count, and brings words and switches into their one spelling.
    pub(super) fn read(&self, inner: &mut Map<String, Value>) -> Result<(), ArmError> {
        inner.retain(|name, value| !value.is_null() && !self.read_only.contains(&name.as_str()));
        for (name, words, _) in self.choices {
            if let Some(word) = field::choice(inner, name, AT, words)? {
                inner.insert((*name).to_owned(), word.into());
            }
        }
        for (name, _) in self.flags {
            if let Some(flag) = field::flag(inner, name, AT)? {
                inner.insert((*name).to_owned(), flag.into());
            }
        }
        Ok(())
    }

    /// Keeps what is for life, and says what nobody has said. The size must be one that the host can carry.
    pub(super) fn complete(&self, inner: &mut Map<String, Value>, terms: &Terms<'_>) -> Result<(), ArmError> {
        if let Some(before) = terms.before {
            for name in self.for_life {
                keep(inner, before, name, AT)?;
            }
        }
        size(inner, terms.capacity)?;
        no_subnet(inner)?;
        for (name, _, default) in self.choices {
            inner.entry(*name).or_insert_with(|| (*default).into());
        }
        for (name, default) in self.flags {
            inner.entry(*name).or_insert_with(|| (*default).into());
        }
        Ok(())
    }
}
