//! A template as read: every expression parsed, every section in its place, nothing evaluated yet.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::data::Data;
use crate::declaration::Declaration;
use crate::error::TemplateError;
use crate::functions::unique_string;
use crate::limits::Limits;
use crate::parameter::Parameter;
use crate::relaxed;
use crate::tree::{Key, Loop, Place, Tree};

/// A template, read and checked for form. Cheap to share, evaluated only as part of a [`Plan`](crate::Plan).
#[derive(Debug)]
pub struct Template {
    pub(crate) source: Source,
    pub(crate) place: String,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) variables: HashMap<String, Tree>,
    pub(crate) functions: HashMap<String, UserFunction>,
    /// The `definitions` that `$ref` points into; null when there are none.
    pub(crate) definitions: Data,
    pub(crate) resources: Vec<Declaration>,
    pub(crate) outputs: Vec<OutputDeclaration>,
}

/// A function a template defines for itself: it sees its arguments and nothing else.
#[derive(Debug)]
pub(crate) struct UserFunction {
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) value: Tree,
}

#[derive(Debug)]
pub(crate) struct OutputDeclaration {
    pub(crate) place: String,
    pub(crate) name: String,
    /// The declared type with its constraints, as a parameter has it.
    pub(crate) schema: Data,
    pub(crate) condition: Option<Tree>,
    pub(crate) value: Tree,
}

/// The document a template stands in and where: nested templates share the document of the outermost.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    document: Arc<Value>,
    pointer: String,
}

impl Source {
    pub(crate) fn of(document: Value) -> Self {
        Self { document: Arc::new(document), pointer: String::new() }
    }

    pub(crate) fn value(&self) -> &Value {
        self.document.pointer(&self.pointer).unwrap_or(&Value::Null)
    }

    pub(crate) fn below(&self, names: &[&str]) -> Self {
        let mut pointer = self.pointer.clone();
        for name in names {
            pointer.push('/');
            pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        }
        Self { document: self.document.clone(), pointer }
    }
}

impl Template {
    /// Reads the text of a template, relaxed JSON as [`relaxed::parse`] takes it.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Arc<Self>, TemplateError> {
        Self::read(relaxed::parse(bytes, limits)?, limits)
    }

    /// Reads a template that is a JSON value already.
    pub fn read(document: Value, limits: &Limits) -> Result<Arc<Self>, TemplateError> {
        Self::from_source(Source::of(document), "$", 0, limits)
    }

    pub(crate) fn from_source(
        source: Source,
        path: &str,
        nesting: u32,
        limits: &Limits,
    ) -> Result<Arc<Self>, TemplateError> {
        let place = Place::start(path);
        if nesting > limits.nested_deployments {
            let message = format!("Deployments are nested deeper than {} levels.", limits.nested_deployments);
            return Err(TemplateError::too_large(path, message));
        }
        let Some(members) = source.value().as_object() else {
            return Err(place.invalid("A template must be a JSON object."));
        };
        check_sections(members, &place)?;
        let section = |name: &str| find(members, name).filter(|value| !value.is_null());
        let symbolic = section("resources").is_some_and(Value::is_object);
        // Versions such as 1.10-experimental have symbolic names too.
        if symbolic && section("languageVersion").and_then(Value::as_str).is_none_or(|version| version == "1.0") {
            return Err(place
                .member("resources")
                .invalid("Resources by symbolic name need \"languageVersion\": \"2.0\" at the top of the template."));
        }
        let definitions = section("definitions").map_or(Data::Null, Data::from);
        Ok(Arc::new(Self {
            place: path.to_owned(),
            parameters: parameters(section("parameters"), &place, limits)?,
            variables: variables(section("variables"), &place, limits)?,
            functions: functions(section("functions"), &place, limits)?,
            definitions,
            resources: Declaration::list(section("resources"), &source, &place.member("resources"), nesting, limits)?,
            outputs: outputs(section("outputs"), &place, limits)?,
            source,
        }))
    }

    /// The stable decimal hash of the template that a deployment answers as `templateHash`.
    pub fn hash(&self) -> String {
        unique_string::hash(self.source.value().to_string().to_uppercase().as_bytes()).to_string()
    }

    /// The template as it was given.
    pub fn source(&self) -> &Value {
        self.source.value()
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.name.eq_ignore_ascii_case(name))
    }
}

