//! Resources: their ids, and their live state.

use super::{Function, MANY, special};
use crate::data::{Data, Fields};
use crate::error::{Needs, Stop, TemplateError};
use crate::evaluator::{Evaluator, Outcome};
use crate::expression::Call;
use crate::frame::Region;
use crate::gather::Gather;
use crate::id::{self, Scope};
use crate::live::{Answer, Need};

pub(super) const FUNCTIONS: &[Function] = &[
    special("extensionResourceId", 3, MANY, |evaluator, call| {
        let texts = texts(evaluator, call)?;
        match texts.split_first() {
            Some((scope, rest)) => made(evaluator, call, scope, rest),
            None => Ok(Data::Null),
        }
    }),
    special("managementGroupResourceId", 2, MANY, management_group_resource_id),
    special("pickZones", 3, 5, |evaluator, call| {
        evaluator.arguments(&call.arguments)?;
        // One host is one zone: no location here has zones to pick from, which the service answers this way.
        Ok(Data::array(Vec::new()))
    }),
    special("providers", 1, 2, providers),
    special("reference", 1, 3, reference),
    special("references", 1, 2, references),
    special("resourceId", 2, MANY, resource_id),
    special("roleDefinitions", 1, 1, role_definitions),
    special("resourceInfo", 1, 1, resource_info),
    special("subscriptionResourceId", 2, MANY, subscription_resource_id),
    special("tenantResourceId", 2, MANY, |evaluator, call| {
        let texts = texts(evaluator, call)?;
        made(evaluator, call, "", &texts)
    }),
    special("toLogicalZone", 3, 3, no_zones),
    special("toLogicalZones", 3, 3, no_zones),
    special("toPhysicalZone", 3, 3, no_zones),
    special("toPhysicalZones", 3, 3, no_zones),
];

/// `listKeys`, `listAdminKeys`, ...: one function for every action whose name begins with `list`.
pub(super) static LIST: Function = special("list*", 1, 3, list);

impl Evaluator<'_> {
    /// What is known about a need.
    pub(crate) fn look_up(&mut self, need: &Need, offset: usize) -> Outcome {
        match self.live.look_up(need) {
            Answer::Known { value, secret } => {
                self.secret |= secret || matches!(need, Need::List { .. } | Need::Secret { .. });
                let data = Data::from(&value);
                self.spend(data.weight() / 64)?;
                Ok(data)
            }
            Answer::Missing => Err(Needs::one(need.clone())),
            // Whoever looked knows what may be said.
            Answer::Failed(sentence) => Err(TemplateError::at(&*self.place, offset, sentence).into()),
        }
    }
}

fn texts(evaluator: &mut Evaluator<'_>, call: &Call) -> Result<Vec<String>, Stop> {
    let values = evaluator.arguments(&call.arguments)?;
    let mut texts = Vec::with_capacity(values.len());
    for (position, value) in values.iter().enumerate() {
        match value {
            Data::Text(text) => texts.push(text.to_string()),
            other => {
                let message = format!("argument {} must be a string, but it is {}.", position + 1, other.kind());
                return Err(evaluator.blame(call, message));
            }
        }
    }
    Ok(texts)
}

/// The id of `[type, name, ...]` below a scope; names may themselves be `a/b`.
fn made(evaluator: &Evaluator<'_>, call: &Call, scope: &str, texts: &[String]) -> Outcome {
    let Some((type_name, names)) = texts.split_first() else {
        return Err(evaluator.blame(call, "a resource type is missing."));
    };
    let mut types = type_name.trim_matches('/').split('/');
    let namespace = types.next().unwrap_or_default();
    let types: Vec<&str> = types.collect();
    let names: Vec<&str> = names.iter().flat_map(|name| name.split('/')).collect();
    if types.is_empty() || types.len() != names.len() {
        let message = format!(
            "the type '{type_name}' requires {} resource name argument(s), but {} are given.",
            types.len(),
            names.len()
        );
        return Err(evaluator.blame(call, message));
    }
    Ok(Data::text(id::plain_id(scope, namespace, &types, &names)))
}

/// `resourceId([subscription,] [group,] type, names...)`: the type is the first argument with a slash.
fn resource_id(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    let texts = texts(evaluator, call)?;
    let Some(at) = texts.iter().take(3).position(|text| text.contains('/')) else {
        let message =
            "none of its first three arguments is a resource type such as 'Microsoft.Storage/storageAccounts'.";
        return Err(evaluator.blame(call, message));
    };
    let (before, rest) = texts.split_at(at);
    let own = evaluator.frame.context.scope();
    let scope = match (before, &own) {
        ([group], Scope::Group { subscription, .. }) => {
            Scope::Group { subscription: subscription.clone(), group: group.clone() }
        }
        ([subscription, group], _) => Scope::Group { subscription: subscription.clone(), group: group.clone() },
        ([subscription], _) => Scope::Subscription(subscription.clone()),
        _ => own.clone(),
    };
    made(evaluator, call, &scope.id(), rest)
}

