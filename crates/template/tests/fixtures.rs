//! Whole templates, as people and compilers write them: their plans, and every body and output, as snapshots.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::panic,
    reason = "tests may stop, and read better so"
)]

mod support;

use std::path::Path;

use bastide_template::{Answer, Evaluated, Facts, Limits, Need, Node, Plan, Stop, relaxed};
use serde_json::{Value, json};
use support::plan_with;

fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    relaxed::parse(&std::fs::read(path).expect("a fixture"), &Limits::default()).expect("relaxed JSON")
}

/// A world in which every resource answers something that names it.
fn world(need: &Need) -> Answer {
    let value = match need {
        Need::Resource { id, .. } => json!({
            "id": id, "location": "northeurope", "identity": {"principalId": format!("principal of {id}")},
            "properties": {
                "primaryEndpoints": {"blob": format!("blob of {id}")}, "vaultUri": format!("uri of {id}"),
                "outputs": {"id": {"value": format!("output of {id}")}},
            },
        }),
        Need::List { id, function, .. } => json!({"keys": [{"value": format!("{function} of {id}")}]}),
        Need::Secret { .. } | Need::Document { .. } => panic!("no fixture wants {need:?}"),
    };
    Answer::Known { value, secret: false }
}

/// What a runner does: ask, look up what is missing, ask again.
fn asked<T>(ask: impl Fn(&Facts) -> Result<T, Stop>) -> T {
    let mut facts = Facts::default();
    loop {
        match ask(&facts) {
            Ok(value) => return value,
            Err(Stop::Missing(needs)) => {
                for need in needs.certain {
                    let answer = world(&need);
                    facts.insert(need, answer);
                }
            }
            Err(Stop::Invalid(error)) => panic!("{error}"),
        }
    }
}

/// Everything about a plan, in the order in which it would be deployed; secrets are blotted out.
fn shown(plan: &Plan) -> Value {
    let node = |node: &Node| {
        let body: Evaluated = asked(|facts| node.body(facts));
        let before: Vec<_> = node.depends_on.iter().map(|position| plan.nodes()[*position].name.clone()).collect();
        let nested = asked(|facts| node.expand(facts));
        json!({"id": node.id, "type": node.type_name, "kind": format!("{:?}", node.kind), "after": before,
            "body": body.redacted(), "nested": nested.as_ref().map(shown)})
    };
    let nodes: Vec<_> = plan.order().iter().map(|position| node(&plan.nodes()[*position])).collect();
    let outputs = asked(|facts| plan.outputs(facts));
    let outputs: Value = outputs.iter().map(|output| (output.name.clone(), output.shown())).collect();
    json!({"nodes": nodes, "outputs": outputs, "skipped": plan.skipped().len()})
}

#[test]
fn the_style_of_the_older_quickstarts() {
    let plan = plan_with(fixture("classic.json"), json!({"prefix": {"value": "demo"}})).expect("a plan");
    insta::assert_json_snapshot!(shown(&plan));
}

#[test]
fn the_style_of_compiled_modules() {
    let parameters = json!({
        "hubName": {"value": "My-Hub"},
        "tags": {"value": null},
        "connections": {"value": [
            {"name": "aoai", "target": "https://a", "category": "AzureOpenAI"},
            {"name": "search", "target": "https://s", "category": "CognitiveSearch", "shared": false},
        ]},
    });
    let plan = plan_with(fixture("symbolic.json"), parameters).expect("a plan");
    insta::assert_json_snapshot!(shown(&plan));
}
