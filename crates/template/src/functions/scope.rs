//! Where the deployment runs: `resourceGroup()`, `subscription()`, `tenant()`, `managementGroup()`.

use super::{Function, special};
use crate::context::ResourceGroup;
use crate::data::Data;
use crate::evaluator::{Evaluator, Outcome};
use crate::expression::Call;
use crate::live::Need;

pub(super) const FUNCTIONS: &[Function] = &[
    special("managementGroup", 0, 0, management_group),
    special("resourceGroup", 0, 0, resource_group),
    special("subscription", 0, 0, subscription),
    special("tenant", 0, 0, |evaluator, _| {
        let tenant = &evaluator.frame.context.tenant_id;
        Ok(Data::record([
            ("id", Data::text(format!("/tenants/{tenant}"))),
            ("tenantId", Data::text(tenant)),
            ("countryCode", Data::text("")),
            ("displayName", Data::text(tenant)),
        ]))
    }),
];

/// Members that are known without making, or looking up, the whole object.
pub(crate) fn known_property(evaluator: &Evaluator<'_>, call: &Call, name: &str) -> Option<Data> {
    let context = &evaluator.frame.context;
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    match call.function.name {
        "deployment" if is("name") => Some(Data::text(&context.deployment.name)),
        "deployment" if is("location") => context.deployment.location.as_ref().map(Data::text),
        "resourceGroup" => {
            let group = context.group.as_ref()?;
            match () {
                () if is("name") => Some(Data::text(&group.name)),
                () if is("id") => Some(Data::text(context.scope().id())),
                () if is("type") => Some(Data::text(GROUP_TYPE)),
                () if is("location") => group.location.as_ref().map(Data::text),
                () => None,
            }
        }
        _ => None,
    }
}

fn resource_group(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    let context = &evaluator.frame.context;
    let id = context.scope().id();
    match &context.group {
        None => Err(evaluator.blame(call, "the deployment does not go to a resource group.")),
        Some(group @ ResourceGroup { location: Some(location), .. }) => {
            let mut members = vec![
                ("id", Data::text(&id)),
                ("name", Data::text(&group.name)),
                ("type", Data::text(GROUP_TYPE)),
                ("location", Data::text(location)),
            ];
            if let Some(manager) = &group.managed_by {
                members.push(("managedBy", Data::text(manager)));
            }
            members.push(("tags", Data::from(&group.tags)));
            members.push(("properties", Data::record([("provisioningState", Data::text("Succeeded"))])));
            Ok(Data::object(members.into_iter().map(|(name, value)| (name.into(), value)).collect()))
        }
        // Another group, named by a nested deployment: only the live one has a location.
        Some(_) => {
            let need = Need::Resource { id, api_version: Some("2022-09-01".to_owned()) };
            evaluator.look_up(&need, call.offset)
        }
    }
}

fn subscription(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    let context = &evaluator.frame.context;
    match &context.subscription {
        None => Err(evaluator.blame(call, "the deployment does not go to a subscription.")),
        Some(subscription) => Ok(Data::record([
            ("id", Data::text(format!("/subscriptions/{}", subscription.id))),
            ("subscriptionId", Data::text(&subscription.id)),
            ("tenantId", Data::text(&context.tenant_id)),
            ("displayName", Data::text(&subscription.display_name)),
        ])),
    }
}

fn management_group(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    let context = &evaluator.frame.context;
    match &context.management_group {
        None => Err(evaluator.blame(call, "the deployment does not go to a management group.")),
        Some(name) => Ok(Data::record([
            ("id", Data::text(format!("/providers/Microsoft.Management/managementGroups/{name}"))),
            ("name", Data::text(name)),
            ("type", Data::text("/providers/Microsoft.Management/managementGroups")),
            (
                "properties",
                Data::record([("displayName", Data::text(name)), ("tenantId", Data::text(&context.tenant_id))]),
            ),
        ])),
    }
}

const GROUP_TYPE: &str = "Microsoft.Resources/resourceGroups";
