//! What a person sees while something takes longer. Nothing of it goes to standard output, or into a file.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Instant;

/// A line on the terminal that says what is waited for; gone when it is dropped.
pub(crate) struct Progress {
    began: Instant,
    is_shown: bool,
    doing: String,
}

impl Progress {
    /// Of something that is being done, such as "Creating ci-1". A quiet one shows nothing.
    pub(crate) fn of(doing: String, is_quiet: bool) -> Self {
        Self { began: Instant::now(), is_shown: !is_quiet && io::stderr().is_terminal(), doing }
    }

    /// Says how far it is.
    pub(crate) fn say(&self, how_far: &str) {
        let seconds = self.began.elapsed().as_secs();
        // What is over at once needs no line.
        if self.is_shown && self.began.elapsed().as_millis() >= 400 {
            let how_far: String = how_far.chars().filter(|letter| !letter.is_control()).take(60).collect();
            let mut terminal = io::stderr();
            // A terminal that is gone shows nothing.
            let _ = write!(terminal, "\r\x1b[K{} ... {how_far} ({seconds} s)", self.doing);
            let _ = terminal.flush();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