fn subscription_resource_id(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    let texts = texts(evaluator, call)?;
    let explicit = texts.first().filter(|first| !first.contains('/'));
    let own = evaluator.frame.context.subscription.as_ref().map(|subscription| &subscription.id);
    let rest = if explicit.is_some() { texts.get(1..).unwrap_or_default() } else { &texts };
    match explicit.or(own) {
        Some(subscription) => made(evaluator, call, &format!("/subscriptions/{subscription}"), rest),
        None => Err(evaluator.blame(call, "the deployment does not go to a subscription; name one.")),
    }
}

fn management_group_resource_id(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    let texts = texts(evaluator, call)?;
    let explicit = texts.first().filter(|first| !first.contains('/'));
    let rest = if explicit.is_some() { texts.get(1..).unwrap_or_default() } else { &texts };
    match explicit.or(evaluator.frame.context.management_group.as_ref()) {
        Some(name) => made(evaluator, call, &Scope::ManagementGroup(name.clone()).id(), rest),
        None => Err(evaluator.blame(call, "the deployment does not go to a management group; name one.")),
    }
}

/// Live state is for bodies and outputs: what shapes the plan must be known before anything is deployed.
fn only_in_bodies(evaluator: &Evaluator<'_>, call: &Call) -> Result<(), Stop> {
    let where_not = match evaluator.region {
        Region::Body => return Ok(()),
        Region::Shape => "names, conditions, loop counts and scopes",
        Region::Variable => "variables",
        Region::Default => "defaults of parameters",
        Region::Function => "functions of a template",
    };
    Err(evaluator.blame(call, format!("it needs live state, which cannot be used in {where_not}.")))
}

/// The resource an argument means: an id, a symbolic name, the name of a resource of the template.
fn target(evaluator: &Evaluator<'_>, call: &Call, text: &str) -> Result<(String, Option<String>), Stop> {
    if text.starts_with('/') {
        return Ok((text.trim_end_matches('/').to_owned(), evaluator.symbols.api_version(text)));
    }
    if let Some(symbol) = evaluator.symbols.refer(text) {
        return Ok((symbol.id.clone(), symbol.api_version.clone()));
    }
    // `Microsoft.X/type/name`, relative to where the deployment goes.
    let mut segments = text.split('/');
    let namespace = segments.next().unwrap_or_default();
    let rest: Vec<&str> = segments.collect();
    if namespace.contains('.') && !rest.is_empty() && rest.len().is_multiple_of(2) {
        let id = format!("{}/providers/{text}", evaluator.frame.context.scope().id());
        let version = evaluator.symbols.api_version(&id);
        return Ok((id, version));
    }
    Err(evaluator.blame(
        call,
        format!("'{text}' is neither a resource id nor the name of exactly one resource of the template."),
    ))
}

/// `reference(resource [, apiVersion] [, 'Full'])`.
fn reference(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    only_in_bodies(evaluator, call)?;
    let (id, api_version, full) = referred(evaluator, call)?;
    fetched(evaluator, call, &id, api_version.as_deref(), full)
}

/// Whether `reference(...).outputs` is that of a deployment that shows the output of this name, whatever it hides beside.
pub(crate) fn shows_output(evaluator: &mut Evaluator<'_>, call: &Call, output: &str) -> Result<bool, Stop> {
    let (id, _, full) = referred(evaluator, call)?;
    Ok(!full && evaluator.live.shows_output(&id, output))
}

/// What a reference is to, which version it asks for, and whether it wants all of it.
fn referred(evaluator: &mut Evaluator<'_>, call: &Call) -> Result<(String, Option<String>, bool), Stop> {
    let texts = texts(evaluator, call)?;
    let mut rest = texts.iter().skip(1).filter(|text| !text.is_empty()).peekable();
    let asked = rest.next_if(|text| !text.eq_ignore_ascii_case("full"));
    let full = match rest.next() {
        None => false,
        Some(text) if text.eq_ignore_ascii_case("full") => true,
        Some(_) => return Err(evaluator.blame(call, "its last argument can only be 'Full'.")),
    };
    let (id, declared) = target(evaluator, call, texts.first().map_or("", String::as_str))?;
    Ok((id, asked.cloned().or(declared), full))
}

/// Every iteration of a symbolic name: `references('name' [, 'Full'])`.
fn references(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    only_in_bodies(evaluator, call)?;
    let texts = texts(evaluator, call)?;
    let full = texts.get(1).is_some_and(|text| text.eq_ignore_ascii_case("full"));
    let symbols = evaluator.symbols;
    let mut values = Gather::default();
    for symbol in symbols.all(texts.first().map_or("", String::as_str)) {
        values.add(fetched(evaluator, call, &symbol.id, symbol.api_version.as_deref(), full))?;
    }
    values.finish().map(Data::array)
}

