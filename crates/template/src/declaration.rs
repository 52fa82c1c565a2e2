//! One entry of a template's `resources`, before loops, conditions and names are worked out.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::error::TemplateError;
use crate::limits::Limits;
use crate::template::{Source, Template, find};
use crate::tree::{Place, Tree};

#[derive(Debug)]
pub(crate) struct Declaration {
    pub(crate) place: String,
    pub(crate) symbol: Option<String>,
    /// The full type; a child's is prefixed with its parent's.
    pub(crate) type_name: String,
    pub(crate) api_version: Option<Tree>,
    pub(crate) name: Tree,
    /// A child in its parent's `resources`, whose name continues the parent's.
    pub(crate) relative: bool,
    pub(crate) condition: Option<Tree>,
    pub(crate) scope: Option<Tree>,
    pub(crate) subscription: Option<Tree>,
    pub(crate) group: Option<Tree>,
    pub(crate) depends_on: Option<Tree>,
    pub(crate) copy: Option<ResourceLoop>,
    pub(crate) existing: bool,
    /// Everything that is sent to the resource provider.
    pub(crate) body: Arc<Tree>,
    pub(crate) children: Vec<Declaration>,
    pub(crate) nested: Option<Arc<Nested>>,
}

#[derive(Debug)]
pub(crate) struct ResourceLoop {
    pub(crate) place: String,
    pub(crate) name: Tree,
    pub(crate) count: Tree,
    /// Whether turns go batch by batch rather than all at once.
    pub(crate) serial: bool,
    /// How many turns a batch has; one when absent.
    pub(crate) batch_size: Option<Tree>,
}

/// The `properties` of a nested deployment.
#[derive(Debug)]
pub(crate) struct Nested {
    pub(crate) place: String,
    pub(crate) inner: bool,
    pub(crate) mode: Option<Tree>,
    pub(crate) template: NestedTemplate,
    pub(crate) parameters: Option<Tree>,
    pub(crate) parameters_link: Option<Tree>,
    pub(crate) nesting: u32,
}

#[derive(Debug)]
pub(crate) enum NestedTemplate {
    Inline(Arc<Template>),
    /// `"template": "[...]"`: known when evaluated.
    Computed(Tree),
    Link(Tree),
}

struct Parent<'a> {
    type_name: &'a str,
}

impl Declaration {
    /// The resources of a template: an array, or an object by symbolic name.
    pub(crate) fn list(
        section: Option<&Value>,
        source: &Source,
        place: &Place<'_>,
        nesting: u32,
        limits: &Limits,
    ) -> Result<Vec<Self>, TemplateError> {
        let profile = source.value().get("apiProfile").is_some_and(Value::is_string);
        let source = source.below(&["resources"]);
        Reader { nesting, profile, limits }.list(section, &source, place, None)
    }
}

struct Reader<'a> {
    nesting: u32,
    /// Whether the template names an `apiProfile`, which stands in for api-versions.
    profile: bool,
    limits: &'a Limits,
}

