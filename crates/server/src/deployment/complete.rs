//! Complete mode: what the group has and the template does not declare goes, once the rest stands.

use std::collections::BTreeSet;

use bastide_arm::error::ArmError;
use http::{Method, Uri};
use serde_json::Value;
use uuid::Uuid;

use super::course::Course;
use super::lookups::Lookups;
use super::operation::{Operation, Target, Verb};
use super::record::State;
use crate::failure::Failure;

impl Course<'_> {
    /// Deletes what is not declared, children first. What others still need is tried again after them.
    pub(super) async fn delete_undeclared(&self, deployed: &[String]) -> Result<Vec<ArmError>, Failure> {
        let declared = self.plan.nodes().iter().map(|node| node.id.as_str()).chain(deployed.iter().map(String::as_str));
        let declared: Vec<String> = declared.map(str::to_ascii_lowercase).collect();
        let Some(group) = self.id().resource_group_id() else { return Ok(Vec::new()) };
        let mut waiting = undeclared(&self.lookups, &group.to_string(), &declared).await?;
        let mut refused = Vec::new();
        while !waiting.is_empty() && !self.cancellation.is_requested() {
            let before = waiting.len();
            refused.clear();
            for target in std::mem::take(&mut waiting) {
                match self.delete(&target).await {
                    Ok(()) => {}
                    Err(Failure::Refused(error)) => {
                        refused.push((target.clone(), error));
                        waiting.push(target);
                    }
                    Err(failure) => return Err(failure),
                }
            }
            if waiting.len() == before {
                break;
            }
        }
        let mut errors = Vec::new();
        for (target, error) in refused {
            let error = self.lookups.redaction.error(&error).with_target(target.id.clone());
            self.note_deletion(target, Some(error.clone())).await?;
            errors.push(error);
        }
        Ok(errors)
    }

    async fn delete(&self, target: &Target) -> Result<(), Failure> {
        let uri = self.lookups.uri(&target.id, None, None)?;
        let reply = self.patiently(&Method::DELETE, &uri, None).await?;
        self.finished(reply, &uri).await?;
        self.note_deletion(target.clone(), None).await
    }

    async fn note_deletion(&self, target: Target, error: Option<ArmError>) -> Result<(), Failure> {
        let operation = Operation {
            position: self.plan.nodes().len(),
            verb: Verb::Delete,
            state: if error.is_some() { State::Failed } else { State::Succeeded },
            target,
            status_code: Some(error.as_ref().map_or(200, |error| error.status)),
            error,
            started: self.now(),
            changed: self.now(),
            request_id: Uuid::new_v4(),
        };
        self.note(&operation).await
    }
}

/// The resources of a group that are neither declared nor hold something that is, children first.
pub(super) async fn undeclared(
    lookups: &Lookups<'_>,
    group: &str,
    declared: &[String],
) -> Result<Vec<Target>, Failure> {
    let declared: BTreeSet<&str> = declared.iter().map(String::as_str).collect();
    let is_declared = |key: &str| {
        let below = format!("{key}/");
        declared.contains(key) || declared.range(below.as_str()..).next().is_some_and(|next| next.starts_with(&below))
    };
    let mut targets = Vec::new();
    let mut next = Some(lookups.uri(group, Some("resources"), None)?);
    while let Some(uri) = next {
        let page = lookups.ask(Method::GET, uri, None).await?.into_body().unwrap_or_default();
        for resource in page.get("value").and_then(Value::as_array).into_iter().flatten() {
            let text = |name: &str| resource.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let target = Target { id: text("id"), resource_type: text("type"), resource_name: text("name") };
            // What was made for a declared resource stays with it.
            let is_kept = [target.id.to_ascii_lowercase(), text("managedBy").to_ascii_lowercase()];
            if !is_kept.iter().any(|key| !key.is_empty() && is_declared(key)) {
                targets.push(target);
            }
        }
        let link = page.get("nextLink").and_then(Value::as_str);
        next = link.and_then(|link| link.strip_prefix(lookups.context.origin.as_str())?.parse::<Uri>().ok());
    }
    targets.sort_by_key(|target| std::cmp::Reverse(target.id.matches('/').count()));
    Ok(targets)
}