fn fetched(evaluator: &mut Evaluator<'_>, call: &Call, id: &str, api_version: Option<&str>, full: bool) -> Outcome {
    let need = Need::Resource { id: id.to_owned(), api_version: api_version.map(str::to_owned) };
    let resource = evaluator.look_up(&need, call.offset)?;
    if !full {
        return Ok(resource.member("properties").cloned().unwrap_or_else(|| Data::object(Vec::new())));
    }
    // What the service adds to the resource when all of it is asked for.
    let mut fields = Fields::default();
    for (name, value) in resource.as_object().map_or(&[][..], |object| &object.entries) {
        fields.put(name.clone(), value.clone());
    }
    let optional = |text: Option<&str>| text.map_or(Data::Null, Data::text);
    let group = id::ancestors(id).chain([id]).find_map(|id| match Scope::parse(id) {
        Some(Scope::Group { group, .. }) => Some(group),
        _ => None,
    });
    let subscription = id::ancestors(id).find_map(|id| Scope::parse(id)?.subscription().map(str::to_owned));
    fields.put("apiVersion".into(), optional(api_version));
    fields.put("subscriptionId".into(), optional(subscription.as_deref()));
    fields.put("resourceGroupName".into(), optional(group.as_deref()));
    fields.put("resourceId".into(), Data::text(id));
    Ok(fields.finish())
}

/// `listX(resource, apiVersion [, body])`.
fn list(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    only_in_bodies(evaluator, call)?;
    let values = evaluator.arguments(&call.arguments)?;
    let Some(Data::Text(what)) = values.first() else {
        return Err(evaluator.blame(call, "argument 1 must be a resource id or a name."));
    };
    let version = match values.get(1) {
        None | Some(Data::Null) => None,
        Some(Data::Text(version)) => Some(version.to_string()),
        Some(_) => return Err(evaluator.blame(call, "argument 2 must be an api-version.")),
    };
    let body = values.get(2).filter(|body| !body.is_null()).map(|body| body.to_value().to_string());
    let (id, declared) = target(evaluator, call, what)?;
    let need = Need::List { id, function: call.name.to_string(), api_version: version.or(declared), body };
    evaluator.look_up(&need, call.offset)
}

/// What the plan knows of a resource without asking anybody: `resourceInfo('name').id`.
fn resource_info(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    let texts = texts(evaluator, call)?;
    let name = texts.first().map_or("", String::as_str);
    match evaluator.symbols.refer(name) {
        Some(symbol) => Ok(Data::record([
            ("id", Data::text(&symbol.id)),
            ("name", Data::text(&symbol.name)),
            ("type", Data::text(&symbol.type_name)),
            ("apiVersion", symbol.api_version.as_ref().map_or(Data::Null, Data::text)),
        ])),
        None => Err(evaluator.blame(call, format!("'{name}' is not the name of a resource that is deployed."))),
    }
}

fn providers(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    let texts = texts(evaluator, call)?;
    let namespace = texts.first().map_or("", String::as_str);
    let Some(provider) = evaluator.frame.context.providers.get(&namespace.to_ascii_lowercase()) else {
        return Err(evaluator.blame(call, format!("there is no resource provider '{namespace}'.")));
    };
    let provider = Data::from(provider);
    let Some(wanted) = texts.get(1) else {
        return Ok(provider);
    };
    let types = provider.member("resourceTypes").and_then(Data::as_array).unwrap_or_default();
    let own = |kind: &&Data| {
        kind.member("resourceType").and_then(Data::as_text).is_some_and(|own| own.eq_ignore_ascii_case(wanted))
    };
    match types.iter().find(own) {
        Some(found) => Ok(found.clone()),
        None => Err(evaluator.blame(call, format!("'{namespace}' has no resource type '{wanted}'."))),
    }
}

/// A built-in role by its name: `roleDefinitions('Contributor').id`.
fn role_definitions(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    let texts = texts(evaluator, call)?;
    let name = texts.first().map_or("", String::as_str);
    match evaluator.frame.context.roles.get(&name.to_lowercase()) {
        Some(id) => Ok(Data::record([
            ("id", Data::text(format!("/providers/Microsoft.Authorization/roleDefinitions/{id}"))),
            ("roleDefinitionId", Data::text(id)),
        ])),
        None => Err(evaluator.blame(call, format!("there is no built-in role '{name}'."))),
    }
}

fn no_zones(evaluator: &mut Evaluator<'_>, call: &Call) -> Outcome {
    Err(evaluator.blame(call, "there are no availability zones here, so none can be translated."))
}
