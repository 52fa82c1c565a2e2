//! Expressions outside of templates: what the rules of policies are written with.
//!
//! A [`Formula`] is a JSON value that may have expressions anywhere in it. It knows the functions of templates but those
//! that deploy or look something up; what is special to policies (`field`, `current`, `parameters`, `resourceGroup`, ...)
//! it asks of its [`Host`]. An object's member that is not there is null here, as policies rely on it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::context::{Context, Deployment, Mode};
use crate::data::Data;
use crate::error::{Stop, TemplateError};
use crate::evaluator::Evaluator;
use crate::expression::{Kind, Term};
use crate::frame::Frame;
use crate::limits::{Budget, Limits};
use crate::live::Nothing;
use crate::parser::{self, Meaning, Vocabulary};
use crate::template::{Source, Template};
use crate::tree::{Key, Place, Tree};

/// A value whose expressions have been parsed.
#[derive(Debug, Clone)]
pub struct Formula(Tree);

/// Answers what a formula asks about its surroundings.
pub trait Host {
    /// The value of one of [`HOST_FUNCTIONS`], or a sentence that says why there is none.
    fn call(&self, function: &str, arguments: &[Value]) -> Result<Value, String>;
}

/// The functions a [`Host`] is asked for, in their spelling.
pub const HOST_FUNCTIONS: [&str; 8] =
    ["current", "field", "parameters", "policy", "requestContext", "resourceGroup", "subscription", "utcNow"];

impl Formula {
    /// Reads a value. `place` names it in errors, `$.policyRule.if.equals` for instance.
    pub fn read(value: &Value, place: &str) -> Result<Self, TemplateError> {
        tree(value, &Place::start(place)).map(Self)
    }

    /// The value itself, when it has no expression in it.
    pub fn literal(&self) -> Option<Value> {
        match &self.0 {
            Tree::Literal(data) => Some(data.to_value()),
            _ => None,
        }
    }

    /// The names that `parameters('...')` is called with where they are written out.
    pub fn parameters(&self) -> Vec<String> {
        let mut names = Vec::new();
        self.calls(&mut |name, arguments| {
            if let ("parameters", [Term { kind: Kind::Text(parameter), .. }]) = (name, arguments) {
                names.push(parameter.to_string());
            }
        });
        names
    }

    /// The texts that a function is called with as its first argument where they are written out.
    pub fn arguments_of(&self, function: &str) -> Vec<String> {
        let mut texts = Vec::new();
        self.calls(&mut |name, arguments| {
            if let (true, Some(Term { kind: Kind::Text(text), .. })) = (name == function, arguments.first()) {
                texts.push(text.to_string());
            }
        });
        texts
    }

    /// The value with every expression evaluated.
    pub fn evaluate(&self, host: &dyn Host) -> Result<Value, TemplateError> {
        if let Tree::Literal(data) = &self.0 {
            return Ok(data.to_value());
        }
        let symbols = crate::symbols::Symbols::default();
        let mut budget = Budget::new(LIMITS);
        let mut evaluator = Evaluator::new(&FRAME, &symbols, &Nothing, &mut budget);
        evaluator.host = Some(host);
        match evaluator.value(&self.0) {
            Ok(data) => Ok(data.to_value()),
            Err(Stop::Invalid(error)) => Err(*error),
            // None of the functions that look something up is in the vocabulary.
            Err(Stop::Missing(_)) => Err(TemplateError::invalid("$", "A policy cannot look up other resources.")),
        }
    }

    fn calls(&self, visit: &mut dyn FnMut(&str, &[Term])) {
        calls_in_tree(&self.0, visit);
    }
}

fn tree(value: &Value, place: &Place<'_>) -> Result<Tree, TemplateError> {
    if place.depth() > LIMITS.json_depth {
        let message = format!("The value is nested deeper than {} levels.", LIMITS.json_depth);
        return Err(TemplateError::too_large(place.path(), message));
    }
    match value {
        Value::String(text) => expression(text, &place.path()),
        Value::Array(items) => {
            let trees: Result<Vec<_>, _> =
                items.iter().enumerate().map(|(index, item)| tree(item, &place.item(index))).collect();
            let trees = trees?;
            if trees.iter().all(|tree| matches!(tree, Tree::Literal(_))) {
                return Ok(Tree::Literal(Data::from(&unescaped(value))));
            }
            Ok(Tree::Array(trees))
        }
        Value::Object(members) => {
            let mut entries = Vec::with_capacity(members.len());
            for (name, member) in members {
                entries.push((Key::Plain(name.as_str().into()), tree(member, &place.member(name))?));
            }
            if entries.iter().all(|(_, tree)| matches!(tree, Tree::Literal(_))) {
                return Ok(Tree::Literal(Data::from(&unescaped(value))));
            }
            Ok(Tree::Object(entries))
        }
        scalar => Ok(Tree::Literal(Data::from(scalar))),
    }
}

fn expression(text: &str, place: &str) -> Result<Tree, TemplateError> {
    Ok(match parser::read_in(Vocabulary::Policy, text, place, &LIMITS)? {
        Meaning::Literal(text) => Tree::Literal(Data::Text(text)),
        Meaning::Expression(expression) => Tree::Expression(Arc::new(expression)),
    })
}

/// A value without expressions, its `[[` escapes undone.
fn unescaped(value: &Value) -> Value {
    match value {
        Value::String(text) if text.starts_with("[[") && text.ends_with(']') => {
            Value::from(text.get(1..).unwrap_or_default())
        }
        Value::Array(items) => items.iter().map(unescaped).collect(),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(name, value)| (name.clone(), unescaped(value))).collect())
        }
        other => other.clone(),
    }
}

