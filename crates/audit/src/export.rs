//! The chain as JSON lines, to be kept and verified elsewhere.
//!
//! The first line says what it is and for which key; then come entries and signed checkpoints, each on a line of its own,
//! in order. The text of each `record` is the one that was hashed, byte for byte.

use std::io::{self, BufRead, Write};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::entry::Entry;
use crate::key::VerifyingKey;
use crate::walk::{Broken, Intact, Walk};

/// Writes an export, line by line.
#[derive(Debug)]
pub struct Exporter<W> {
    to: W,
}

impl<W: Write> Exporter<W> {
    /// Writes the first line.
    pub fn begin(mut to: W, key: &VerifyingKey) -> io::Result<Self> {
        write_line(&mut to, &Line { audit_export: Some(VERSION), key: Some(key.to_string()), ..Line::default() })?;
        Ok(Self { to })
    }

    /// Writes an entry.
    pub fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        let record: Box<RawValue> = RawValue::from_string(entry.record.clone()).map_err(io::Error::other)?;
        let line = Line {
            seq: Some(entry.seq),
            at: Some(entry.at),
            prev_hash: Some(entry.prev_hash.clone()),
            hash: Some(entry.hash.clone()),
            record: Some(record),
            ..Line::default()
        };
        write_line(&mut self.to, &line)
    }

    /// Writes the signed checkpoint of a number.
    pub fn checkpoint(&mut self, seq: i64, note: &str) -> io::Result<()> {
        write_line(&mut self.to, &Line { seq: Some(seq), checkpoint: Some(note.to_owned()), ..Line::default() })
    }

    /// Makes sure that everything is out.
    pub fn finish(mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// What keeps an export from being verified.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It cannot be read.
    #[error("the export cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// A line is not one of an export.
    #[error("line {line} is not one of an audit export: {problem}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The chain in it was changed.
    #[error("{0}")]
    Broken(Broken),
}

/// Verifies an export against a key that its reader has from elsewhere.
///
/// The checkpoints come first: a first pass reads them, a second walks the entries. So `open` is asked twice.
pub fn verify<R: BufRead>(mut open: impl FnMut() -> io::Result<R>, key: &VerifyingKey) -> Result<Intact, ExportError> {
    let mut notes = Vec::new();
    for_each_line(open()?, |_, line| {
        notes.extend(line.checkpoint.and_then(|note| Some((line.seq?, note))));
        Ok(())
    })?;
    let notes = notes.iter().map(|(seq, note)| (*seq, note.as_str()));
    let mut walk = Walk::begin(notes, key).map_err(ExportError::Broken)?;
    for_each_line(open()?, |number, line| {
        let Line {
            seq: Some(seq),
            at: Some(at),
            prev_hash: Some(prev_hash),
            hash: Some(hash),
            record: Some(record),
            ..
        } = line
        else {
            let is_other = line.checkpoint.is_some() || line.audit_export == Some(VERSION) && number == 1;
            let problem = "it is neither an entry nor a checkpoint of this version".to_owned();
            return if is_other { Ok(()) } else { Err(ExportError::Line { line: number, problem }) };
        };
        let entry = Entry { seq, at, prev_hash, hash, record: record.get().to_owned() };
        walk.step(&entry).map_err(ExportError::Broken)
    })?;
    walk.finish().map_err(ExportError::Broken)
}

/// The key that an export names in its first line. Whoever changes an export can change that too.
pub fn key_of(mut export: impl BufRead) -> Result<VerifyingKey, ExportError> {
    let mut first = String::new();
    export.read_line(&mut first)?;
    let problem = |problem: String| ExportError::Line { line: 1, problem };
    let line: Line = serde_json::from_str(&first).map_err(|error| problem(error.to_string()))?;
    let key = line.key.ok_or_else(|| problem("it names no key".to_owned()))?;
    key.parse().map_err(|error: crate::KeyError| problem(error.to_string()))
}

fn for_each_line(
    export: impl BufRead,
    mut take: impl FnMut(usize, Line) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    for (number, line) in (1..).zip(export.lines()) {
        let line = line?;
        let problem = |problem: String| ExportError::Line { line: number, problem };
        let read: Line = serde_json::from_str(&line).map_err(|error| problem(error.to_string()))?;
        // One text for one line: what means the same and is written otherwise was touched.
        if serde_json::to_string(&read).ok().as_ref() != Some(&line) {
            return Err(problem("it is not written the way Bastide writes it".to_owned()));
        }
        take(number, read)?;
    }
    Ok(())
}

fn write_line(to: &mut impl Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *to, line)?;
    to.write_all(b"\n")
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    audit_export: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<String>,
}

/// The version of the format.
const VERSION: u32 = 1;
