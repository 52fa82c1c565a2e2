//! Running `crun` or `runc`, detached and with a deadline.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::Mode;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use serde::Deserialize;

use super::cgroup::{Beside, Groups};
use super::children::Children;
use super::failed;
use super::folder::make_private;
use crate::compute::runtime::RuntimeError;
use crate::tool::readable;

/// The runtimes that are installed on this node.
#[derive(Debug)]
pub(super) struct Tools {
    preferred: Tool,
    /// Instances that another one has started are its own for as long as they run.
    others: Vec<Tool>,
}

/// A runtime that is installed on this node.
#[derive(Debug)]
pub(super) struct Tool {
    program: PathBuf,
    name: String,
    /// What it knows of its instances.
    state: PathBuf,
    /// Control groups that it must not see.
    hidden: Option<Beside>,
    children: &'static Children,
}

/// What a run of the runtime gets as standard input, output and error. They go on to what it starts.
pub(super) type Streams = [Stdio; 3];

impl Tools {
    /// Finds those that there are. `crun` is preferred: it starts a process in a third of the time that `runc` takes.
    pub(super) fn find(state: &Path, groups: &Groups, children: &'static Children) -> Result<Self, RuntimeError> {
        let (mut tools, mut complaints) = (Vec::new(), Vec::new());
        for (name, _) in OLDEST {
            let found = program(name).ok_or_else(|| format!("{name} is not installed"));
            match found.and_then(|program| Tool::admit(state, &program, groups, children)) {
                Ok(tool) => tools.push(tool),
                Err(complaint) => complaints.push(complaint),
            }
        }
        let mut tools = tools.into_iter();
        let Some(preferred) = tools.next() else {
            let complaints = complaints.join(", ");
            return Err(RuntimeError::Unable(format!(
                "this node cannot run instances: {complaints}. Install crun or runc"
            )));
        };
        Ok(Self { preferred, others: tools.collect() })
    }

    /// Takes one that somebody has chosen.
    pub(super) fn chosen(
        state: &Path,
        program: &Path,
        groups: &Groups,
        children: &'static Children,
    ) -> Result<Self, RuntimeError> {
        let preferred = Tool::admit(state, program, groups, children).map_err(RuntimeError::Unable)?;
        Ok(Self { preferred, others: Vec::new() })
    }

    /// The one that new instances are started by.
    pub(super) fn preferred(&self) -> &Tool {
        &self.preferred
    }

    /// The one that knows an instance, if any does.
    pub(super) fn knowing(&self, id: &str) -> Option<&Tool> {
        std::iter::once(&self.preferred).chain(&self.others).find(|tool| tool.knows(id))
    }
}

impl Tool {
    /// Says what is wrong with a program that will not do.
    fn admit(state: &Path, program: &Path, groups: &Groups, children: &'static Children) -> Result<Self, String> {
        let (kind, name) = admitted(program)?;
        let state = state.join(kind);
        // It refuses to run where control groups of version 2 are mounted beside those of version 1.
        let hidden = if kind == CRUN { groups.beside() } else { None };
        make_private(&state).map_err(|error| error.to_string())?;
        Ok(Self { program: program.to_owned(), name, state, hidden, children })
    }

    /// Its name and version.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it knows an instance, whatever has become of it.
    fn knows(&self, id: &str) -> bool {
        self.state.join(id).exists()
    }

    /// Runs a verb about an instance from a directory, and waits for its end, which does not wait for what it has started.
    pub(super) fn run(
        &self,
        verb: &'static str,
        arguments: &[&OsStr],
        id: &str,
        directory: &Path,
        streams: Streams,
    ) -> Result<(), RuntimeError> {
        let what = || format!("{} {verb}", self.name);
        // Not standard error: that goes on to the process inside.
        let log = directory.join(format!("{verb}.{}.log", RUNS.fetch_add(1, Ordering::Relaxed)));
        let [input, output, error] = streams;
        let mut command = Command::new(&self.program);
        let mut hide = self.hide(verb, id).map_err(failed(what()))?;
        // SAFETY: system calls and nothing else, between fork and exec.
        unsafe { command.pre_exec(move || begin().and_then(|()| hide())) };
        command
            .arg("--root")
            .arg(&self.state)
            .arg("--log")
            .arg(&log)
            .args(["--log-format", "json", verb])
            .args(arguments)
            .arg(id)
            .current_dir(directory)
            .env_clear()
            .env("PATH", PATH)
            .stdin(input)
            .stdout(output)
            .stderr(error)
            .process_group(0);
        let begun = self.children.begin(&mut command);
        // With it go its copies of what the process inside has as standard input, output and error.
        drop(command);
        let outcome = begun.map_err(failed(what())).and_then(|mut run| {
            let success = ended(&mut run.child, verb, DEADLINE)?;
            let complaint = || complaint(&fs::read_to_string(&log).unwrap_or_default());
            success.then_some(()).ok_or_else(|| failed(what())(complaint()))
        });
        let _ = fs::remove_file(&log);
        outcome
    }

    /// What it takes, in the process that becomes a run, that this does not see what is hidden from it. What it starts
    /// goes into the group there that it cannot put it into itself.
    fn hide(&self, verb: &str, id: &str) -> io::Result<impl FnMut() -> io::Result<()> + Send + Sync + use<>> {
        let hidden = self.hidden.clone();
        let group = match &hidden {
            Some(hidden) if STARTING.contains(&verb) => Some(hidden.group(id)?),
            _ => None,
        };
        Ok(move || {
            group.as_ref().map_or(Ok(()), enter)?;
            hidden.as_ref().map_or(Ok(()), Beside::hide)
        })
    }
}