impl Reader<'_> {
    fn list(
        &self,
        section: Option<&Value>,
        source: &Source,
        place: &Place<'_>,
        parent: Option<&Parent<'_>>,
    ) -> Result<Vec<Declaration>, TemplateError> {
        let mut declarations = Vec::new();
        match section {
            None | Some(Value::Null) => {}
            Some(Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    let source = source.below(&[&index.to_string()]);
                    declarations.push(self.declaration(item, &source, None, &place.item(index), parent)?);
                }
            }
            Some(Value::Object(items)) => {
                for (symbol, item) in items {
                    let source = source.below(&[symbol]);
                    declarations.push(self.declaration(item, &source, Some(symbol), &place.member(symbol), parent)?);
                }
            }
            Some(_) => return Err(place.invalid("'resources' must be an array, or an object of symbolic names.")),
        }
        Ok(declarations)
    }

    fn declaration(
        &self,
        item: &Value,
        source: &Source,
        symbol: Option<&String>,
        place: &Place<'_>,
        parent: Option<&Parent<'_>>,
    ) -> Result<Declaration, TemplateError> {
        let Some(members) = item.as_object() else {
            return Err(place.invalid("A resource must be an object."));
        };
        for refused in ["import", "extension", "@options"] {
            if find(members, refused).is_some() {
                let message = format!("Resources with '{refused}' cannot be deployed here.");
                return Err(place.member(refused).invalid(message));
            }
        }
        let tree = |name: &str| match find(members, name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => Tree::read(value, &place.member(name), self.limits).map(Some),
        };
        let (type_name, relative) = type_name(members, place, parent)?;
        let Some(name) = tree("name")? else {
            return Err(place.invalid(format!("The resource of type '{type_name}' needs a 'name'.")));
        };
        let existing = find(members, "existing").is_some_and(|value| value == &Value::Bool(true));
        let api_version = tree("apiVersion")?;
        if api_version.is_none() && !existing && !self.profile {
            let message = format!("The resource of type '{type_name}' needs an 'apiVersion'.");
            return Err(place.invalid(message));
        }
        let nested = if type_name.eq_ignore_ascii_case(DEPLOYMENTS) && !existing {
            Some(Arc::new(self.nested(members, source, place)?))
        } else {
            None
        };
        let children = self.list(
            find(members, "resources"),
            &source.below(&["resources"]),
            &place.member("resources"),
            Some(&Parent { type_name: &type_name }),
        )?;
        Ok(Declaration {
            place: place.path(),
            symbol: symbol.cloned(),
            api_version,
            name,
            relative,
            condition: tree("condition")?,
            scope: tree("scope")?,
            subscription: tree("subscriptionId")?,
            group: tree("resourceGroup")?,
            depends_on: tree("dependsOn")?,
            copy: self.resource_loop(members, place)?,
            existing,
            body: Arc::new(self.body(members, place, nested.is_some())?),
            children,
            nested,
            type_name,
        })
    }

    fn body(&self, members: &Map<String, Value>, place: &Place<'_>, nested: bool) -> Result<Tree, TemplateError> {
        let body: Map<String, Value> = members
            .iter()
            .filter(|(name, _)| !LANGUAGE.iter().any(|other| other.eq_ignore_ascii_case(name)))
            // The properties of a deployment are the engine's, not the provider's.
            .filter(|(name, _)| !(nested && name.eq_ignore_ascii_case("properties")))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        Tree::members(&body, place, self.limits)
    }

    fn resource_loop(
        &self,
        members: &Map<String, Value>,
        place: &Place<'_>,
    ) -> Result<Option<ResourceLoop>, TemplateError> {
        let Some(copy) = find(members, "copy").filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        let place = place.member("copy");
        let part = |name: &str| match copy.get(name) {
            Some(value) => Tree::read(value, &place.member(name), self.limits),
            None => Err(place.invalid(format!("The loop of a resource needs a '{name}'."))),
        };
        let serial = match copy.get("mode").and_then(Value::as_str) {
            None => false,
            Some(mode) if mode.eq_ignore_ascii_case("parallel") => false,
            Some(mode) if mode.eq_ignore_ascii_case("serial") => true,
            Some(mode) => {
                return Err(place
                    .member("mode")
                    .invalid(format!("'{mode}' is no loop mode; use 'Serial' or 'Parallel'.")));
            }
        };
        let batch_size = match copy.get("batchSize") {
            Some(size) => Some(Tree::read(size, &place.member("batchSize"), self.limits)?),
            None => None,
        };
        Ok(Some(ResourceLoop { place: place.path(), name: part("name")?, count: part("count")?, serial, batch_size }))
    }

    fn nested(
        &self,
        members: &Map<String, Value>,
        source: &Source,
        place: &Place<'_>,
    ) -> Result<Nested, TemplateError> {
        let place = place.member("properties");
        let Some(properties) = find(members, "properties").and_then(Value::as_object) else {
            return Err(place.invalid("A nested deployment needs 'properties' with a 'template' or a 'templateLink'."));
        };
        for name in properties.keys() {
            if !DEPLOYMENT_PROPERTIES.iter().any(|other| other.eq_ignore_ascii_case(name)) {
                return Err(place.member(name).invalid(format!("A nested deployment has no property '{name}' here.")));
            }
        }
        let tree = |name: &str| match find(properties, name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => Tree::read(value, &place.member(name), self.limits).map(Some),
        };
        let template_place = place.member("template");
        let template = match (find(properties, "template"), tree("templateLink")?) {
            (Some(Value::String(_)), None) => match tree("template")? {
                Some(tree @ Tree::Expression(_)) => NestedTemplate::Computed(tree),
                _ => return Err(template_place.invalid("A template must be a JSON object.")),
            },
            (Some(_), None) => {
                let source = source.below(&[exact(members, "properties"), exact(properties, "template")]);
                let path = template_place.path();
                NestedTemplate::Inline(Template::from_source(source, &path, self.nesting + 1, self.limits)?)
            }
            (None, Some(link)) => NestedTemplate::Link(link),
            _ => return Err(place.invalid("A nested deployment needs either a 'template' or a 'templateLink'.")),
        };
        Ok(Nested {
            place: place.path(),
            inner: evaluation_scope(properties, &place)?,
            mode: tree("mode")?,
            template,
            parameters: tree("parameters")?,
            parameters_link: tree("parametersLink")?,
            nesting: self.nesting + 1,
        })
    }
}

