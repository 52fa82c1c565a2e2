//! What policies say about a request.

use serde_json::{Map, Value, json};

use super::assignment::Assignment;
use super::definition::Definition;
use super::effect::Effect;
use super::evaluation::EvaluatedExpression;
use super::initiative::Initiative;

/// A rule that was met, and by what.
#[derive(Debug, Clone)]
pub struct Finding<'a> {
    /// The assignment that puts the rule in force.
    pub assignment: &'a Assignment,
    /// The rule.
    pub definition: &'a Definition,
    /// The initiative it comes with, and its name in there.
    pub initiative: Option<(&'a Initiative, &'a str)>,
    /// The effect.
    pub effect: Effect,
    /// What the assignment tells people.
    pub message: Option<&'a str>,
    /// Why, where the condition alone does not say it: it could not be evaluated, or two policies are at odds.
    pub reason: Option<String>,
    /// The comparisons that were made.
    pub evaluated: Vec<EvaluatedExpression>,
}

/// What policies change of a request.
#[derive(Debug, Clone, Default)]
pub struct Adjustment<'a> {
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// Changes that cannot be made; the request is refused for them.
    pub refusals: Vec<Finding<'a>>,
}

/// One change of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What changes.
    pub target: Target,
    /// Its new value; none is that it goes.
    pub value: Option<Value>,
}

/// What a policy changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The tag of that name.
    Tag(String),
    /// The value at the end of a path from the resource: `["properties", "publicNetworkAccess"]`.
    Property(Vec<String>),
    /// A list at the end of a path, which is given one more element.
    List(Vec<String>),
}

/// What policies say about a resource as it would be.
#[derive(Debug, Clone, Default)]
pub struct Judgement<'a> {
    /// The rules that forbid it.
    pub denials: Vec<Finding<'a>>,
    /// The rules that put it on record.
    pub audits: Vec<Finding<'a>>,
}

impl Finding<'_> {
    /// The names of the policy and its assignment, as a refusal's sentence gives them.
    pub fn identifiers(&self) -> Value {
        let named =
            |id: &str, name: &Option<String>, last: &str| json!({"name": name.as_deref().unwrap_or(last), "id": id});
        let mut identifiers = Map::new();
        let assignment = self.assignment;
        let own = named(&assignment.id, &assignment.display_name, &assignment.name);
        identifiers.insert("policyAssignment".to_owned(), own);
        let definition = self.definition;
        let own = named(&definition.id, &definition.display_name, &definition.name);
        identifiers.insert("policyDefinition".to_owned(), own);
        if let Some((initiative, _)) = self.initiative {
            let own = named(&initiative.id, &initiative.display_name, &initiative.name);
            identifiers.insert("policySetDefinition".to_owned(), own);
        }
        Value::Object(identifiers)
    }

    /// The `info` of a `PolicyViolation`.
    pub fn violation(&self) -> Value {
        let mut info = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                info.insert(name.to_owned(), value);
            }
        };
        put("evaluationDetails", Some(self.evaluation_details()));
        put("policyDefinitionId", Some(json!(self.definition.id)));
        put("policySetDefinitionId", self.initiative.map(|(initiative, _)| json!(initiative.id)));
        put("policyDefinitionReferenceId", self.initiative.map(|(_, reference)| json!(reference)));
        put("policySetDefinitionName", self.initiative.map(|(initiative, _)| json!(initiative.name)));
        let display = self.initiative.and_then(|(initiative, _)| initiative.display_name.as_ref());
        put("policySetDefinitionDisplayName", display.map(|name| json!(name)));
        put("policySetDefinitionVersion", self.initiative.map(|(initiative, _)| json!(initiative.version)));
        put("policyDefinitionName", Some(json!(self.definition.name)));
        put("policyDefinitionDisplayName", self.definition.display_name.as_ref().map(|name| json!(name)));
        put("policyDefinitionVersion", Some(json!(self.definition.version)));
        put("policyDefinitionEffect", Some(json!(self.effect.name())));
        put("policyAssignmentId", Some(json!(self.assignment.id)));
        put("policyAssignmentName", Some(json!(self.assignment.name)));
        put("policyAssignmentDisplayName", self.assignment.display_name.as_ref().map(|name| json!(name)));
        put("policyAssignmentScope", Some(json!(self.assignment.scope)));
        put("policyAssignmentParameters", Some(self.assignment.parameters.clone()));
        put("policyExemptionIds", Some(json!([])));
        Value::Object(info)
    }

    /// The comparisons, and the reason where there is one beside them.
    pub fn evaluation_details(&self) -> Value {
        let evaluated: Vec<Value> = self.evaluated.iter().map(EvaluatedExpression::to_value).collect();
        let mut details = json!({"evaluatedExpressions": evaluated});
        if let (Some(fields), Some(reason)) = (details.as_object_mut(), &self.reason) {
            fields.insert("reason".to_owned(), json!(reason));
        }
        details
    }
}

impl EvaluatedExpression {
    fn to_value(&self) -> Value {
        json!({
            "result": if self.result { "True" } else { "False" },
            "expressionKind": self.kind,
            "expression": self.expression,
            "path": self.expression,
            "expressionValue": self.value,
            "targetValue": self.target,
            "operator": capitalised(self.operator),
        })
    }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}