/// Puts the calling process into a control group.
fn enter(mut group: &File) -> io::Result<()> {
    group.write_all(b"0")
}

/// Lets a run end with the thread that waits for it: what an agent that was killed has begun must not go on beside what
/// the next one does.
fn begin() -> io::Result<()> {
    // What runs inside inherits it. The agent's own keeps everybody out.
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Where a program of the node is.
pub(super) fn program(name: &str) -> Option<PathBuf> {
    PATH.split(':').map(|directory| Path::new(directory).join(name)).find(|path| path.is_file())
}

/// No standard input, output or error at all.
pub(super) fn no_streams() -> Streams {
    [Stdio::null(), Stdio::null(), Stdio::null()]
}

/// Runs some other tool of the node to its end.
pub(super) fn tool(name: &'static str, package: &str, arguments: &[&OsStr]) -> Result<(), RuntimeError> {
    let program = program(name).ok_or_else(|| RuntimeError::Unable(format!("{name} is missing. Install {package}")))?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(failed(name))?;
    ended(&mut child, name, DEADLINE)?.then_some(()).ok_or_else(|| failed(name)("it ended with an error"))
}

/// Whether it ended well; if it does not end, it is ended.
fn ended(child: &mut Child, verb: &'static str, patience: Duration) -> Result<bool, RuntimeError> {
    let pid = Pid::from_child(child);
    let in_time = pidfd_open(pid, PidfdFlags::empty()).and_then(|process| readable(process, patience));
    if !in_time.map_err(failed(verb))? {
        // Its group: what has become a process of the instance is in a session of its own, and ends with the instance.
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = child.wait();
        return Err(RuntimeError::Late { verb, patience });
    }
    Ok(child.wait().map_err(failed(verb))?.success())
}

/// What the runtime said, out of its log.
fn complaint(log: &str) -> String {
    #[derive(Deserialize)]
    struct Line {
        level: String,
        msg: String,
    }
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let errors: Vec<_> =
        lines.filter(|line| ["error", "fatal"].contains(&line.level.as_str())).map(|line| line.msg).collect();
    if errors.is_empty() { "it ended with an error, and did not say which".to_owned() } else { errors.join("; ") }
}

/// Which runtime it is, and its name with its version, if it will do.
fn admitted(program: &Path) -> Result<(&'static str, String), String> {
    let output = Command::new(program).arg("--version").env_clear().env("PATH", PATH).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{} cannot be run: {error}", program.display()))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let (name, version) =
        parse_version(&printed).ok_or_else(|| format!("{} does not say which version it is", program.display()))?;
    let written = |version: [u32; 3]| version.map(|number| number.to_string()).join(".");
    match OLDEST.into_iter().find(|(known, _)| *known == name) {
        Some((_, oldest)) if version < oldest => {
            Err(format!("{name} {} is too old, {} will do", written(version), written(oldest)))
        }
        Some((known, _)) => Ok((known, format!("{name} {}", written(version)))),
        None => Err(format!("{name} is not known to do what is asked of it, crun and runc are")),
    }
}

/// What is in the first line that `--version` prints: `runc version 1.1.5+ds1`.
fn parse_version(printed: &str) -> Option<(&str, [u32; 3])> {
    let mut words = printed.lines().next()?.split_ascii_whitespace();
    let (name, word) = (words.next()?, words.nth(1)?);
    let numbers = word.split(|character: char| !character.is_ascii_digit());
    let mut numbers = numbers.map_while(|number| number.parse().ok());
    Some((name, [numbers.next()?, numbers.next()?, numbers.next().unwrap_or(0)]))
}

static RUNS: AtomicU64 = AtomicU64::new(0);

const CRUN: &str = "crun";

/// In the order of preference: the oldest `crun` that was tried, and the first `runc` that opens bind mounts before it
/// enters the user namespace, to which the agent's directory is closed.
const OLDEST: [(&str, [u32; 3]); 2] = [(CRUN, [1, 8, 1]), ("runc", [1, 1, 0])];

/// The verbs that start something.
const STARTING: [&str; 2] = ["run", "exec"];

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Far more than any verb has ever taken.
const DEADLINE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_runtimes_print_them() {
        assert_eq!(parse_version("runc version 1.1.5+ds1\ncommit: 1.1.5\n"), Some(("runc", [1, 1, 5])));
        assert_eq!(parse_version("crun version 1.8.1\n"), Some(("crun", [1, 8, 1])));
        assert_eq!(parse_version("crun version 1.21\n"), Some(("crun", [1, 21, 0])));
        assert_eq!(parse_version("crun: nothing"), None);
    }

    #[test]
    fn of_a_log_the_last_line_counts() {
        let log =
            "{\"level\":\"warning\",\"msg\":\"first\"}\n{\"level\":\"error\",\"msg\":\"no such file\"}\nnonsense\n";
        assert_eq!(complaint(log), "no such file");
        assert_eq!(complaint(""), "it ended with an error, and did not say which");
    }

    #[test]
    fn a_run_that_hangs_is_ended_with_all_that_it_has_started() {
        let mut hanging = Command::new("sh");
        hanging.args(["-c", "sleep 60 & echo $!; wait"]).process_group(0).stdout(Stdio::piped());
        let mut hanging = hanging.spawn().unwrap();
        let mut line = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(hanging.stdout.take().unwrap()), &mut line).unwrap();
        let error = ended(&mut hanging, "run", Duration::from_millis(20)).unwrap_err();
        assert!(matches!(error, RuntimeError::Late { verb: "run", .. }), "{error}");
        let below = PathBuf::from(format!("/proc/{}/cmdline", line.trim()));
        // Empty once it has ended, and gone once somebody has waited for it.
        while fs::read(&below).is_ok_and(|line| !line.is_empty()) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