/// The name under which a member that is found ignoring case really stands.
fn exact<'a>(members: &'a Map<String, Value>, name: &'a str) -> &'a str {
    if members.contains_key(name) {
        return name;
    }
    members.keys().find(|other| other.eq_ignore_ascii_case(name)).map_or(name, String::as_str)
}

/// Whether the expressions of a nested template are its own (`inner`) or its parent's (`outer`, the default).
fn evaluation_scope(properties: &Map<String, Value>, place: &Place<'_>) -> Result<bool, TemplateError> {
    let options = find(properties, "expressionEvaluationOptions").and_then(Value::as_object);
    match options.and_then(|options| find(options, "scope")) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::String(scope)) if scope.eq_ignore_ascii_case("inner") => Ok(true),
        Some(Value::String(scope))
            if ["outer", "notspecified"].iter().any(|other| scope.eq_ignore_ascii_case(other)) =>
        {
            Ok(false)
        }
        Some(_) => Err(place
            .member("expressionEvaluationOptions")
            .invalid("The evaluation scope of a nested deployment is 'inner' or 'outer'.")),
    }
}

fn type_name(
    members: &Map<String, Value>,
    place: &Place<'_>,
    parent: Option<&Parent<'_>>,
) -> Result<(String, bool), TemplateError> {
    let place = place.member("type");
    let Some(own) = find(members, "type").and_then(Value::as_str) else {
        return Err(place.invalid("A resource needs a 'type' that is a plain string."));
    };
    if own.starts_with('[') {
        return Err(place.invalid("The type of a resource cannot be an expression."));
    }
    let well_formed = |name: &str| name.split('/').all(|segment| !segment.is_empty());
    let full = match parent {
        // A child may repeat its parent's type in full.
        Some(parent)
            if own.get(..parent.type_name.len()).is_some_and(|start| start.eq_ignore_ascii_case(parent.type_name))
                && own[parent.type_name.len()..].starts_with('/') =>
        {
            return Ok((own.to_owned(), false));
        }
        Some(parent) => format!("{}/{}", parent.type_name, own.trim_matches('/')),
        None => own.to_owned(),
    };
    if !well_formed(&full) || !full.contains('/') {
        return Err(place.invalid(format!(
            "'{own}' is not a resource type; a type looks like 'Microsoft.Storage/storageAccounts'."
        )));
    }
    Ok((full, parent.is_some()))
}

/// The type whose `properties` are a deployment of their own.
pub(crate) const DEPLOYMENTS: &str = "Microsoft.Resources/deployments";

/// Members of a resource that belong to the language and are not sent to the provider.
const LANGUAGE: &[&str] = &[
    "type",
    "apiVersion",
    "name",
    "condition",
    "scope",
    "subscriptionId",
    "resourceGroup",
    "dependsOn",
    "copy",
    "existing",
    "resources",
    "comments",
    "metadata",
];

const DEPLOYMENT_PROPERTIES: &[&str] = &[
    "mode",
    "template",
    "templateLink",
    "parameters",
    "parametersLink",
    "expressionEvaluationOptions",
    "debugSetting",
    "onErrorDeployment",
    "validationLevel",
];
