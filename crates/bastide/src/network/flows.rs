//! `bastide network flows`: what happened at the wall of a hub.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Hub, duration, field};
use crate::Outcome;
use crate::output::{columns, text};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    hub: Hub,
    /// Only of this compute.
    #[arg(long, value_name = "NAME")]
    compute: Option<String>,
    /// Only of the computes of this project; the hub's own by the name of the hub.
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// Only what was not let through.
    #[arg(long)]
    denied: bool,
    /// Only what began within this time, such as 90s, 10m or 1h.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    since: Option<SignedDuration>,
    /// Only what began longer ago than this time.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    until: Option<SignedDuration>,
    /// Only about this host name and those below it.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Only what this rule has decided.
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Only what came to this end: allowed, denied, cut or failed.
    #[arg(long, value_name = "VERDICT")]
    verdict: Option<String>,
    /// Only of this kind: dns, tls, http, relay, tcp, udp or icmp.
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only to this port.
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 500)]
    top: u32,
    /// Go on with what happens, until interrupted.
    #[arg(long)]
    follow: bool,
    /// Write everything that is wanted, a line of JSON each.
    #[arg(long, value_name = "FORM")]
    export: Option<Export>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Export {
    /// As the API has them.
    Jsonl,
    /// As the Open Cybersecurity Schema Framework has them.
    Ocsf,
}

pub(super) async fn run(arguments: &Arguments) -> Outcome {
    let mut query = filters(arguments);
    if !arguments.follow && arguments.export.is_none() {
        query.push(("$top", arguments.top.to_string()));
        let answer = arguments.hub.ask(Method::GET, "flows", &query, None).await?;
        arguments.hub.format.show(&answer, records)?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.follow {
        query.push(("stream", "true".to_owned()));
    }
    let format = if arguments.export == Some(Export::Ocsf) { "ocsf" } else { "jsonl" };
    query.push(("format", format.to_owned()));
    let mut response = arguments.hub.open("flows", &query).await?;
    let (mut lines, mut output) = (Vec::new(), std::io::stdout().lock());
    while let Some(portion) = response.chunk().await? {
        if arguments.export.is_some() {
            output.write_all(&portion)?;
        } else {
            lines.extend_from_slice(&portion);
            while let Some(end) = lines.iter().position(|byte| *byte == b'\n') {
                let record: Value = serde_json::from_slice(&lines.drain(..=end).collect::<Vec<_>>())?;
                writeln!(output, "{}", row(&record).join("  "))?;
            }
        }
        output.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn filters(arguments: &Arguments) -> Vec<(&'static str, String)> {
    let Arguments { compute, project, since, until, name, rule, verdict, kind, port, .. } = arguments;
    let ago = |time: &SignedDuration| (Timestamp::now() - *time).to_string();
    let given = [
        ("since", since.as_ref().map(ago)),
        ("until", until.as_ref().map(ago)),
        ("denied", arguments.denied.then(|| "true".to_owned())),
        ("compute", compute.clone()),
        ("project", project.clone()),
        ("name", name.clone()),
        ("rule", rule.clone()),
        ("verdict", verdict.clone()),
        ("kind", kind.clone()),
        ("port", port.map(|port| port.to_string())),
    ];
    given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn records(answer: &Value) -> String {
    let mut rows = vec![
        ["TIME", "PROJECT", "COMPUTE", "KIND", "DESTINATION", "VERDICT", "RULE", "SENT", "RECEIVED", "REASON"]
            .map(str::to_owned),
    ];
    rows.extend(field(answer, "value").as_array().into_iter().flatten().map(row));
    let mut told = match rows.len() {
        1 => "Nothing on record is like that.\n".to_owned(),
        _ => columns(&rows),
    };
    if let Some(dropped @ 1..) = field(answer, "dropped").as_u64() {
        told += &format!("({dropped} older records were let go)\n");
    }
    told
}

fn row(record: &Value) -> [String; 10] {
    let at = field(record, "at").as_i64().and_then(|at| Timestamp::from_millisecond(at).ok());
    let at = at.map(|at| at.strftime("%H:%M:%S").to_string()).unwrap_or_default();
    let destination = match (text(field(record, "name")), text(field(record, "address"))) {
        (name, address) if name.is_empty() => address,
        (name, address) if address.is_empty() => name,
        (name, address) => format!("{name} ({address})"),
    };
    let port =
        field(record, "port").as_u64().filter(|port| *port > 0).map(|port| format!(":{port}")).unwrap_or_default();
    [
        at,
        text(field(record, "project")),
        text(field(record, "compute")),
        text(field(record, "kind")),
        format!("{destination}{port}"),
        text(field(record, "verdict")),
        text(field(record, "rule")),
        field(record, "sent").to_string(),
        field(record, "received").to_string(),
        text(field(record, "reason")),
    ]
}
