//! Where a resource stands, and whether it may stand there.

use bastide_arm::error::ArmError;
use bastide_arm::id::ResourceId;
use bastide_arm::resource_type::{Descriptor, Placement};

use crate::failure::Failure;
use crate::front::Front;
use crate::ledger::{Entry, group_not_found};
use crate::pass::Pass;
use crate::providers::{self, resource_group};
use crate::registry::Registered;
use crate::request::Request;

impl Front {
    /// Where a resource stands: its id in the spelling of what it stands in, and its parent, which must be there.
    pub(super) async fn place(
        &self,
        request: &Request<'_>,
        pass: &Pass,
        registered: &Registered,
        existing: Option<&Entry>,
    ) -> Result<(ResourceId, Option<Entry>), Failure> {
        let descriptor = registered.rules.descriptor();
        let target = &request.matched.target;
        let group = self.group_stands(pass, target).await?;
        let parent = match (target.parent(), group) {
            (Some(parent), Some(group)) if parent == group.id => Some(group),
            (Some(parent), _) if !parent.is_tenant() => self.ledger.surrounding(pass, &parent).await?,
            _ => None,
        };
        if parent.is_none() && target.parent().is_some_and(|parent| !parent.is_tenant()) {
            return Err(ArmError::parent_resource_not_found(target).into());
        }
        if let Some(entry) = existing {
            return Ok((entry.id.clone(), parent));
        }
        check_placement(descriptor, target)?;
        if !(descriptor.name.accepts)(target.name()) {
            let rule = format!("Use {}.", descriptor.name.explanation);
            return Err(ArmError::invalid_resource_name(target.name(), &registered.name, &rule).into());
        }
        let id = parent.as_ref().map_or_else(|| target.clone(), |parent| target.with_spelling_of(&parent.id));
        Ok((id, parent))
    }

    /// The resource group of an id must exist, and must not be on its way out.
    pub(crate) async fn group_stands(&self, pass: &Pass, id: &ResourceId) -> Result<Option<Entry>, Failure> {
        let Some(group) = id.resource_group_id().filter(|group| group != id) else { return Ok(None) };
        let Some(entry) = self.ledger.surrounding(pass, &group).await? else { return Err(group_not_found(id).into()) };
        if resource_group::is_deleting(&entry.document.properties) {
            return Err(ArmError::resource_group_being_deleted(entry.id.name()).into());
        }
        Ok(Some(entry))
    }

    pub(super) async fn entry_or_404(&self, request: &Request<'_>, pass: &Pass) -> Result<Entry, Failure> {
        let id = &request.matched.target;
        if let Some(entry) = self.ledger.resource(pass, id).await? {
            return Ok(entry);
        }
        if id.is_resource_group() {
            return Err(group_not_found(id).into());
        }
        if let Some(group) = id.resource_group_id()
            && self.ledger.surrounding(pass, &group).await?.is_none()
        {
            return Err(group_not_found(id).into());
        }
        Err(ArmError::resource_not_found(id).into())
    }

    pub(super) fn type_name_of(&self, id: &ResourceId, registered: &Registered) -> String {
        if id.is_resource_group() { providers::resource_group::TYPE_NAME.to_owned() } else { registered.name.clone() }
    }
}

/// A type lives at its level and nowhere else; a generic resource wherever it is put.
fn check_placement(descriptor: &Descriptor, id: &ResourceId) -> Result<(), ArmError> {
    let right = match descriptor.placement {
        Placement::ResourceGroup => id.resource_group().is_some() && !id.is_extension(),
        // The generic form of a group's path is no group.
        Placement::Subscription => id.is_resource_group(),
        Placement::Extension => true,
    };
    if right {
        return Ok(());
    }
    let message = format!("A resource of type '{}' lives in a resource group; '{id}' is not in one.", id.type_name());
    Err(ArmError::new(400, "InvalidResourceId", message))
}
