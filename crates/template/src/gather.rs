//! What is collected while a value is evaluated: its parts, what they need, and where secrets went.

use std::fmt::Write;

use crate::data::Data;
use crate::error::{Needs, Stop};

/// Where in the result secrets ended up, as JSON pointers.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pointer: String,
    pub(crate) secrets: Vec<String>,
}

impl Trace {
    /// Goes down into an item; the mark leads back.
    pub(crate) fn item(&mut self, index: usize) -> usize {
        let mark = self.pointer.len();
        let _ = write!(self.pointer, "/{index}");
        mark
    }

    /// Goes down into a member; the mark leads back.
    pub(crate) fn member(&mut self, name: &str) -> usize {
        let mark = self.pointer.len();
        let _ = write!(self.pointer, "/{}", name.replace('~', "~0").replace('/', "~1"));
        mark
    }

    pub(crate) fn back(&mut self, mark: usize) {
        self.pointer.truncate(mark);
    }

    /// What is here now is secret.
    pub(crate) fn secret(&mut self) {
        self.secrets.push(self.pointer.clone());
    }
}

/// Collects values; when one is missing, what all of them need.
#[derive(Default)]
pub(crate) struct Gather {
    values: Vec<Data>,
    needs: Option<Needs>,
}

impl Gather {
    pub(crate) fn add(&mut self, outcome: Result<Data, Stop>) -> Result<(), Stop> {
        match outcome {
            Ok(value) => self.values.push(value),
            Err(Stop::Missing(needs)) => self.needs.get_or_insert_default().absorb(*needs),
            Err(error @ Stop::Invalid(_)) => return Err(error),
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<Vec<Data>, Stop> {
        match self.needs {
            Some(needs) => Err(Stop::Missing(Box::new(needs))),
            None => Ok(self.values),
        }
    }
}
