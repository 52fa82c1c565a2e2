//! Keeps the audit chain provable: signs how far it has come, writes that down elsewhere too, cuts off what has been kept
//! for long enough.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bastide_arm::clock::Clock;
use bastide_audit::{Broken, Checkpoint, Head, SigningKey, Walk};
use bastide_store::{AuditNote, Change, CommitError, Store, StoreError, Write};
use jiff::SignedDuration;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

/// Signs checkpoints while a server runs.
#[derive(Debug)]
pub struct AuditKeeper {
    store: Store,
    key: SigningKey,
    clock: Arc<dyn Clock>,
    settings: AuditSettings,
    /// The last checkpoint: what is behind it has yet to be verified and signed.
    last: Head,
}

/// What the operator decides about the audit chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditSettings {
    /// How long entries are kept; for ever when it is not said.
    pub retention: Option<SignedDuration>,
    /// Files that every checkpoint is appended to: best on another disk or host.
    pub copies: Vec<PathBuf>,
}

/// What keeps a checkpoint from being signed.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The chain was tampered with: what is wrong must not be signed.
    #[error(
        "the audit chain is broken: {0}; run 'bastide audit verify', and keep the database for whoever looks into it"
    )]
    Broken(Broken),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The checkpoint could not be written.
    #[error("the checkpoint was not stored: {0}")]
    Commit(#[from] CommitError),
    /// A copy could not be written.
    #[error("the checkpoint was not copied to {}: {source}", .path.display())]
    Copy {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl AuditKeeper {
    /// A keeper that goes on from the last checkpoint there is.
    pub async fn open(
        store: Store,
        key: SigningKey,
        clock: Arc<dyn Clock>,
        settings: AuditSettings,
    ) -> Result<Self, KeeperError> {
        let notes = store.audit_chain().notes().await?;
        let known = notes.last().map(|note| (note.seq, Checkpoint::open(&note.note, key.public())));
        let last = match known {
            None => Head::default(),
            Some((_, Ok(checkpoint))) => checkpoint.head,
            Some((seq, Err(_))) => {
                return Err(KeeperError::Broken(Broken { seq, fault: bastide_audit::Fault::Forged }));
            }
        };
        Ok(Self { store, key, clock, settings, last })
    }

    /// Signs a checkpoint a minute while there is something new, and cuts once an hour, for as long as it is polled.
    pub async fn run(&mut self) {
        let mut minutes = tokio::time::interval(EVERY);
        minutes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for minute in 0_u32.. {
            minutes.tick().await;
            let done = match self.checkpoint().await {
                Ok(()) if minute.is_multiple_of(CUT_EVERY) => self.cut().await.map(drop),
                done => done,
            };
            if let Err(error) = done {
                tracing::error!(%error, "no checkpoint was signed");
            }
        }
    }

    /// Verifies what has come in since the last checkpoint, and signs that.
    pub async fn checkpoint(&mut self) -> Result<(), KeeperError> {
        let chain = self.store.audit_chain();
        let head = chain.head().await?;
        if head == self.last {
            return Ok(());
        }
        let walked = chain.walk(Walk::from(self.last.clone()), head).await?;
        let head = walked.map_err(KeeperError::Broken)?.head;
        self.sign(head, false, Vec::new(), None).await
    }

    /// Cuts off entries that are older than the retention, a bounded number at a time, and says how many. The cut itself
    /// is signed and on record, and the last entry always stays.
    pub async fn cut(&mut self) -> Result<i64, KeeperError> {
        let Some(retention) = self.settings.retention else { return Ok(0) };
        let now = self.clock.now();
        let Ok(earliest) = now.checked_sub(retention) else { return Ok(0) };
        let chain = self.store.audit_chain();
        let old = chain.entries(0, MAX_CUT).await?;
        let old: Vec<_> =
            old.into_iter().take_while(|entry| entry.at < earliest && entry.seq < self.last.seq).collect();
        let (Some(first), Some(end)) = (old.first(), old.last()) else { return Ok(0) };
        let head = Head { seq: end.seq, hash: end.hash.clone() };
        let notes = chain.notes().await?;
        let mut changes: Vec<Change> = notes.iter().filter(|note| note.seq < head.seq).map(AuditNote::delete).collect();
        changes.push(Change::CutAudit(head.seq));
        let record = json!({
            "caller": "Bastide",
            "action": "Microsoft.Insights/eventtypes/management/cut",
            "status": "Succeeded",
            "from": first.seq,
            "through": head.seq,
            "retention": retention.to_string(),
        });
        let count = head.seq + 1 - first.seq;
        let last = self.last.clone();
        self.sign(head, true, changes, Some(record)).await?;
        // A cut lies behind: what is to be signed next goes on from the last checkpoint.
        self.last = last;
        Ok(count)
    }

    async fn sign(
        &mut self,
        head: Head,
        is_cut: bool,
        mut changes: Vec<Change>,
        record: Option<serde_json::Value>,
    ) -> Result<(), KeeperError> {
        let at = self.clock.now();
        let note = Checkpoint { head: head.clone(), at, is_cut }.sign(&self.key);
        changes.push(AuditNote { seq: head.seq, note: note.clone() }.put());
        let audit = record.into_iter().collect();
        self.store.commit(Write { changes, audit, ..Write::new(at) }).await?;
        tracing::info!(seq = head.seq, hash = head.hash, is_cut, "audit checkpoint");
        for path in &self.settings.copies {
            let line = json!({"seq": head.seq, "checkpoint": note}).to_string();
            append(path, &line).await.map_err(|source| KeeperError::Copy { path: path.clone(), source })?;
        }
        self.last = head;
        Ok(())
    }
}

async fn append(path: &PathBuf, line: &str) -> std::io::Result<()> {
    let mut file = tokio::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path).await?;
    file.write_all(format!("{line}\n").as_bytes()).await?;
    file.sync_all().await
}

/// How often the chain is signed.
const EVERY: Duration = Duration::from_mins(1);

/// ... and cut, in rounds.
const CUT_EVERY: u32 = 60;

/// Entries that one cut takes off.
const MAX_CUT: u32 = 20_000;
