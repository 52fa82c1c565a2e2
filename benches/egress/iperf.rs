//! iperf3, so that the bench's own client is not alone with what it finds.

use std::io;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::peers::{end, find_program, spawn};
use crate::server::find;

/// Gbit/s that iperf3 receives on one stream from the internet of a lab.
pub fn run(lab: &str) -> io::Result<f64> {
    let program = find_program("iperf3").ok_or_else(|| io::Error::other("it is missing (Debian: iperf3)"))?;
    let host = find("iperf.example");
    let (address, port) = (host.address.to_string(), host.port.to_string());
    let arguments = ["--server", "--one-off", "--bind", &address, "--port", &port];
    let mut server = spawn(&format!("{lab}s"), &program, &arguments, "/dev/null".as_ref());
    thread::sleep(Duration::from_millis(300));
    let mut client = Command::new("ip");
    client.args(["netns", "exec", &format!("{lab}c")]).arg(&program);
    client.args(["--client", &address, "--port", &port, "--reverse", "--time", "2", "--json"]);
    let output = client.stdin(Stdio::null()).output();
    end(&mut server);
    let said: Value = serde_json::from_slice(&output?.stdout)?;
    let rate = said.pointer("/end/sum_received/bits_per_second").and_then(Value::as_f64);
    rate.map(|rate| rate / 1e9).ok_or_else(|| io::Error::other(said.to_string()))
}
