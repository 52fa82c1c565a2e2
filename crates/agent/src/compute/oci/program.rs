//! Whether a program can be run in an instance, looked up as `execvp(3)` would: a runtime says in words of its own that it
//! cannot, and leaves behind what it has begun.

use oci_spec::runtime::Process;
use rustix::fs::{FileType, Mode};

use super::inside::Inside;
use crate::compute::runtime::RuntimeError;

/// Refuses what cannot be run. What cannot be told from outside, the runtime finds out.
pub(super) fn admit(inside: &Inside, process: &Process) -> Result<(), RuntimeError> {
    let refuse = |status, reason| Err(RuntimeError::NotRunnable { status, reason });
    let directory = process.cwd().to_string_lossy();
    if !directory.starts_with('/') {
        return refuse(NOT_STARTED, format!("'{directory}' is no absolute path of a directory"));
    }
    if matches!(look(inside, &directory), Found::Nothing | Found::Program | Found::Other) {
        return refuse(NOT_STARTED, format!("there is no directory '{directory}' in the compute"));
    }
    let program = process.args().iter().flatten().next().map_or("", String::as_str);
    let path = variable(process, "PATH");
    let places: Vec<String> = match program.contains('/') {
        true if program.starts_with('/') => vec![program.to_owned()],
        true => vec![format!("{directory}/{program}")],
        false => path.split(':').filter(|place| !place.is_empty()).map(|place| format!("{place}/{program}")).collect(),
    };
    let found: Vec<Found> = places
        .iter()
        .filter(|place| !program.is_empty() && place.starts_with('/'))
        .map(|place| look(inside, place))
        .collect();
    let is_runnable = |found: &Found| matches!(found, Found::Program | Found::Unknown);
    if found.iter().any(is_runnable) {
        return Ok(());
    }
    if found.iter().any(|found| !matches!(found, Found::Nothing)) {
        return refuse(
            NOT_STARTED,
            format!("'{program}' cannot be run: it is no program, or nobody has the permission (chmod +x)"),
        );
    }
    match program.contains('/') {
        true => refuse(NOT_FOUND, format!("there is no program '{program}' in the compute")),
        false => refuse(NOT_FOUND, format!("there is no program '{program}' in the compute: its PATH is {path}")),
    }
}

/// What is at a path.
enum Found {
    Nothing,
    Directory,
    Program,
    /// Something that cannot be run.
    Other,
    /// Something that cannot be looked at from outside.
    Unknown,
}

fn look(inside: &Inside, path: &str) -> Found {
    match inside.look(path) {
        Ok(status) => match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory => Found::Directory,
            FileType::RegularFile if Mode::from_raw_mode(status.st_mode).intersects(RUN) => Found::Program,
            _ => Found::Other,
        },
        Err(error) if [std::io::ErrorKind::NotFound, std::io::ErrorKind::NotADirectory].contains(&error.kind()) => {
            Found::Nothing
        }
        Err(_) => Found::Unknown,
    }
}

/// The value of a variable that the process will have; no text without one.
fn variable<'a>(process: &'a Process, name: &str) -> &'a str {
    let variables = process.env().iter().flatten();
    let mut values = variables.filter_map(|variable| variable.split_once('=').filter(|(known, _)| *known == name));
    values.next().map_or("", |(_, value)| value)
}

const RUN: Mode = Mode::XUSR.union(Mode::XGRP).union(Mode::XOTH);

/// As shells have it (POSIX.1-2024, 2.8.2).
const NOT_FOUND: u8 = 127;
const NOT_STARTED: u8 = 126;

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use oci_spec::runtime::ProcessBuilder;

    use super::*;

    #[test]
    fn what_a_shell_could_run_is_admitted_and_the_rest_has_the_status_of_a_shell() {
        let root = tempfile::tempdir().unwrap();
        let make = |path: &str, mode: u32| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        };
        make("usr/bin/ls", 0o755);
        make("opt/bin/ls", 0o644);
        make("home/notes", 0o644);
        make("home/run.sh", 0o700);
        // Absolute inside, and nowhere on the node.
        symlink("/usr/bin/ls", root.path().join("usr/bin/dir")).unwrap();
        symlink("/usr/bin/gone", root.path().join("usr/bin/broken")).unwrap();
        let inside = Inside::open(root.path(), 0).unwrap();
        let status = |directory: &str, program: &str| match admit(&inside, &process(directory, program)) {
            Ok(()) => 0,
            Err(RuntimeError::NotRunnable { status, reason }) => {
                assert!(
                    reason.contains(&format!("'{program}'")) || reason.contains(&format!("'{directory}'")),
                    "{reason}"
                );
                status
            }
            Err(error) => panic!("{error}"),
        };
        for program in ["ls", "dir", "/usr/bin/ls", "./run.sh", "../usr/bin/ls"] {
            assert_eq!(status("/home", program), 0, "{program}");
        }
        for program in ["nobody", "broken", "./nobody", "/nowhere/ls", "", "notes/x"] {
            assert_eq!(status("/home", program), 127, "{program}");
        }
        for program in ["./notes", "/home", "/opt/bin/ls"] {
            assert_eq!(status("/home", program), 126, "{program}");
        }
        for directory in ["/nowhere", "home", "/home/notes"] {
            assert_eq!(status(directory, "ls"), 126, "{directory}");
        }
    }

    fn process(directory: &str, program: &str) -> Process {
        let process = ProcessBuilder::default().cwd(directory).args([program.to_owned()]);
        process.env(["HOME=/home".to_owned(), "PATH=/opt/bin:/usr/bin".to_owned()]).build().unwrap()
    }
}
