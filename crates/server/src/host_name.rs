//! Names that become host names are unique in all of Bastide: claimed with the resource, free again when it goes.

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::HostNames;
use bastide_store::{Change, Expectation};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::Entries;
use crate::reply::Reply;
use crate::request::Request;

impl Front {
    /// The claim of a new resource's name: refused when somebody else has it, and committed only if it is still free.
    pub(crate) async fn claim_host_name(
        &self,
        request: &Request<'_>,
        names: HostNames,
        id: &ResourceId,
        incarnation: Uuid,
        entries: &mut Entries,
    ) -> Result<(), Failure> {
        let key = key(names.space, id.name());
        if self.ledger.record(request.context, CLAIM, &key).await?.is_some() {
            let message =
                format!("The name '{}' is taken by another resource of this kind. Choose another name.", id.name());
            return Err(ArmError::new(409, names.taken, message).into());
        }
        entries.expect.push(Expectation::RecordAbsent { kind: CLAIM.to_owned(), key: key.clone() });
        entries.changes.push(Change::PutRecord {
            kind: CLAIM.to_owned(),
            key,
            owner: Some(incarnation.to_string()),
            body: json!({"resource": id.to_string()}),
            expires: None,
        });
        Ok(())
    }

    /// POST of checkNameAvailability, which clients ask before they create.
    pub(crate) async fn check_name_availability(&self, request: &Request<'_>) -> Result<Reply, Failure> {
        let body = request.object()?;
        let text = |field: &str| body.get(field).and_then(Value::as_str).unwrap_or_default();
        let (name, namespace) = (text("name"), request.matched.value(0));
        // Some clients leave the type out where the namespace has only one whose names are host names.
        let candidates = self.registry.types_in(namespace).filter(|rules| rules.host_names().is_some());
        let asked = text("type");
        let rules = candidates
            .into_iter()
            .find(|rules| asked.is_empty() || rules.descriptor().type_name().eq_ignore_ascii_case(asked));
        let Some((rules, names)) = rules.and_then(|rules| Some((rules, rules.host_names()?))) else {
            let message = format!("'{asked}' has no names to check in {namespace}. Send the full resource type.");
            return Err(ArmError::invalid_parameter("type", message).into());
        };
        let rule = rules.descriptor().name;
        let refused = |reason: &str, message: String| {
            Reply::ok(json!({"nameAvailable": false, "reason": reason, "message": message}))
        };
        if !(rule.accepts)(name) {
            return Ok(refused(
                "AccountNameInvalid",
                format!("'{name}' is not a valid name. Use {}.", rule.explanation),
            ));
        }
        if self.ledger.record(request.context, CLAIM, &key(names.space, name)).await?.is_some() {
            return Ok(refused("AlreadyExists", format!("The name '{name}' is taken. Choose another name.")));
        }
        Ok(Reply::ok(json!({"nameAvailable": true})))
    }
}

/// The release of whatever name an incarnation has claimed.
pub(crate) fn release(incarnation: Uuid) -> Change {
    Change::DeleteRecordsOf { kind: CLAIM.to_owned(), owner: incarnation.to_string() }
}

/// Host names have no case.
fn key(space: &str, name: &str) -> String {
    format!("{space}/{}", name.to_ascii_lowercase())
}

/// Kind of the records that hold claimed names.
const CLAIM: &str = "claimed-name";
