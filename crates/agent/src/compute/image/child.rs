//! Running what makes images: programs that take long, say how far they are, and may fail.

use std::collections::VecDeque;
use std::io::{self, PipeReader, Read as _};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::ImageError;

/// A program, and what to say when it is not there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) package: &'static str,
    /// How long it may take.
    pub(super) patience: Duration,
}

/// Runs a command, gives each line that it prints, on either output, to `on_line`, and ends it when it takes too long.
pub(super) fn run(program: Program, command: Command, mut on_line: impl FnMut(&str)) -> Result<(), ImageError> {
    let until = Instant::now() + program.patience;
    let missing = |reason| ImageError::Missing { program: program.name, package: program.package, reason };
    let (mut said, mut child) = start(command).map_err(missing)?;
    let mut last = VecDeque::new();
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while wait_for(&said, until).map_err(missing)? {
        let length = said.read(&mut buffer).map_err(missing)?;
        if length == 0 {
            return child.finish(program, until, last);
        }
        text.extend_from_slice(buffer.get(..length).unwrap_or_default());
        while let Some(end) = text.iter().position(|byte| *byte == b'\n' || *byte == b'\r').or(full(&text)) {
            let line: Vec<u8> = text.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim();
            tracing::debug!(program = program.name, "{line}");
            on_line(line);
            if !line.is_empty() {
                last.truncate(COMPLAINT_LINES - 1);
                last.push_front(line.to_owned());
            }
        }
    }
    Err(ImageError::Late { program: program.name, patience: program.patience })
}

/// The place of the last byte, when that is far enough for one line.
fn full(text: &[u8]) -> Option<usize> {
    (text.len() >= LONGEST_LINE).then(|| text.len() - 1)
}

/// Killed when it is dropped.
struct Kept(Child);

impl Kept {
    /// For when it has said its last.
    fn finish(&mut self, program: Program, until: Instant, last: VecDeque<String>) -> Result<(), ImageError> {
        let Program { name: program, package, patience } = program;
        let status = loop {
            match self.0.try_wait().map_err(|reason| ImageError::Missing { program, package, reason })? {
                Some(status) => break status,
                None if Instant::now() > until => return Err(ImageError::Late { program, patience }),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        if status.success() {
            return Ok(());
        }
        let complaint = last.into_iter().rev().collect::<Vec<_>>().join("; ");
        let complaint = if complaint.is_empty() { status.to_string() } else { complaint };
        Err(ImageError::Failed { program, complaint })
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The command, which holds the other end of what it prints, is dropped here: the end of that is the end of all who
/// print.
fn start(mut command: Command) -> io::Result<(PipeReader, Kept)> {
    let (said, theirs) = io::pipe()?;
    command.stdout(theirs.try_clone()?).stderr(theirs);
    Ok((said, Kept(command.spawn()?)))
}

/// Whether there is something to read before that.
fn wait_for(pipe: &PipeReader, until: Instant) -> io::Result<bool> {
    let left = until.saturating_duration_since(Instant::now());
    let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
    Ok(poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&left))? > 0)
}

const COMPLAINT_LINES: usize = 6;
const LONGEST_LINE: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_heard_and_the_last_ones_are_the_complaint() {
        let mut heard = Vec::new();
        let outcome =
            shell("echo one; echo two >&2; exit 3", Duration::from_secs(10), |line| heard.push(line.to_owned()));
        assert_eq!(heard, ["one", "two"]);
        assert_eq!(outcome.unwrap_err().to_string(), "sh failed: one; two");
    }

    #[test]
    fn what_takes_too_long_is_ended() {
        let started = Instant::now();
        let outcome = shell("sleep 30", Duration::from_millis(50), |_| {});
        assert!(matches!(outcome.unwrap_err(), ImageError::Late { program: "sh", .. }));
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        let program = Program { name: "no-such", package: "such", patience: Duration::from_secs(1) };
        let error = run(program, Command::new("/no/such"), |_| {}).unwrap_err().to_string();
        assert!(error.ends_with("Install the package 'such' on the node"), "{error}");
    }

    fn shell(script: &str, patience: Duration, on_line: impl FnMut(&str)) -> Result<(), ImageError> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(Program { name: "sh", package: "dash", patience }, command, on_line)
    }
}
