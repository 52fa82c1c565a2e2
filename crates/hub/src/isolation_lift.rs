//! Isolation that is lifted for a time, by consent (mission.md F16, (c) 8). The cloud refuses to go back once a network is
//! isolated, and so does a plain write here. An Owner who types the name of the hub, says why and until when, opens it: what
//! is stored is the consent beside the mode, so that the mode is back when the time is over without anybody doing anything,
//! whatever has stopped or started meanwhile.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::{Author, Document, Linked, Parity};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::field::refused;
use crate::isolation_mode::IsolationMode;
use crate::workspace::Kind;

/// A consent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IsolationLift {
    /// When it was given.
    pub since: Timestamp,
    /// When isolation is back.
    pub until: Timestamp,
    /// The name of who gave it.
    pub by: String,
    /// Object id of who gave it.
    pub by_object_id: Uuid,
    /// What for.
    pub reason: String,
}

impl IsolationLift {
    /// Reads a consent from a body of `{hub, reason, expiresOn}`; the refusal says what is missing.
    ///
    /// # Errors
    /// 400 for a name that is not the hub's, no reason, and a time that is over or too far away; 409 for what is not isolated.
    pub fn read(body: &Value, hub: &Linked, by: &Author, now: Timestamp, parity: Parity) -> Result<Self, ArmError> {
        check_hub(hub, parity)?;
        let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::trim).unwrap_or_default();
        let name = hub.id.name();
        if text("hub") != name {
            let message =
                format!("To lift the isolation of hub '{name}', type its name as it is spelled here in 'hub'.");
            return Err(refused("hub", message));
        }
        let reason = text("reason");
        if reason.is_empty() || reason.chars().count() > LONGEST_REASON {
            let message = format!("Say in 'reason' what isolation is lifted for, in 1 to {LONGEST_REASON} letters.");
            return Err(refused("reason", message));
        }
        let until = text("expiresOn")
            .parse::<Timestamp>()
            .ok()
            .filter(|until| *until > now && until.duration_since(now) <= LONGEST);
        let until = until.ok_or_else(|| {
            let latest = now.checked_add(LONGEST).unwrap_or(Timestamp::MAX);
            let message = format!(
                "Say in 'expiresOn' when isolation is back: a time such as 2026-11-22T18:00:00Z, after now and not after \
                 {latest}."
            );
            refused("expiresOn", message)
        })?;
        Ok(Self { since: now, until, by: by.name.clone(), by_object_id: by.object_id, reason: reason.to_owned() })
    }

    /// The consent that holds at a moment for the network in a hub's properties.
    pub fn in_force(properties: &Map<String, Value>, now: Timestamp) -> Option<Self> {
        let stored: Self = serde_json::from_value(properties.get(NETWORK)?.get(FIELD)?.clone()).ok()?;
        (stored.since <= now && now < stored.until).then_some(stored)
    }

    /// The hub with this consent.
    #[must_use]
    pub fn put_on(&self, hub: &Document) -> Document {
        let mut document = hub.clone();
        if let Some(network) = document.properties.get_mut(NETWORK).and_then(Value::as_object_mut) {
            network.insert(FIELD.to_owned(), json!(self));
        }
        document
    }

    /// As an answer shows it; `former` is the mode that comes back.
    pub(crate) fn answer(&self, former: IsolationMode) -> Value {
        json!({
            "formerMode": former.as_str(),
            "since": self.since,
            "until": self.until,
            "by": self.by,
            "reason": self.reason,
        })
    }
}

/// The hub without a consent; none when it has none.
pub fn taken_back(hub: &Document) -> Option<Document> {
    let mut document = hub.clone();
    document.properties.get_mut(NETWORK)?.as_object_mut()?.shift_remove(FIELD)?;
    Some(document)
}

/// How isolated a hub is at a moment, what it may become, and by whose consent it is not. `running` are the computes that a
/// consent has to wait for.
pub fn state(hub: &Document, running: &[String], now: Timestamp) -> Value {
    let lift = IsolationLift::in_force(&hub.properties, now);
    let former = IsolationMode::of(&hub.properties);
    json!({
        "isolationMode": IsolationMode::in_force(&hub.properties, now).as_str(),
        "changeableIsolationModes": IsolationMode::changeable_at(&hub.properties, now),
        "isolationLift": lift.map(|lift| lift.answer(former)),
        "runningComputes": running,
    })
}

/// 409 naming the computes that still run: what was started behind a wall must not find itself without one.
///
/// # Errors
/// When there are any.
pub fn check_drained(hub: &Linked, running: &[String]) -> Result<(), ArmError> {
    if running.is_empty() {
        return Ok(());
    }
    let message = format!(
        "Computes of hub '{}' run: {}. Stop them first (az ml compute stop, or bastide network isolation lift --drain); \
         what was started behind a wall must not find itself without one.",
        hub.id.name(),
        running.join(", ")
    );
    Err(ArmError::new(409, "ComputesNotDrained", message))
}

