//! `bastide doctor`: tries what Bastide needs of this host. Nothing it makes outlives it.

mod probe;
mod storage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::agent::IMAGES;
use crate::data_directory::DataDirectory;
use crate::output::Format;
use crate::{Outcome, privilege};
use probe::Probe;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    format: Format,
    /// The data directory whose file system is tried.
    #[arg(long, env = "BASTIDE_DATA_DIR", hide_env_values = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where images of computes are unpacked.
    #[arg(long, env = "BASTIDE_IMAGES", hide_env_values = true, value_name = "DIR", default_value = IMAGES)]
    images: PathBuf,
    /// Run one probe in this process; the doctor starts itself with it, because a probe changes the process it runs in.
    #[arg(long, hide = true, value_enum)]
    probe: Option<Probe>,
}

/// Everything found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// The mode looked at: `bastide up` without --network.
    mode: &'static str,
    /// Whether this host has everything that mode takes.
    can_run: bool,
    /// Whether a hub's outbound traffic would be held back.
    protected: bool,
    findings: Vec<Finding>,
}

/// One thing that was tried.
#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    /// Whether the default mode needs it.
    required: bool,
    status: Status,
    /// What was seen.
    detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warn,
    Missing,
}

/// Prints what this host can do; exit code 1 when the default mode cannot run.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    if let Some(probe) = arguments.probe {
        return Ok(probe.run());
    }
    let directory = match &arguments.data_dir {
        Some(directory) => directory.clone(),
        None => DataDirectory::default_path()?,
    };
    let mut findings = vec![capabilities()];
    findings.extend(Probe::value_variants().iter().map(|probe| probe.finding()));
    findings.push(storage::finding(&directory));
    findings.push(storage::image_cache(&arguments.images));
    findings.extend(forwarding());
    let report = Report::new(findings);
    arguments.format.show(&serde_json::to_value(&report)?, |_| report.table())?;
    Ok(if report.can_run { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Report {
    fn new(findings: Vec<Finding>) -> Self {
        let can_run = findings.iter().all(|finding| !finding.required || finding.status != Status::Missing);
        let is_whole = |finding: &Finding| finding.name == probe::WALL && finding.status == Status::Ok;
        let protected = can_run && findings.iter().any(is_whole);
        Self { mode: "kernel", can_run, protected, findings }
    }

    fn table(&self) -> String {
        let width = self.findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
        let mut lines = Vec::new();
        for finding in &self.findings {
            let status = match finding.status {
                Status::Ok => "ok",
                Status::Warn => "warn",
                Status::Missing => "missing",
            };
            lines.push(format!("{:width$}  {status:7}  {}", finding.name, finding.detail));
            if let Some(advice) = &finding.advice {
                lines.push(format!("{:width$}  {:7}  -> {advice}", "", ""));
            }
        }
        lines.push(String::new());
        lines.push(if self.can_run {
            "This host has what the default mode, --network kernel, takes.".to_owned()
        } else {
            "This host lacks what the default mode takes; --network simulated runs anywhere and enforces nothing."
                .to_owned()
        });
        lines.push(if self.protected {
            "PROTECTED: in the default mode, the outbound wall of a hub holds on this host.\n".to_owned()
        } else {
            "NOT PROTECTED: on this host, the outbound wall of a hub cannot be enforced.\n".to_owned()
        });
        lines.join("\n")
    }
}

impl Finding {
    fn ok(name: &'static str, required: bool, detail: impl Into<String>) -> Self {
        Self { name, required, status: Status::Ok, detail: detail.into(), advice: None }
    }

    fn fault(
        name: &'static str,
        required: bool,
        status: Status,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { name, required, status, detail: detail.into(), advice: Some(advice.into()) }
    }
}

fn capabilities() -> Finding {
    let missing: Vec<_> =
        privilege::missing().iter().map(|lacking| format!("{} ({})", lacking.name, lacking.purpose)).collect();
    if missing.is_empty() {
        let names: Vec<_> = privilege::NEEDED.iter().map(|capability| capability.name).collect();
        return Finding::ok("capabilities", true, names.join(", "));
    }
    let detail = format!("without {}", missing.join(", "));
    Finding::fault("capabilities", true, Status::Missing, detail, "run as root; in a container, add these capabilities")
}

/// What other rules of this host do to hubs.
fn forwarding() -> Vec<Finding> {
    let obstacles = bastide_agent::obstacles();
    if obstacles.is_empty() {
        return vec![Finding::ok("forwarding", false, "no rule of this host stands in the way of hubs")];
    }
    let advice = "hubs stay walled, but cannot reach the internet until then";
    let finding = |obstacle| Finding::fault("forwarding", false, Status::Warn, obstacle, advice);
    obstacles.into_iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(required: bool, status: Status) -> Report {
        Report::new(vec![Finding::fault("veth pairs", required, status, "no", "do this")])
    }

    #[test]
    fn only_a_missing_need_keeps_the_default_mode_from_running() {
        assert!(!report(true, Status::Missing).can_run);
        assert!(report(true, Status::Warn).can_run);
        assert!(report(false, Status::Missing).can_run);
    }

    #[test]
    fn the_table_says_what_to_do_and_whether_the_wall_holds() {
        let table = report(true, Status::Missing).table();
        for text in ["veth pairs  missing  no", "-> do this", "--network simulated", "NOT PROTECTED"] {
            assert!(table.contains(text), "{table}");
        }
        let table = Report::new(vec![Finding::ok(probe::WALL, true, "built")]).table();
        assert!(table.contains("\nPROTECTED"), "{table}");
    }

    #[test]
    fn the_document_has_stable_names() {
        let document = serde_json::to_value(report(true, Status::Missing)).unwrap();
        assert_eq!(document["canRun"], false);
        assert_eq!(document["protected"], false);
        assert_eq!(document["findings"][0]["status"], "missing");
        assert_eq!(document["findings"][0]["required"], true);
    }
}