/// A member by its name, ignoring ASCII case when there is no exact one.
pub(crate) fn find<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    members.get(name).or_else(|| members.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, v)| v))
}

fn check_sections(members: &Map<String, Value>, place: &Place<'_>) -> Result<(), TemplateError> {
    for (name, value) in members {
        let empty = match value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(items) => items.is_empty(),
            _ => false,
        };
        if UNSUPPORTED.iter().any(|other| other.eq_ignore_ascii_case(name)) && !empty {
            return Err(place.member(name).invalid(format!(
                "Templates with '{name}' are not supported: extensible resources and preview sections cannot be deployed here."
            )));
        }
        if !SECTIONS.iter().chain(UNSUPPORTED).any(|other| other.eq_ignore_ascii_case(name)) {
            return Err(place
                .member(name)
                .invalid(format!("'{name}' is not a section of a template; a template has {}.", SECTIONS.join(", "))));
        }
    }
    Ok(())
}

fn section_members<'a>(
    section: Option<&'a Value>,
    place: &Place<'_>,
    limits: &Limits,
) -> Result<Vec<(&'a String, &'a Value)>, TemplateError> {
    match section {
        None => Ok(Vec::new()),
        Some(Value::Object(members)) if members.len() > limits.members => Err(TemplateError::too_large(
            place.path(),
            format!("{} members are declared here; {} are allowed.", members.len(), limits.members),
        )),
        Some(Value::Object(members)) => Ok(members.iter().collect()),
        Some(_) => Err(place.invalid("An object was expected here.")),
    }
}

fn parameters(section: Option<&Value>, place: &Place<'_>, limits: &Limits) -> Result<Vec<Parameter>, TemplateError> {
    let place = place.member("parameters");
    let mut parameters: Vec<Parameter> = Vec::new();
    let mut names = std::collections::HashSet::new();
    for (name, value) in section_members(section, &place, limits)? {
        let below = place.member(name);
        if !names.insert(name.to_ascii_lowercase()) {
            return Err(below.invalid(format!("The parameter '{name}' is declared twice; names ignore case.")));
        }
        parameters.push(Parameter::read(name, value, &below, limits)?);
    }
    Ok(parameters)
}

fn variables(
    section: Option<&Value>,
    place: &Place<'_>,
    limits: &Limits,
) -> Result<HashMap<String, Tree>, TemplateError> {
    let place = place.member("variables");
    let mut variables = HashMap::new();
    let mut declare = |name: &str, tree: Tree| match variables.insert(name.to_ascii_lowercase(), tree) {
        None => Ok(()),
        Some(_) => {
            Err(place.member(name).invalid(format!("The variable '{name}' is declared twice; names ignore case.")))
        }
    };
    let members = section_members(section, &place, limits)?;
    for (name, value) in members {
        let single = Map::from_iter([(name.clone(), value.clone())]);
        // Read as an object of one member, so that `copy` makes the variables it names.
        match Tree::members(&single, &place, limits)? {
            Tree::Object(entries) => {
                for (key, tree) in entries {
                    match key {
                        Key::Plain(name) => declare(&name, tree)?,
                        Key::Expression(_) => {
                            return Err(place.member(name).invalid("The name of a variable cannot be an expression."));
                        }
                    }
                }
            }
            Tree::Literal(data) => {
                for (name, value) in data.as_object().map_or(&[][..], |object| &object.entries[..]) {
                    declare(name, Tree::Literal(value.clone()))?;
                }
            }
            _ => {}
        }
    }
    Ok(variables)
}

