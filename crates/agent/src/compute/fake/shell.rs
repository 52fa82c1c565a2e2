//! Processes that are threads: `echo`, `cat`, `exit`, `sleep`, `stty size`, `true`, `false`, and `sh` with those.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bastide_plan::way_in::{Exit, Process, TerminalSize};

use super::locked;
use crate::compute::runtime::{Execution, Running, RuntimeError};
use crate::tool::readable;

/// What was written inside, by path.
pub(super) type Files = Arc<Mutex<BTreeMap<String, String>>>;

/// Starts one, which lives as long as `life`.
pub(super) fn start(process: &Process, files: Files, life: Arc<()>) -> Result<Execution, RuntimeError> {
    let program = process.command.first().map_or("", String::as_str);
    if !PROGRAMS.contains(&program) {
        return Err(failed(format!("{program}: no such program")));
    }
    let streams = match process.terminal {
        Some(_) => terminal(),
        None => pipes(),
    };
    let (ends, input, output) = streams.map_err(|error| failed(error.to_string()))?;
    let (ended, ending) = io::pipe().map_err(|error| failed(error.to_string()))?;
    let state = Arc::new(Mutex::new(State { exit: None, size: process.terminal }));
    let running = Thread { state: Arc::clone(&state), ended: ended.into() };
    let mut shell = Shell { files, state, input, output, home: process.account };
    let command = process.command.clone();
    std::thread::spawn(move || {
        let exit = shell.run(&command).unwrap_or(Exit::Status(1));
        locked(&shell.state).exit.get_or_insert(exit);
        drop((shell, life, ending));
    });
    Ok(Execution { ends, process: Box::new(running) })
}

type Streams = (Vec<OwnedFd>, File, File);

fn terminal() -> io::Result<Streams> {
    let (near, far) = UnixStream::pair()?;
    let far = OwnedFd::from(far);
    Ok((vec![near.into()], File::from(far.try_clone()?), File::from(far)))
}

fn pipes() -> io::Result<Streams> {
    let ((input, writer), (reader, output), (error, _)) = (io::pipe()?, io::pipe()?, io::pipe()?);
    let ends = vec![writer.into(), reader.into(), error.into()];
    Ok((ends, File::from(OwnedFd::from(input)), File::from(OwnedFd::from(output))))
}

fn failed(reason: String) -> RuntimeError {
    RuntimeError::Failed { what: "cannot start the process".to_owned(), reason }
}

#[derive(Debug)]
struct State {
    exit: Option<Exit>,
    size: Option<TerminalSize>,
}

/// A process from outside.
#[derive(Debug)]
struct Thread {
    state: Arc<Mutex<State>>,
    ended: OwnedFd,
}

impl AsFd for Thread {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}

impl Running for Thread {
    fn wait(&mut self, patience: Duration) -> Result<Option<Exit>, RuntimeError> {
        let ended = readable(&self.ended, patience).map_err(|error| failed(error.to_string()))?;
        Ok(if ended { locked(&self.state).exit } else { None })
    }

    fn signal(&mut self, signal: u8) -> Result<(), RuntimeError> {
        locked(&self.state).exit.get_or_insert(Exit::Signal(signal));
        Ok(())
    }

    fn resize(&mut self, size: TerminalSize) -> Result<(), RuntimeError> {
        let mut state = locked(&self.state);
        if state.size.is_none() {
            return Err(failed("it has no terminal".to_owned()));
        }
        state.size = Some(size);
        Ok(())
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        locked(&self.state).exit.get_or_insert(Exit::Signal(KILLED));
    }
}

/// A process from inside.
struct Shell {
    files: Files,
    state: Arc<Mutex<State>>,
    input: File,
    output: File,
    home: bastide_plan::way_in::Account,
}

impl Shell {
    fn run(&mut self, command: &[String]) -> io::Result<Exit> {
        let words: Vec<_> = command.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["sh", "-c", script] => {
                let words: Vec<_> = script.split_ascii_whitespace().collect();
                Ok(Exit::Status(self.word(&words)?))
            }
            ["sh"] => self.lines(),
            words => Ok(Exit::Status(self.word(words)?)),
        }
    }

    fn lines(&mut self) -> io::Result<Exit> {
        let (mut line, mut status) = (String::new(), 0);
        while let Some(text) = self.read()? {
            line.push_str(&text);
            while let Some((first, rest)) = line.split_once('\n') {
                let words: Vec<_> = first.split_ascii_whitespace().collect();
                status = self.word(&words)?;
                if words.first() == Some(&"exit") {
                    return Ok(Exit::Status(status));
                }
                line = rest.to_owned();
            }
        }
        Ok(Exit::Status(status))
    }

    fn word(&mut self, words: &[&str]) -> io::Result<u8> {
        match words {
            [] | ["true"] => {}
            ["false"] => return Ok(1),
            ["exit", status] => return Ok(status.parse().unwrap_or(2)),
            ["sleep", seconds] => self.sleep(seconds.parse().unwrap_or(0)),
            ["stty", "size"] => {
                let size = locked(&self.state).size;
                let Some(TerminalSize { rows, columns }) = size else { return Ok(1) };
                writeln!(self.output, "{rows} {columns}")?;
            }
            ["echo", text @ .., ">", path] => {
                locked(&self.files).insert(self.path(path), format!("{}\n", text.join(" ")));
            }
            ["echo", text @ ..] => writeln!(self.output, "{}", text.join(" "))?,
            ["cat", path] => {
                let Some(text) = locked(&self.files).get(&self.path(path)).cloned() else { return Ok(1) };
                self.output.write_all(text.as_bytes())?;
            }
            ["cat"] => {
                while let Some(text) = self.read()? {
                    self.output.write_all(text.as_bytes())?;
                }
            }
            _ => return Ok(NOT_FOUND),
        }
        Ok(0)
    }

    fn path(&self, path: &str) -> String {
        path.replacen('~', &format!("{:?}", self.home), 1)
    }

    /// What comes in; nothing at the end of it, or of the process.
    fn read(&mut self) -> io::Result<Option<String>> {
        while locked(&self.state).exit.is_none() {
            if readable(&self.input, TURN)? {
                let mut buffer = [0; 4096];
                let length = self.input.read(&mut buffer)?;
                let read = buffer.get(..length).filter(|read| !read.is_empty());
                return Ok(read.map(|read| String::from_utf8_lossy(read).into_owned()));
            }
        }
        Ok(None)
    }

    fn sleep(&self, seconds: u64) {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < deadline && locked(&self.state).exit.is_none() {
            std::thread::sleep(TURN);
        }
    }
}

const PROGRAMS: [&str; 8] = ["cat", "echo", "exit", "false", "sh", "sleep", "stty", "true"];

const NOT_FOUND: u8 = 127;

const KILLED: u8 = 9;

const TURN: Duration = Duration::from_millis(5);
