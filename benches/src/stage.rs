//! What every bench of the front door begins with.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Outcome;
use crate::report::Report;
use crate::server::{Binary, DataDirectory};

/// The binary under measurement, a place on the disk, and the report.
pub struct Stage {
    /// What was measured so far.
    pub report: Report,
    /// The binary.
    pub binary: Binary,
    disk: TempDir,
}

impl Stage {
    /// Begins a bench. `temporary` is `CARGO_TARGET_TMPDIR`, below the build's own directory: /tmp is often memory, which
    /// flushes for nothing.
    pub fn begin(bench: &'static str, temporary: &str) -> Outcome<Self> {
        // The client's cryptography; installing fails only when it is installed.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let binary = Binary::find(Path::new(temporary))?;
        Ok(Self { report: Report::begin(bench), binary, disk: tempfile::tempdir_in(temporary)? })
    }

    /// A place of this bench; it goes with the bench.
    pub fn path(&self, name: &str) -> PathBuf {
        self.disk.path().join(name)
    }

    /// A directory for the state of a server.
    pub fn directory(&self, name: &str) -> Outcome<DataDirectory> {
        DataDirectory::new(&self.binary, self.path(name))
    }
}
