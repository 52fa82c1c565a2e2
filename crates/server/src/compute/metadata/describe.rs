//! `/metadata/instance`: what a compute is, in the words of IMDS.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use bastide_hub::compute::inner;
use serde_json::{Value, json};

use super::answer::{Refusal, asked, unknown};
use super::machine::Machine;

/// GET `/metadata/instance`.
pub(super) async fn all(
    State(machine): State<Arc<Machine>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    asked(&headers, query.as_deref(), OLDEST)?;
    Ok(Json(machine.described().await?).into_response())
}

/// GET `/metadata/instance/...`: a part of it, as JSON, or as text if that is asked for.
pub(super) async fn part(
    State(machine): State<Arc<Machine>>,
    Path(path): Path<String>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let fields = asked(&headers, query.as_deref(), OLDEST)?;
    let described = machine.described().await?;
    let mut part = Some(&described);
    for name in path.trim_end_matches('/').split('/') {
        part = part.and_then(|part| match part {
            Value::Array(items) => items.get(name.parse::<usize>().ok()?),
            object => object.get(name),
        });
    }
    match (part, fields.value("format")) {
        (Some(Value::String(text)), Some("text")) => Ok(text.clone().into_response()),
        (Some(_), Some("text")) => Err(Refusal::bad("Only a single value can be had as text: leave out format=text.")),
        (Some(part), _) => Ok(Json(part).into_response()),
        (None, _) => Err(unknown().await),
    }
}

/// GET `/metadata/versions`, which takes no version itself.
pub(super) async fn versions() -> Response {
    Json(json!({"apiVersions": [OLDEST, "2018-02-01", "2019-08-01", "2020-09-01", "2021-02-01"]})).into_response()
}

impl Machine {
    async fn described(&self) -> Result<Value, Refusal> {
        let entry = self.entry().await.map_err(|error| Refusal::ours(&error))?;
        let entry = entry.ok_or_else(|| Refusal::bad("This compute is being deleted."))?;
        let tags = &entry.document.tags;
        let pairs: Vec<_> = tags.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        let list: Vec<_> = tags.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        let size = inner(&entry.document).and_then(|inner| inner.get("vmSize")?.as_str());
        let address = self.front.networks.address(self.compute).map(|address| address.to_string()).unwrap_or_default();
        Ok(json!({
            "compute": {
                "azEnvironment": "Bastide",
                "location": entry.document.location,
                "name": self.id.name(),
                "osType": "Linux",
                "provider": "Microsoft.MachineLearningServices",
                "resourceGroupName": self.id.resource_group(),
                "resourceId": entry.id.to_string(),
                "subscriptionId": self.id.subscription_id(),
                "tags": pairs.join(";"),
                "tagsList": list,
                "vmId": self.compute.to_string(),
                "vmSize": size,
            },
            "network": {
                "interface": [{
                    "ipv4": {"ipAddress": [{"privateIpAddress": address, "publicIpAddress": ""}], "subnet": []},
                    "ipv6": {"ipAddress": []},
                }],
            },
        }))
    }
}

const OLDEST: &str = "2017-04-02";
