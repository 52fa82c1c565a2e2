//! `bastide network suggest`: the rules that would let through what was refused.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Hub, duration, field};
use crate::Outcome;
use crate::output::text;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only by what this compute was refused.
    #[arg(long, value_name = "NAME")]
    compute: Option<String>,
    /// Only by what was refused within this time, such as 10m or 1h.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    since: Option<SignedDuration>,
    /// The form of the rules.
    #[arg(long = "as", value_enum, default_value_t, value_name = "FORM")]
    form: Form,
    #[command(flatten)]
    hub: Hub,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Form {
    /// What az ml workspace reads.
    #[default]
    Yaml,
    /// The body of a request, or of a template.
    Arm,
    /// Resources of the azapi provider.
    Terraform,
}

pub(super) async fn run(arguments: &Arguments) -> Outcome {
    let Arguments { compute, since, form, hub } = arguments;
    let mut query: Vec<(&str, String)> =
        since.map(|time| ("since", (Timestamp::now() - time).to_string())).into_iter().collect();
    query.extend(compute.clone().map(|compute| ("compute", compute)));
    let answer = hub.ask(Method::GET, "suggest", &query, None).await?;
    hub.format.show(&answer, |answer| told(answer, *form))?;
    Ok(ExitCode::SUCCESS)
}

fn told(answer: &Value, form: Form) -> String {
    let is_empty = |name: &str| field(answer, name).as_array().is_none_or(Vec::is_empty);
    if is_empty("suggestions") && is_empty("noRule") && !matches!(form, Form::Arm) {
        return "# Nothing was refused.\n".to_owned();
    }
    let mut told = match form {
        // Lines of these are the server's own, with names in them that it has checked.
        Form::Yaml => field(answer, "yaml").as_str().unwrap_or_default().to_owned(),
        Form::Terraform => field(answer, "terraform").as_str().unwrap_or_default().to_owned(),
        Form::Arm => format!("{:#}\n", field(answer, "arm")),
    };
    for wider in field(answer, "wider").as_array().into_iter().flatten() {
        let count = field(wider, "insteadOf").as_array().map_or(0, Vec::len);
        let _ = writeln!(
            told,
            "# {} would stand for {count} of these, and for whatever else is there.",
            text(field(wider, "destination"))
        );
    }
    for none in field(answer, "noRule").as_array().into_iter().flatten() {
        let _ = writeln!(told, "# no rule for {}: {}", text(field(none, "destination")), text(field(none, "reason")));
    }
    told
}
