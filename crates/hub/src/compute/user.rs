//! Whose an instance is.

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::Document;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Desired, creator, inner, sign_on};

/// What somebody wants of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Its applications: `JupyterLab` and other pages.
    Application,
    /// A shell, a process, a tunnel.
    Shell,
}

/// Whose an instance is: the user it was assigned to, else who made it.
pub fn owner(document: &Document) -> Option<Uuid> {
    assigned(inner(document)?).or_else(|| creator(document).map(|creator| creator.object_id))
}

/// The user an instance is assigned to.
pub(super) fn assigned(inner: &Map<String, Value>) -> Option<Uuid> {
    let settings = inner.get("personalComputeInstanceSettings")?;
    settings.get("assignedUser")?.get("objectId")?.as_str()?.parse().ok()
}

/// Refuses whoever an instance is not open for, and everybody while it is to be stopped. The right to use computes at all is
/// asked for elsewhere.
pub fn admit(document: &Document, caller: Uuid, what: Use) -> Result<(), ArmError> {
    check_owner(document, caller, what)?;
    if what == Use::Application && !inner(document).is_some_and(sign_on::is_on) {
        let message = "Single sign-on is off for this compute instance, so signing in opens none of its pages. Switch it on \
                       (az ml compute enable-sso), or forward a port by SSH (bastide ml compute connect-ssh).";
        return Err(ArmError::new(403, "SingleSignOnDisabled", message));
    }
    if Desired::of(document).is_some_and(|desired| desired.run) {
        return Ok(());
    }
    let message = "This compute instance is stopped. Start it first: az ml compute start.";
    Err(ArmError::new(409, "ComputeNotRunning", message))
}

/// Refuses whoever a personal instance is not for.
fn check_owner(document: &Document, caller: Uuid, what: Use) -> Result<(), ArmError> {
    let is_shared = inner(document).and_then(|inner| inner.get("applicationSharingPolicy")).and_then(Value::as_str);
    let is_open = what == Use::Application && is_shared == Some("Shared");
    if is_open || owner(document) == Some(caller) {
        return Ok(());
    }
    let message = match what {
        Use::Application => {
            "This compute instance is personal: only the user it is assigned to may open it. Ask for one of your own, or \
             have its applicationSharingPolicy set to Shared."
        }
        Use::Shell => {
            "This compute instance is somebody else's: only the user it is assigned to may work in it. Create one of your \
             own, or have one created on your behalf (personalComputeInstanceSettings.assignedUser)."
        }
    };
    Err(ArmError::new(403, "NotTheAssignedUser", message))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn instance(policy: &str, assigned: Option<Uuid>) -> Document {
        let mut inner = json!({"applicationSharingPolicy": policy});
        if let Some(user) = assigned {
            inner["personalComputeInstanceSettings"] =
                json!({"assignedUser": {"objectId": user, "tenantId": Uuid::nil()}});
        }
        let mut properties = json!({"properties": inner, "creator": {"objectId": Uuid::from_u128(1), "name": "mei"}});
        Desired::new(1, Timestamp::UNIX_EPOCH).store(properties.as_object_mut().unwrap());
        Document { properties: properties.as_object().cloned().unwrap(), ..Document::default() }
    }

    #[test]
    fn an_instance_is_its_users_and_without_one_its_makers() {
        let (maker, user) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let own = instance("Personal", None);
        assert!(admit(&own, maker, Use::Shell).is_ok() && admit(&own, maker, Use::Application).is_ok());
        let given = instance("Personal", Some(user));
        assert!(admit(&given, user, Use::Shell).is_ok());
        assert_eq!(
            admit(&given, maker, Use::Shell).unwrap_err().status,
            403,
            "who made it for somebody else stays out"
        );
    }

    #[test]
    fn what_is_shared_are_its_pages_and_no_shell() {
        let shared = instance("Shared", None);
        let other = Uuid::from_u128(3);
        assert!(admit(&shared, other, Use::Application).is_ok());
        assert!(admit(&shared, other, Use::Shell).is_err());
        assert!(admit(&instance("Personal", None), other, Use::Application).is_err());
    }

    #[test]
    fn signing_in_opens_no_page_while_single_sign_on_is_off_and_a_shell_all_the_same() {
        let maker = Uuid::from_u128(1);
        let mut instance = instance("Shared", None);
        instance.properties["properties"]["enableSSO"] = json!(false);
        assert_eq!(admit(&instance, maker, Use::Application).unwrap_err().code, "SingleSignOnDisabled");
        assert!(admit(&instance, maker, Use::Shell).is_ok());
    }

    #[test]
    fn nobody_gets_into_what_is_to_be_stopped() {
        let maker = Uuid::from_u128(1);
        let mut instance = instance("Shared", None);
        let stopped = Desired::of(&instance).unwrap().stopped(crate::compute::Trigger::User, Timestamp::UNIX_EPOCH);
        stopped.store(&mut instance.properties);
        for what in [Use::Shell, Use::Application] {
            assert_eq!(admit(&instance, maker, what).unwrap_err().code, "ComputeNotRunning");
        }
    }
}
