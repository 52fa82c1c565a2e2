//! The chain of a data directory, without the server.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use bastide_audit::SigningKey;
use bastide_audit::export::Exporter;
use bastide_audit::{Checkpoint, Head};
use bastide_store::{AuditChain, Location};
use jiff::Timestamp;

use super::Place;
use super::key_file::{KeyFile, KeyFileError};
use crate::configuration::{Configuration, Given};

/// Where a chain is, and the key that signs it.
pub(super) struct Chain {
    location: Location,
    directory: PathBuf,
}

impl Chain {
    /// The chain of the place that was named, or of the default directory.
    pub(super) fn find(place: &Place) -> Result<Self, Box<dyn Error>> {
        let given = Given { data_dir: place.data_dir.clone(), database: place.database.clone(), ..Given::default() };
        let configuration = Configuration::read(given, place.config.as_deref())?;
        let directory = configuration.data_directory;
        let location = match configuration.database {
            Some(url) => Location::Postgres(url),
            None => {
                let file = directory.join("bastide.db");
                // Looking must not make one.
                if !file.is_file() {
                    return Err(format!(
                        "there is no database at {}: name a data directory with --data-dir",
                        file.display()
                    )
                    .into());
                }
                Location::Sqlite(file)
            }
        };
        Ok(Self { location, directory })
    }

    /// The key that signs its checkpoints.
    pub(super) fn key(&self) -> Result<SigningKey, KeyFileError> {
        let file = KeyFile::of(&self.directory);
        file.read()?.ok_or_else(|| KeyFileError::Missing(file.path().to_owned()))
    }

    /// The chain itself.
    pub(super) fn open(&self) -> Result<AuditChain, Box<dyn Error>> {
        Ok(AuditChain::open(&self.location)?)
    }

    /// Writes everything up to now, with a checkpoint signed for the very end.
    pub(super) async fn export(&self, to: impl Write) -> Result<(), Box<dyn Error>> {
        let (key, chain) = (self.key()?, self.open()?);
        let head = chain.head().await?;
        let mut notes = chain.notes().await?;
        notes.retain(|note| note.seq <= head.seq);
        let mut notes = notes.into_iter().peekable();
        let mut exporter = Exporter::begin(to, key.public())?;
        let mut at = None;
        loop {
            let entries = chain.entries(at.unwrap_or(0), PAGE).await?;
            for entry in entries.iter().filter(|entry| entry.seq <= head.seq) {
                while let Some(note) = notes.next_if(|note| note.seq < entry.seq) {
                    exporter.checkpoint(note.seq, &note.note)?;
                }
                exporter.entry(entry)?;
            }
            match entries.last() {
                Some(last) if last.seq < head.seq => at = Some(last.seq),
                _ => break,
            }
        }
        let last = notes.last();
        match last {
            Some(note) if note.seq == head.seq => exporter.checkpoint(note.seq, &note.note)?,
            _ => {
                let Head { seq, .. } = head;
                let note = Checkpoint { head, at: Timestamp::now(), is_cut: false }.sign(&key);
                exporter.checkpoint(seq, &note)?;
            }
        }
        Ok(exporter.finish()?)
    }
}

/// Entries read at a time.
const PAGE: u32 = 1000;
