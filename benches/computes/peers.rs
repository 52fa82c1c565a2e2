//! Sandboxes of others over the same files: made, `true` run in them, gone.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use bastide_benches::Outcome;
use bastide_benches::numbers::median;
use serde_json::{Value, json};

/// How long each peer that is installed takes, in milliseconds. One that is not, or cannot run here, is said so.
pub(crate) fn starts(root: &Path, bundle: &Path, rounds: usize) -> Outcome<Vec<(&'static str, f64)>> {
    fs::create_dir_all(bundle)?;
    let root = root.to_str().ok_or("not a path")?;
    let mut times = Vec::new();
    for name in ["runc", "crun", "podman", "bwrap"] {
        let attempt = |round: usize| -> Outcome<Command> {
            let mut command = Command::new(name);
            match name {
                "runc" | "crun" => {
                    describe(name, bundle, root)?;
                    command.args(["run", "--bundle"]).arg(bundle).arg(format!("bench-{name}-{round}"));
                }
                "podman" => drop(command.args(["run", "--rm", "--network", "none", "--rootfs", root, "true"])),
                _ => {
                    command.args(["--ro-bind", root, "/", "--proc", "/proc", "--dev", "/dev", "--unshare-all", "true"]);
                }
            }
            Ok(command)
        };
        let mut measured = Vec::new();
        for round in 0..rounds {
            let Ok(mut command) = attempt(round) else { break };
            let started = Instant::now();
            let ended = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
            if !ended.is_ok_and(|status| status.success()) {
                break;
            }
            measured.push(started.elapsed().as_secs_f64() * 1e3);
        }
        if measured.len() == rounds {
            times.push((name, median(&mut measured)));
        } else {
            println!("{name} is not here, or cannot run on this host");
        }
    }
    Ok(times)
}

/// The runtime's own idea of a container, with another root directory and another program.
fn describe(runtime: &str, bundle: &Path, root: &str) -> Outcome<()> {
    let path = bundle.join("config.json");
    if path.exists() {
        fs::remove_file(&path)?;
    }
    if !Command::new(runtime).arg("spec").current_dir(bundle).status()?.success() {
        return Err("no description".into());
    }
    let mut config: Value = serde_json::from_slice(&fs::read(&path)?)?;
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["true"]);
    config["root"] = json!({"path": root, "readonly": true});
    Ok(fs::write(&path, config.to_string())?)
}
