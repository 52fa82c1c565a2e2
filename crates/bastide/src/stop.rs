//! Stopping on SIGINT and SIGTERM.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that stop a Bastide.
///
/// The handlers are installed whatever the disposition was: a shell starts background jobs with SIGINT ignored, and
/// scripts count on it all the same.
#[derive(Debug)]
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// Installs the handlers.
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Resolves at the first signal; from then on the next one ends the process at once.
    pub(crate) async fn asked(mut self) {
        tracing::info!("{} received: stopping", self.next().await);
        tokio::spawn(async move {
            eprintln!("bastide: {} received again: not waiting any longer", self.next().await);
            std::process::exit(1);
        });
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