fn calls_in_tree(tree: &Tree, visit: &mut dyn FnMut(&str, &[Term])) {
    match tree {
        Tree::Literal(_) | Tree::Loop(_) => {}
        Tree::Expression(expression) => calls_in_term(&expression.root, visit),
        Tree::Array(items) => items.iter().for_each(|item| calls_in_tree(item, visit)),
        Tree::Object(entries) => entries.iter().for_each(|(_, value)| calls_in_tree(value, visit)),
    }
}

fn calls_in_term(term: &Term, visit: &mut dyn FnMut(&str, &[Term])) {
    match &term.kind {
        Kind::Text(_) | Kind::Int(_) => {}
        Kind::Call(call) => {
            visit(call.function.name, &call.arguments);
            call.arguments.iter().for_each(|argument| calls_in_term(argument, visit));
        }
        Kind::UserCall { arguments, .. } => arguments.iter().for_each(|argument| calls_in_term(argument, visit)),
        Kind::Property { of, .. } => calls_in_term(of, visit),
        Kind::Index { of, index, .. } => {
            calls_in_term(of, visit);
            calls_in_term(index, visit);
        }
    }
}

/// The scope of every formula: nothing is deployed, so there is nothing in it.
static FRAME: LazyLock<Frame> = LazyLock::new(|| {
    let template = Template {
        source: Source::of(Value::Null),
        place: "$".to_owned(),
        parameters: Vec::new(),
        variables: HashMap::new(),
        functions: HashMap::new(),
        definitions: Data::Null,
        resources: Vec::new(),
        outputs: Vec::new(),
    };
    let deployment = Deployment { name: String::new(), location: None, mode: Mode::Incremental, template_uri: None };
    let context = Context {
        tenant_id: String::new(),
        subscription: None,
        group: None,
        management_group: None,
        deployment,
        deployer: json!({}),
        environment: json!({}),
        providers: Map::new(),
        roles: BTreeMap::new(),
        now: Timestamp::UNIX_EPOCH,
        seed: Uuid::nil(),
    };
    Frame::new(Arc::new(template), context, HashMap::new(), LIMITS)
});

/// One formula is a line or two; it is evaluated with every write.
const LIMITS: Limits = Limits {
    json_depth: 24,
    expression_bytes: 16 * 1024,
    expression_depth: 40,
    evaluation_depth: 80,
    steps: 50_000,
    total_bytes: 4 * 1024 * 1024,
    value_bytes: 1024 * 1024,
    resources: 0,
    total_resources: 0,
    iterations: 0,
    nested_deployments: 0,
    members: 0,
};

#[cfg(test)]
mod tests {
    use super::*;

    struct Hub;

    impl Host for Hub {
        fn call(&self, function: &str, arguments: &[Value]) -> Result<Value, String> {
            match (function, arguments) {
                ("parameters", [Value::String(name)]) if name == "tagName" => Ok("environment".into()),
                ("field", [Value::String(name)]) if name == "name" => Ok("hub1".into()),
                ("resourceGroup", []) => Ok(json!({"location": "westeurope", "tags": {"environment": "dev"}})),
                ("utcNow", []) => Ok("2026-11-22T10:00:00Z".into()),
                _ => Err("nobody knows.".to_owned()),
            }
        }
    }

    fn evaluate(value: Value) -> Result<Value, String> {
        let formula = Formula::read(&value, "$").map_err(|error| error.message)?;
        formula.evaluate(&Hub).map_err(|error| error.message)
    }

    #[test]
    fn a_formula_computes_with_what_its_host_says() {
        for (text, value) in [
            ("[concat('tags[', parameters('tagName'), ']')]", json!("tags[environment]")),
            ("[resourceGroup().tags[parameters('tagName')]]", json!("dev")),
            ("[resourceGroup().tags['nothing']]", Value::Null),
            ("[if(equals(toLower(field('name')), 'hub1'), 1, 2)]", json!(1)),
            ("[addDays('2026-11-22T10:00:00Z', -2)]", json!("2026-11-20T10:00:00.0000000Z")),
            ("[ipRangeContains('10.0.0.0/8', '10.1.2.0/24')]", json!(true)),
            ("[ipRangeContains('10.0.0.0/8', '11.1.2.3')]", json!(false)),
            ("[ipRangeContains('10.0.0.1-10.0.0.9', '10.0.0.4')]", json!(true)),
            ("[[not an expression]", json!("[not an expression]")),
            ("plain", json!("plain")),
        ] {
            assert_eq!(evaluate(json!(text)), Ok(value), "{text}");
        }
        assert_eq!(evaluate(json!(["[field('name')]", {"a": "[[b]"}])), Ok(json!(["hub1", {"a": "[b]"}])));
    }

    #[test]
    fn what_deploys_or_looks_up_is_no_function_of_a_policy() {
        for text in
            ["[reference('x')]", "[listKeys('x', '1')]", "[newGuid()]", "[variables('x')]", "[resourceId('a/b', 'c')]"]
        {
            let refused = Formula::read(&json!(text), "$").map(drop).unwrap_err();
            assert!(refused.message.contains("cannot be used in a policy"), "{text}: {}", refused.message);
        }
        assert!(evaluate(json!("[field('secret')]")).unwrap_err().contains("nobody knows"));
    }

    #[test]
    fn a_template_has_none_of_a_policys_functions() {
        let refused = parser::read("[field('x')]", "$", &Limits::default()).map(drop).unwrap_err();
        assert!(refused.message.contains("not a template function"), "{}", refused.message);
    }

    #[test]
    fn a_formula_says_which_parameters_it_reads() {
        let formula = Formula::read(&json!({"a": "[concat(parameters('x'), field('y'))]"}), "$").unwrap();
        assert_eq!((formula.parameters(), formula.arguments_of("field")), (vec!["x".to_owned()], vec!["y".to_owned()]));
    }
}
