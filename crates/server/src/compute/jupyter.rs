//! JupyterLab in a compute: started when somebody asks for it first, listening at a Unix socket that nobody but the
//! compute's user and this server can reach.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bastide_arm::error::ArmError;
use bastide_plan::hub_plan::ComputeId;
use bastide_plan::way_in::{Account, Process, WayIn};
use tokio::time::{Instant, sleep, timeout};

use crate::network::{Networks, Opened};

/// Who starts which Jupyter: one at a time.
#[derive(Debug, Default)]
pub(crate) struct Starts(Mutex<HashMap<ComputeId, Arc<tokio::sync::Mutex<()>>>>);

impl Starts {
    /// A connection to the Jupyter of a compute, which is started if it does not run.
    pub(crate) async fn jupyter(&self, networks: &Networks, compute: ComputeId) -> Result<Opened, ArmError> {
        if let Ok(opened) = networks.open(compute, socket()).await {
            return Ok(opened);
        }
        let turn = Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(compute).or_default());
        let started = {
            let _turn = turn.lock().await;
            match networks.open(compute, socket()).await {
                Ok(opened) => Ok(opened),
                Err(_) => start(networks, compute).await,
            }
        };
        drop(turn);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, turn| Arc::strong_count(turn) > 1);
        started
    }
}

async fn start(networks: &Networks, compute: ComputeId) -> Result<Opened, ArmError> {
    let refused = |message: String| ArmError::new(502, "JupyterNotRunning", message);
    let script = Process {
        command: ["/bin/sh", "-c", START].map(str::to_owned).to_vec(),
        account: Account::User,
        environment: BTreeMap::from([("BASTIDE_JUPYTER_SOCKET".to_owned(), SOCKET.to_owned())]),
        directory: None,
        terminal: None,
    };
    let way = WayIn::Process(script);
    let mut opened = networks.open(compute, way).await.map_err(|away| refused(away.to_string()))?;
    match timeout(PATIENCE, opened.exited()).await {
        Ok(Ok(exit)) if exit.code() == 0 => {}
        Ok(Ok(exit)) if exit.code() == 127 => {
            let message =
                "There is no JupyterLab in the image of this compute. Install it there: pip install jupyterlab.";
            return Err(refused(message.to_owned()));
        }
        Ok(Ok(exit)) => {
            return Err(refused(format!("JupyterLab could not be started: it ended with {}.", exit.code())));
        }
        Ok(Err(away)) => return Err(refused(away.to_string())),
        Err(_) => return Err(refused("JupyterLab could not be started in time. Try again.".to_owned())),
    }
    let until = Instant::now() + PATIENCE;
    loop {
        match networks.open(compute, socket()).await {
            Ok(opened) => return Ok(opened),
            Err(away) if Instant::now() >= until => {
                let message =
                    format!("JupyterLab does not answer; ~/.bastide/jupyter.log in the compute says why. ({away})");
                return Err(refused(message));
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

fn socket() -> WayIn {
    WayIn::Socket { path: SOCKET.to_owned() }
}

const SOCKET: &str = "/run/bastide/jupyter.sock";

/// For JupyterLab to answer. It takes 1.6 s on an idle host (`reference/compute.md` 2.2).
const PATIENCE: Duration = Duration::from_mins(1);

/// Between two looks whether it does.
const PAUSE: Duration = Duration::from_millis(50);

/// It has no token of its own: the way to it is authorised at this server, and nobody else has one. It asks nobody outside
/// for news, which a wall would only refuse.
const START: &str = include_str!("jupyter.sh");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_one_that_a_shell_reads() {
        let checked = std::process::Command::new("sh").args(["-n", "-c", START]).status().unwrap();
        assert!(checked.success());
    }
}
