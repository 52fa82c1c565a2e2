//! Templates: whatever is read ends in a plan or an error in bounded time, a plan comes out the same every time, and
//! no expression reaches a body as text.

use std::collections::HashSet;

use bastide_template::{
    Answer, Evaluated, Facts, Limits, Node, NodeKind, Nothing, Plan, Request, Stop, Template, TemplateError, relaxed,
};
use serde_json::{Value, json};

#[path = "context.rs"]
mod context;

use context::context;

/// Reads the input as a template, plans it and computes every body.
pub fn check(data: &[u8]) {
    let document = match relaxed::parse(data, &LIMITS) {
        Ok(document) => document,
        Err(error) => return check_error(&error),
    };
    let texts = Texts::of(&document);
    match (plan(&document), plan(&document)) {
        (Ok(one), Ok(other)) => check_plans(&one, &other, &texts),
        (Err(one), Err(other)) => {
            assert_eq!(one, other);
            check_stop(&one);
        }
        (one, other) => panic!("planned once only: {:?}, {:?}", one.err(), other.err()),
    }
}

fn plan(document: &Value) -> Result<Plan, Stop> {
    let template = Template::read(document.clone(), &LIMITS)?;
    Plan::new(Request { template, parameters: &json!({}), context: context(), live: &Nothing, limits: LIMITS })
}

/// Both were made of the same template.
fn check_plans(one: &Plan, other: &Plan, texts: &Texts) {
    assert_eq!(one.order(), other.order());
    assert_eq!(one.skipped(), other.skipped());
    assert_eq!(one.nodes().len(), other.nodes().len());
    assert!(one.nodes().len() <= LIMITS.resources);
    for (node, again) in one.nodes().iter().zip(other.nodes()) {
        assert_eq!((&node.id, &node.place, node.kind), (&again.id, &again.place, again.kind));
        assert_eq!(node.depends_on, again.depends_on);
        let body = body(node);
        assert_eq!(body, self::body(again));
        match body {
            Ok(body) if node.kind == NodeKind::Resource => texts.check_absent(&body.value),
            Ok(_) => {}
            Err(stop) => check_stop(&stop),
        }
        match (node.nested(), again.nested()) {
            (Some(one), Some(other)) => check_plans(one, other, texts),
            (one, other) => assert!(one.is_none() && other.is_none(), "nested once only"),
        }
    }
    assert_eq!(one.outputs(&Nothing).err(), other.outputs(&Nothing).err());
}

/// The body without live state, and then with as much of it as is asked for.
fn body(node: &Node) -> Result<Evaluated, Stop> {
    let mut facts = Facts::default();
    let mut body = node.body(&Nothing);
    for _ in 0..ROUNDS {
        let Err(Stop::Missing(needs)) = body else { break };
        for need in needs.certain {
            let value = json!({"id": need.id(), "properties": {"a": "b"}, "keys": [{"value": "c"}]});
            facts.insert(need, Answer::Known { value, secret: false });
        }
        body = node.body(&facts);
    }
    body
}

fn check_stop(stop: &Stop) {
    if let Stop::Invalid(error) = stop {
        check_error(error);
    }
}

fn check_error(error: &TemplateError) {
    assert!(!error.message.is_empty(), "an error without a sentence at {}", error.place);
}

/// The calls that stand in a template, as they are written there.
struct Texts<'a> {
    calls: HashSet<&'a str>,
    /// Whether some expression may well compute the text of another: one that is escaped, one inside a text, or the
    /// template itself.
    are_values: bool,
}

impl<'a> Texts<'a> {
    fn of(document: &'a Value) -> Self {
        let mut texts = Self { calls: HashSet::new(), are_values: false };
        texts.gather(document);
        texts
    }

    fn gather(&mut self, value: &'a Value) {
        match value {
            Value::String(text) => self.gather_text(text),
            Value::Array(items) => items.iter().for_each(|item| self.gather(item)),
            Value::Object(members) => {
                for (name, member) in members {
                    self.gather_text(name);
                    self.gather(member);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn gather_text(&mut self, text: &'a str) {
        let Some(rest) = text.strip_prefix('[') else { return };
        let quoted = rest.split('\'').skip(1).step_by(2).any(|part| part.contains('['));
        self.are_values |= rest.starts_with('[') || quoted || rest.to_ascii_lowercase().contains("deployment");
        // A double quote is in no expression outside a text: such a one may be JSON that was computed.
        if rest.ends_with(']') && rest.contains('(') && !rest.contains('"') {
            self.calls.insert(text);
        }
    }

    fn check_absent(&self, body: &Value) {
        if self.are_values {
            return;
        }
        match body {
            Value::String(text) => assert!(!self.calls.contains(text.as_str()), "{text} is in a body"),
            Value::Array(items) => items.iter().for_each(|item| self.check_absent(item)),
            Value::Object(members) => {
                for (name, member) in members {
                    assert!(!self.calls.contains(name.as_str()), "{name} is in a body");
                    self.check_absent(member);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Small, so that inputs which reach them stay quick.
const LIMITS: Limits = Limits {
    json_depth: 40,
    expression_bytes: 4096,
    expression_depth: 40,
    evaluation_depth: 60,
    steps: 20_000,
    total_bytes: 1024 * 1024,
    value_bytes: 64 * 1024,
    resources: 40,
    total_resources: 100,
    iterations: 40,
    nested_deployments: 4,
    members: 64,
};

/// Live state may be wanted because of live state; this often is enough.
const ROUNDS: usize = 3;
