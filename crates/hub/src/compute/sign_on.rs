//! `enableSSO`: whether somebody's sign-in opens the pages of an instance.
//!
//! Who makes an instance for somebody else, and has programs of their own run in it, does not get that user signed in
//! there: it is off until the user switches it on (Azure Machine Learning, "Create on behalf of").

use bastide_arm::error::ArmError;
use bastide_arm::resource_type::Document;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Terms, custom_service, inner, user};

/// Whether it is on. It is, unless somebody has switched it off.
pub(super) fn is_on(inner: &Map<String, Value>) -> bool {
    inner.get(NAME) != Some(&Value::Bool(false))
}

/// What a body makes of it. Silence keeps what is.
pub(super) fn settle(inner: &mut Map<String, Value>, terms: &Terms<'_>, warnings: &mut Vec<String>) {
    let stood = terms.before.map(is_on);
    if let Some(stood) = stood {
        inner.entry(NAME).or_insert(stood.into());
    }
    let user = user::assigned(terms.before.unwrap_or(inner)).unwrap_or(terms.creator.object_id);
    if !is_on(inner) || user == terms.author.object_id {
        return;
    }
    let must_be_off = match stood {
        Some(stood) => !stood,
        None => inner.contains_key("setupScripts") || custom_service::is_any(inner),
    };
    if must_be_off {
        inner.insert(NAME.to_owned(), false.into());
        warnings.push(format!(
            "{NAME}: it is off, because this instance is somebody else's and what runs in it is not theirs. They may switch \
             it on themselves: az ml compute enable-sso."
        ));
    }
}

/// Refuses whoever would switch it on for somebody else.
pub(super) fn may_switch(document: &Document, caller: Uuid, on: bool) -> Result<(), ArmError> {
    let is_on = inner(document).is_some_and(is_on);
    if !on || is_on || user::owner(document) == Some(caller) {
        return Ok(());
    }
    let message = "Single sign-on of this instance is switched on by the user it is assigned to, and by nobody else. Have \
                   them do it: az ml compute enable-sso.";
    Err(ArmError::new(403, "NotTheAssignedUser", message))
}

/// The property.
pub(super) const NAME: &str = "enableSSO";
