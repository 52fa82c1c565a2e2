//! `bastide network service-tags ...`: the packs that say what service tags mean in a subscription.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::Value;
use uuid::Uuid;

use super::{API_VERSION, field};
use crate::Outcome;
use crate::client::{Api, segment};
use crate::output::{Format, columns, text};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Import a file of service tags, as published each week or one of your own, and say what it changes.
    Import(Import),
    /// List the packs there are.
    List(Place),
    /// Show a pack, or what one of its tags means.
    Show(Show),
    /// Remove a pack: rules that stand by its tags alone become inactive.
    Remove(Named),
}

#[derive(Debug, Args)]
struct Import {
    /// The file: values[] with name and properties.addressPrefixes.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The name of the pack it is, or takes the place of.
    #[arg(long, value_name = "NAME", default_value = "azure")]
    name: String,
    /// Say what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    pack: Named,
    /// The addresses of this tag.
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
}

#[derive(Debug, Args)]
struct Named {
    /// The pack.
    #[arg(value_name = "NAME", default_value = "azure")]
    name: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Place {
    /// The subscription [default: the bootstrap client's, or the only one].
    #[arg(long, value_name = "ID")]
    subscription: Option<Uuid>,
    #[command(flatten)]
    format: Format,
    /// The data directory of a local Bastide.
    #[arg(long, env = "BASTIDE_DATA_DIR", hide_env_values = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// A problem with the file that is to be imported.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("cannot read {}: {problem}", .path.display())]
    Unreadable { path: PathBuf, problem: std::io::Error },
    #[error("{} is not JSON: {problem}", .path.display())]
    NotJson { path: PathBuf, problem: serde_json::Error },
}

pub(super) async fn run(arguments: &Arguments) -> Outcome {
    match &arguments.command {
        Command::Import(arguments) => import(arguments).await?,
        Command::List(place) => {
            let answer = place.ask(Method::GET, "", "", None).await?;
            place.format.show(&answer, packs)?;
        }
        Command::Show(Show { pack: Named { name, place }, tag }) => {
            let query = tag.as_deref().map(|tag| format!("&tag={}", segment(tag))).unwrap_or_default();
            let answer = place.ask(Method::GET, name, &query, None).await?;
            place.format.show(&answer, tags)?;
        }
        Command::Remove(Named { name, place }) => {
            // To remove what is not there is no failure, and is not to look as if it had been.
            place.ask(Method::GET, name, "", None).await?;
            place.ask(Method::DELETE, name, "", None).await?;
            place.format.show(&Value::Null, |_| {
                format!("Pack '{name}' is gone. Rules that stand by its tags alone are inactive from now on.\n")
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn import(arguments: &Import) -> Result<(), Box<dyn std::error::Error>> {
    let Import { file, name, dry_run, place } = arguments;
    let bytes = fs::read(file).map_err(|problem| FileError::Unreadable { path: file.clone(), problem })?;
    // The published file has a mark of its byte order at its start now and then.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let pack: Value =
        serde_json::from_slice(bytes).map_err(|problem| FileError::NotJson { path: file.clone(), problem })?;
    let query = if *dry_run { "&dryRun=true" } else { "" };
    let answer = place.ask(Method::PUT, name, query, Some(&pack)).await?;
    place.format.show(&answer, |answer| {
        let mut told = differences(answer);
        told += if *dry_run { "Nothing was changed.\n" } else { "Hubs of the subscription follow.\n" };
        told
    })?;
    Ok(())
}

impl Place {
    async fn ask(
        &self,
        method: Method,
        name: &str,
        query: &str,
        body: Option<&Value>,
    ) -> Result<Value, Box<dyn std::error::Error>> {
        let api = Api::open(self.data_dir.as_deref()).await?;
        let subscription = api.subscription(self.subscription).await?;
        let name = if name.is_empty() { String::new() } else { format!("/{}", segment(name)) };
        let path = format!(
            "/subscriptions/{subscription}/providers/Bastide.Network/serviceTagPacks{name}?api-version={API_VERSION}{query}"
        );
        Ok(api.ask(method, &path, body).await?.body)
    }
}

fn packs(answer: &Value) -> String {
    let mut rows = vec![["NAME", "CHANGE", "VERSION", "IMPORTED", "TAGS", "PREFIXES"].map(str::to_owned)];
    rows.extend(field(answer, "value").as_array().into_iter().flatten().map(|pack| {
        let of = |name: &str| text(field(field(pack, "properties"), name));
        let name = text(field(pack, "name"));
        [name, of("changeNumber"), of("version"), of("importedAt"), of("tagCount"), of("addressPrefixCount")]
    }));
    columns(&rows)
}

fn tags(answer: &Value) -> String {
    let properties = field(answer, "properties");
    if let Some(values) = field(properties, "values").as_array() {
        let prefixes = values.iter().filter_map(|tag| tag.pointer("/properties/addressPrefixes")?.as_array()).flatten();
        return prefixes.map(|prefix| text(prefix) + "\n").collect();
    }
    let mut rows = vec![["TAG", "PREFIXES", "IPV6 (IGNORED)"].map(str::to_owned)];
    rows.extend(field(properties, "tags").as_array().into_iter().flatten().map(|tag| {
        let of = |name: &str| text(field(tag, name));
        [of("name"), of("addressPrefixCount"), of("ignoredIpv6")]
    }));
    columns(&rows)
}

/// What an import changes, tag by tag.
fn differences(answer: &Value) -> String {
    let properties = field(answer, "properties");
    let changes = field(properties, "changes");
    let list = |name: &str| field(changes, name).as_array().cloned().unwrap_or_default();
    let mut told = format!(
        "Pack '{}', change {}: {} tags with {} prefixes.\n",
        text(field(answer, "name")),
        text(field(properties, "changeNumber")),
        text(field(properties, "tagCount")),
        text(field(properties, "addressPrefixCount")),
    );
    if let Some(ignored @ 1..) = field(properties, "ignoredIpv6").as_u64() {
        let _ = writeln!(told, "{ignored} IPv6 prefixes were passed over: hubs have no IPv6.");
    }
    let number = |import: &Value| field(import, "changeNumber").as_u64();
    let before = field(properties, "history").as_array().and_then(|imports| number(imports.get(1)?));
    if let Some(before) = before.filter(|before| number(properties).is_some_and(|now| now < *before)) {
        let _ = writeln!(told, "It is older than change {before}, which it takes the place of.");
    }
    let (added, removed, changed) = (list("added"), list("removed"), list("changed"));
    if added.is_empty() && removed.is_empty() && changed.is_empty() {
        told += "It changes nothing.\n";
    }
    for (sign, tags) in [('+', &added), ('-', &removed)] {
        told.extend(tags.iter().take(MOST_TOLD).map(|tag| format!("{sign} {}\n", text(tag))));
        if let Some(more @ 1..) = tags.len().checked_sub(MOST_TOLD) {
            let _ = writeln!(told, "{sign} and {more} more");
        }
    }
    for tag in &changed {
        let count = |name: &str| field(tag, name).as_array().map_or(0, Vec::len);
        let _ = writeln!(
            told,
            "~ {}: {} prefixes more, {} less",
            text(field(tag, "name")),
            count("added"),
            count("removed")
        );
    }
    told
}

/// Tags that came or went, told one by one.
const MOST_TOLD: usize = 20;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_older_file_in_the_place_of_a_newer_one_is_told() {
        let told = |now: u64, before: u64| {
            let history = json!([{"changeNumber": now}, {"changeNumber": before}]);
            differences(&json!({"name": "azure", "properties": {"changeNumber": now, "history": history}}))
        };
        assert!(told(7, 9).contains("older than change 9"));
        assert!(!told(9, 7).contains("older") && !told(9, 9).contains("older"));
    }

    #[test]
    fn an_import_tells_what_it_changes() {
        let changed = json!([{"name": "Storage", "added": ["192.0.2.0/24"], "removed": []}]);
        let answer = json!({"name": "azure", "properties": {
            "changeNumber": 7, "tagCount": 2, "addressPrefixCount": 3, "ignoredIpv6": 4,
            "changes": {"added": ["New"], "removed": ["Gone"], "changed": changed},
        }});
        let expected = "Pack 'azure', change 7: 2 tags with 3 prefixes.\n4 IPv6 prefixes were passed over: hubs have no \
                        IPv6.\n+ New\n- Gone\n~ Storage: 1 prefixes more, 0 less\n";
        assert_eq!(differences(&answer), expected);
    }
}
