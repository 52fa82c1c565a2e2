//! Scripts that set an instance up, and what they print.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use bastide_plan::compute_plan::Script;
use bastide_plan::hub_plan::ComputeId;
use bastide_plan::way_in::{Account, Exit, Process};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::runtime::{Execution, Running, Runtime};

/// Runs a script to its end, or to that of its time. What it prints goes to a file, of which the end is kept.
pub fn run(runtime: &dyn Runtime, compute: ComputeId, script: &Script, log: &Path) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(script.seconds.into());
    let mut log = Log::create(log).map_err(|error| format!("its output cannot be kept: {error}"))?;
    let command = [SHELL, "-c", HARNESS, "script"].into_iter().map(str::to_owned);
    let process = Process {
        command: command.chain(script.arguments.iter().cloned()).collect(),
        account: Account::Root,
        environment: std::collections::BTreeMap::new(),
        directory: None,
        terminal: None,
    };
    let Execution { ends, process } = runtime.exec(compute, &process).map_err(|error| error.to_string())?;
    let mut ends = ends.into_iter();
    let feeder = ends.next().map(|input| feed(input, script.content.clone()));
    let outcome = follow(process, ends.map(File::from).collect(), &mut log, deadline);
    // The process has ended, and with it the other end of what it read from.
    drop(feeder);
    let complaint = match outcome.map_err(|error| format!("it cannot be followed: {error}"))? {
        Some(Exit::Status(0)) => return Ok(()),
        Some(Exit::Status(status)) => format!("it ended with status {status}"),
        Some(Exit::Signal(signal)) => format!("it was ended by signal {signal}"),
        None => format!("it took longer than its {} s, and was ended", script.seconds),
    };
    match log.last_line() {
        Some(line) => Err(format!("{complaint}. Its last line: {line}")),
        None => Err(complaint),
    }
}

/// The end of what a script has printed.
pub fn printed(log: &Path) -> io::Result<String> {
    let mut file = match File::open(log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        opened => opened?,
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(KEPT)))?;
    let mut bytes = Vec::new();
    file.take(KEPT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn feed(input: OwnedFd, content: String) -> Option<std::thread::JoinHandle<()>> {
    let body = move || {
        // One that does not read all of it has ended before.
        let _ = File::from(input).write_all(content.as_bytes());
    };
    std::thread::Builder::new().name("script".to_owned()).spawn(body).ok()
}

/// Until the process has ended; what it has started may go on. `None`: it was out of time.
fn follow(
    mut process: Box<dyn Running>,
    mut outputs: Vec<File>,
    log: &mut Log,
    deadline: Instant,
) -> io::Result<Option<Exit>> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let (has_ended, readable) = look(process.as_ref(), &outputs, left)?;
        drain(&mut outputs, &readable, log)?;
        if has_ended && let Some(exit) = process.wait(left).map_err(io::Error::other)? {
            loop {
                let (_, readable) = look(process.as_ref(), &outputs, Duration::ZERO)?;
                if readable.is_empty() {
                    return Ok(Some(exit));
                }
                drain(&mut outputs, &readable, log)?;
            }
        }
    }
}

/// Whether the process has ended, and which outputs have something.
fn look(process: &dyn Running, outputs: &[File], patience: Duration) -> io::Result<(bool, Vec<usize>)> {
    let mut all = vec![PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
    all.extend(outputs.iter().map(|output| PollFd::new(output, PollFlags::IN)));
    let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
    poll(&mut all, Some(&patience))?;
    let mut is_ready = all.iter().map(|one| !one.revents().is_empty());
    let has_ended = is_ready.next().unwrap_or_default();
    let readable = is_ready.enumerate().filter_map(|(index, is_ready)| is_ready.then_some(index));
    Ok((has_ended, readable.collect()))
}

fn drain(outputs: &mut Vec<File>, readable: &[usize], log: &mut Log) -> io::Result<()> {
    let mut portion = vec![0; PORTION];
    for index in readable.iter().rev() {
        let Some(output) = outputs.get_mut(*index) else { continue };
        let count = output.read(&mut portion).unwrap_or_default();
        if count == 0 {
            outputs.remove(*index);
        }
        log.write(portion.get(..count).unwrap_or_default())?;
    }
    Ok(())
}

/// A file that keeps the end of what is written to it.
struct Log {
    file: File,
    length: u64,
}

impl Log {
    fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
        Ok(Self { file, length: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.length += bytes.len() as u64;
        if self.length <= 2 * KEPT {
            return Ok(());
        }
        let end = self.end(KEPT)?;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&end)?;
        self.length = end.len() as u64;
        Ok(())
    }

    fn end(&mut self, most: u64) -> io::Result<Vec<u8>> {
        let mut end = Vec::new();
        self.file.seek(SeekFrom::Start(self.length.saturating_sub(most)))?;
        self.file.read_to_end(&mut end)?;
        Ok(end)
    }

    fn last_line(&mut self) -> Option<String> {
        let end = self.end(LONGEST_LINE).ok()?;
        let text = String::from_utf8_lossy(&end);
        let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
        Some(line.chars().filter(|letter| !letter.is_control()).collect())
    }
}

const SHELL: &str = "/bin/sh";

/// A script comes over standard input and goes to a file first: it may name its interpreter, and must not find itself on
/// its own standard input. It has one output: of two, nobody could tell which line was the last.
const HARNESS: &str = r#"umask 077; file=$(mktemp) && cat > "$file" && chmod 700 "$file" || exit 126
umask 022; "$file" "$@" < /dev/null 2>&1; status=$?; rm -f "$file"; exit $status"#;

/// Bytes of what a script has printed.
const KEPT: u64 = 256 << 10;

const PORTION: usize = 64 << 10;

const LONGEST_LINE: u64 = 300;