fn check_hub(hub: &Linked, parity: Parity) -> Result<(), ArmError> {
    let refuse = |message: String| Err(ArmError::new(409, "IsolationCannotBeLifted", message));
    if parity == Parity::Strict {
        return refuse(
            "Isolation is never lifted in the cloud, and this Bastide runs with --parity strict.".to_owned(),
        );
    }
    if Kind::of(&hub.document) == Kind::Project {
        return refuse("A project has its hub's network. Name the hub.".to_owned());
    }
    if IsolationMode::of(&hub.document.properties) == IsolationMode::Disabled {
        return refuse(format!("The network of '{}' is not isolated: its mode is Disabled.", hub.id.name()));
    }
    Ok(())
}

/// Where it stands in the stored network; no client writes or reads it there.
pub(crate) const FIELD: &str = "isolationLift";

const NETWORK: &str = "managedNetwork";

/// A week: longer than any repair, shorter than a habit.
const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);

const LONGEST_REASON: usize = 500;

#[cfg(test)]
mod tests {
    use bastide_arm::id::ResourceId;

    use super::*;

    const HUB: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/Vault";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn now() -> Timestamp {
        at("2026-11-22T10:00:00Z")
    }

    fn hub(mode: &str) -> Linked {
        let properties = json!({"managedNetwork": {"isolationMode": mode, "firewallSku": "Standard"}});
        let document = Document {
            kind: Some("Hub".to_owned()),
            properties: properties.as_object().unwrap().clone(),
            ..Document::default()
        };
        Linked { id: ResourceId::parse(HUB).unwrap(), incarnation: Uuid::nil(), document }
    }

    fn asked(hub: &Linked, change: &Value) -> Result<IsolationLift, ArmError> {
        let mut body = json!({"hub": "Vault", "reason": "a repair", "expiresOn": "2026-11-22T12:00:00Z"});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let by = Author { name: "priya".to_owned(), ..Author::default() };
        IsolationLift::read(&body, hub, &by, now(), Parity::Native)
    }

    #[test]
    fn a_consent_names_the_hub_a_reason_and_an_end() {
        let approved = hub("AllowOnlyApprovedOutbound");
        let refusals = [
            (json!({"hub": "vault"}), "hub"),
            (json!({"hub": null}), "hub"),
            (json!({"reason": " "}), "reason"),
            (json!({"reason": "x".repeat(501)}), "reason"),
            (json!({"expiresOn": null}), "expiresOn"),
            (json!({"expiresOn": "tomorrow"}), "expiresOn"),
            (json!({"expiresOn": "2026-11-22T10:00:00Z"}), "expiresOn"),
            (json!({"expiresOn": "2026-11-29T10:00:01Z"}), "expiresOn"),
        ];
        for (change, target) in refusals {
            assert_eq!(asked(&approved, &change).unwrap_err().target.as_deref(), Some(target), "{change}");
        }
        assert!(asked(&approved, &json!({"expiresOn": "2026-11-29T10:00:00Z"})).is_ok());
        assert_eq!(asked(&hub("Disabled"), &json!({})).unwrap_err().status, 409);
        let strict = IsolationLift::read(&json!({}), &approved, &Author::default(), now(), Parity::Strict);
        assert_eq!(strict.unwrap_err().status, 409);
    }

    #[test]
    fn the_mode_comes_back_when_the_time_is_over() {
        let hub = hub("AllowOnlyApprovedOutbound");
        let open = asked(&hub, &json!({})).unwrap().put_on(&hub.document);
        let mode = |time: &str| IsolationMode::in_force(&open.properties, at(time)).as_str();
        assert_eq!(mode("2026-11-22T10:00:00Z"), "Disabled");
        assert_eq!(mode("2026-11-22T11:59:59Z"), "Disabled");
        assert_eq!(mode("2026-11-22T12:00:00Z"), "AllowOnlyApprovedOutbound");
        assert_eq!(
            mode("2026-11-22T09:59:59Z"),
            "AllowOnlyApprovedOutbound",
            "a clock that was set back opens nothing"
        );
        assert_eq!(taken_back(&open).unwrap(), hub.document);
        assert_eq!(taken_back(&hub.document), None);
    }

    #[test]
    fn what_may_be_changed_is_told_as_it_is() {
        let hub = hub("AllowOnlyApprovedOutbound");
        let shut = state(&hub.document, &[], now());
        assert_eq!(shut["changeableIsolationModes"], json!(["AllowInternetOutbound"]));
        assert_eq!(
            (&shut["isolationMode"], &shut["isolationLift"]),
            (&json!("AllowOnlyApprovedOutbound"), &Value::Null)
        );
        let open = asked(&hub, &json!({})).unwrap().put_on(&hub.document);
        let open = state(&open, &["mei".to_owned()], now());
        assert_eq!(open["changeableIsolationModes"], json!(["AllowInternetOutbound", "AllowOnlyApprovedOutbound"]));
        assert_eq!(open["isolationMode"], "Disabled");
        assert_eq!(open["isolationLift"]["formerMode"], "AllowOnlyApprovedOutbound");
        assert_eq!(open["runningComputes"], json!(["mei"]));
    }

    #[test]
    fn computes_that_run_stand_in_the_way() {
        let hub = hub("AllowInternetOutbound");
        assert!(check_drained(&hub, &[]).is_ok());
        let refused = check_drained(&hub, &["mei".to_owned(), "team/train".to_owned()]).unwrap_err();
        assert_eq!(refused.status, 409);
        assert!(refused.message.contains("mei, team/train"), "{}", refused.message);
    }
}
