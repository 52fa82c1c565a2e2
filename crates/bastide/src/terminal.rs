//! The terminal this command runs in.

use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;

use bastide_plan::way_in::TerminalSize;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Whether a person sits at both ends: at standard input and at standard output.
pub(crate) fn is_at_both_ends() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Its size now; what terminals have always had, where there is none.
pub(crate) fn size() -> TerminalSize {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => TerminalSize { rows: size.ws_row, columns: size.ws_col },
        _ => TerminalSize { rows: 24, columns: 80 },
    }
}

/// Standard input as a terminal that hands over every key as it is typed, until this is dropped.
pub(crate) struct Raw(Option<Termios>);

impl Raw {
    /// Nothing, when standard input is no terminal.
    pub(crate) fn enter() -> io::Result<Self> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(Self(None));
        }
        let before = tcgetattr(stdin.as_fd())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin.as_fd(), OptionalActions::Drain, &raw)?;
        Ok(Self(Some(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // A terminal that is gone needs nothing put back.
            let _gone = tcsetattr(io::stdin().as_fd(), OptionalActions::Drain, before);
        }
    }
}
