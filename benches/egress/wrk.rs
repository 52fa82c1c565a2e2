//! `wrk`, a load of real TLS (egress.md 1).

use std::io;
use std::process::Command;
use std::time::Duration;

use crate::peers::find_program;
use crate::server::TLS;

/// Whether it is installed.
pub fn is_here() -> bool {
    find_program("wrk").is_some()
}

/// Requests a second, as the client of a lab.
pub fn run(lab: &str, connections: usize, options: &[&str], time: Duration) -> io::Result<f64> {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &format!("{lab}c"), "wrk", "--threads", "2"]);
    command.args(["--connections", &connections.to_string(), "--duration", &format!("{}s", time.as_secs().max(1))]);
    let output = command.args(options).arg(format!("https://{TLS}/")).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    // wrk counts a connection that is closed at the end of the test among its errors of reading.
    let is_wrong = text.contains("Non-2xx") || text.contains("unable to connect");
    let rate =
        text.lines().find_map(|line| line.strip_prefix("Requests/sec:")).and_then(|rate| rate.trim().parse().ok());
    match rate.filter(|rate| !is_wrong && *rate > 0.0) {
        Some(rate) => Ok(rate),
        None => Err(io::Error::other(format!("{text}{}", String::from_utf8_lossy(&output.stderr)))),
    }
}