fn functions(
    section: Option<&Value>,
    place: &Place<'_>,
    limits: &Limits,
) -> Result<HashMap<String, UserFunction>, TemplateError> {
    let place = place.member("functions");
    let mut functions = HashMap::new();
    let namespaces = match section {
        None => return Ok(functions),
        Some(Value::Array(namespaces)) => namespaces,
        Some(_) => return Err(place.invalid("'functions' must be an array of namespaces.")),
    };
    for (index, item) in namespaces.iter().enumerate() {
        let place = place.item(index);
        let Some(namespace) = item.get("namespace").and_then(Value::as_str) else {
            return Err(place.invalid("A namespace of functions needs a 'namespace' name."));
        };
        let members_place = place.member("members");
        for (name, value) in section_members(item.get("members"), &members_place, limits)? {
            let function = UserFunction::read(value, &members_place.member(name), limits)?;
            let full = format!("{namespace}.{name}").to_ascii_lowercase();
            if functions.insert(full, function).is_some() {
                return Err(members_place.member(name).invalid(format!("'{namespace}.{name}' is defined twice.")));
            }
        }
    }
    Ok(functions)
}

impl UserFunction {
    fn read(value: &Value, place: &Place<'_>, limits: &Limits) -> Result<Self, TemplateError> {
        let mut parameters = Vec::new();
        if let Some(declared) = value.get("parameters").and_then(Value::as_array) {
            let list = place.member("parameters");
            for (index, parameter) in declared.iter().enumerate() {
                let below = list.item(index);
                let Some(name) = parameter.get("name").and_then(Value::as_str) else {
                    return Err(below.invalid("The parameter of a function needs a 'name'."));
                };
                parameters.push(Parameter::read(name, parameter, &below, limits)?);
            }
        }
        let output = place.member("output");
        let Some(value) = value.get("output").and_then(|output| output.get("value")) else {
            return Err(output.invalid("A function needs an 'output' with a 'value'."));
        };
        Ok(Self { parameters, value: Tree::read(value, &output.member("value"), limits)? })
    }
}

fn outputs(
    section: Option<&Value>,
    place: &Place<'_>,
    limits: &Limits,
) -> Result<Vec<OutputDeclaration>, TemplateError> {
    let place = place.member("outputs");
    let mut outputs = Vec::new();
    for (name, value) in section_members(section, &place, limits)? {
        let below = place.member(name);
        let Some(members) = value.as_object() else {
            return Err(below.invalid(format!("The output '{name}' must be an object with 'type' and 'value'.")));
        };
        let tree = match (find(members, "value"), find(members, "copy")) {
            (Some(value), None) => Tree::read(value, &below.member("value"), limits)?,
            (None, Some(copy)) => Tree::Loop(Box::new(Loop::read(copy, Some(name), &below.member("copy"), limits)?)),
            _ => return Err(below.invalid(format!("The output '{name}' needs either a 'value' or a 'copy'."))),
        };
        let condition = match find(members, "condition") {
            Some(condition) => Some(Tree::read(condition, &below.member("condition"), limits)?),
            None => None,
        };
        let schema = members
            .iter()
            .filter(|(member, _)| !matches!(member.as_str(), "value" | "copy" | "condition" | "metadata"))
            .map(|(member, value)| (Arc::from(member.as_str()), Data::from(value)));
        outputs.push(OutputDeclaration {
            place: below.path(),
            name: name.clone(),
            schema: Data::object(schema.collect()),
            condition,
            value: tree,
        });
    }
    Ok(outputs)
}

const SECTIONS: &[&str] = &[
    "$schema",
    "contentVersion",
    "apiProfile",
    "languageVersion",
    "metadata",
    "definitions",
    "functions",
    "parameters",
    "variables",
    "resources",
    "outputs",
];

/// Sections that change what gets deployed and that this engine does not know: never skipped in silence.
const UNSUPPORTED: &[&str] = &["imports", "extensions", "asserts", "rules", "resourceDefinitions"];
