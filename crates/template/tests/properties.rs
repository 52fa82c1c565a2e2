//! What holds for every template.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::panic,
    reason = "tests may stop, and read better so"
)]

mod support;

use bastide_template::{Facts, Limits, Nothing, Plan, Template, relaxed};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{body, context, evaluate, plan, resources, template, thing, try_plan};

/// Expressions that can be evaluated, and some that cannot.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[a-z]{0,6}".prop_map(|text| format!("'{text}'")),
        (-100i64..100).prop_map(|number| number.to_string()),
        Just("null()".to_owned()),
        Just("true()".to_owned()),
        Just("resourceGroup().name".to_owned()),
        Just("fail('reached')".to_owned()),
    ];
    leaf.prop_recursive(4, 30, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("createArray({a}, {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("concat({a}, {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("equals({a}, {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("createObject('k', {a}, 'l', {b})")),
            inner.clone().prop_map(|a| format!("{a}.k")),
            inner.prop_map(|a| format!("string({a})")),
        ]
    })
}

/// Paths to every value of a document.
fn pointers(value: &Value, above: &str, found: &mut Vec<String>) {
    found.push(above.to_owned());
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| pointers(item, &format!("{above}/{at}"), found));
        }
        Value::Object(members) => members.iter().for_each(|(name, member)| {
            let name = name.replace('~', "~0").replace('/', "~1");
            pointers(member, &format!("{above}/{name}"), found);
        }),
        _ => {}
    }
}

/// Values that are wrong almost everywhere, in many ways.
fn odd_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "\\PC{0,12}".prop_map(Value::from),
        expression().prop_map(|text| json!(format!("[{text}]"))),
        Just(json!([])),
        Just(json!({})),
        Just(json!("[deployment().properties.template]")),
        Just(json!("[reference('hub')]")),
        Just(json!([{"name": "x", "count": 3, "input": "[copyIndex('x')]"}])),
        Just(json!({"name": "x", "count": 2})),
        Just(json!({"$ref": "#/definitions/connectionType"})),
    ]
}

fn fixture(name: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let text = std::fs::read(path).expect("a fixture");
    relaxed::parse(&text, &Limits::default()).expect("relaxed JSON")
}

#[test]
fn plans_go_from_thread_to_thread() {
    fn free<T: Send + Sync>() {}
    free::<Plan>();
    free::<Facts>();
    free::<Template>();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_if_is_its_chosen_branch_whatever_the_other_is(chosen in expression(), other in expression()) {
        let alone = evaluate(&format!("[{chosen}]")).map_err(|error| error.message);
        let first = evaluate(&format!("[if(true(), {chosen}, {other})]")).map_err(|error| error.message);
        let second = evaluate(&format!("[if(false(), {other}, {chosen})]")).map_err(|error| error.message);
        prop_assert_eq!(&alone, &first);
        prop_assert_eq!(&alone, &second);
    }

    #[test]
    fn no_expression_reaches_a_body(expressions in prop::collection::vec(expression(), 1..4)) {
        let properties: serde_json::Map<_, _> =
            expressions.iter().enumerate().map(|(at, text)| (format!("p{at}"), json!(format!("[{text}]")))).collect();
        if let Ok(plan) = plan(resources(json!([thing("a", json!({ "properties": properties }))]))) {
            let text = body(&plan.nodes()[0]).to_string();
            prop_assert!(!text.contains("createArray(") && !text.contains("resourceGroup("), "{text}");
        }
    }

    #[test]
    fn text_that_is_no_expression_stays_as_it_is(text in "\\PC{0,30}") {
        prop_assume!(!text.starts_with('['));
        let planned = plan(resources(json!([thing("a", json!({"properties": {"x": text}}))]))).expect("a plan");
        prop_assert_eq!(&body(&planned.nodes()[0])["properties"]["x"], &json!(text));
    }

    #[test]
    fn an_order_respects_every_edge_and_no_circle_is_accepted(
        count in 1usize..12,
        edges in prop::collection::vec((0usize..12, 0usize..12, any::<bool>()), 0..24),
    ) {
        let edges: Vec<_> = edges.into_iter().map(|(from, to, live)| (from % count, to % count, live)).collect();
        let made: Vec<Value> = (0..count)
            .map(|at| {
                let of = |live: bool| edges.iter().filter(move |(from, to, own)| *from == at && *to != at && *own == live);
                let named: Vec<_> = of(false).map(|(_, to, _)| format!("n{to}")).collect();
                let live: Vec<_> = of(true).map(|(_, to, _)| format!("[reference('n{to}').x]")).collect();
                thing(&format!("n{at}"), json!({"dependsOn": named, "properties": {"live": live}}))
            })
            .collect();
        match plan(template(json!({ "resources": made }))) {
            Ok(plan) => {
                let place = |node: usize| plan.order().iter().position(|other| *other == node);
                for (from, to, _) in edges.iter().filter(|(from, to, _)| from != to) {
                    prop_assert!(place(*to) < place(*from));
                    prop_assert!(plan.nodes()[*from].depends_on.contains(to));
                }
            }
            Err(error) => {
                prop_assert!(error.message.starts_with("Circular dependency"), "{}", error.message);
                let reaches = |from: usize| {
                    let mut seen = vec![from];
                    let mut next = 0;
                    while next < seen.len() {
                        let at = seen[next];
                        for (_, to, _) in edges.iter().filter(|(from, to, _)| *from == at && to != from) {
                            if *to == from {
                                return true;
                            }
                            if !seen.contains(to) {
                                seen.push(*to);
                            }
                        }
                        next += 1;
                    }
                    false
                };
                prop_assert!((0..count).any(reaches), "there is no circle");
            }
        }
    }

    #[test]
    fn a_damaged_template_ends_in_a_plan_or_an_error(
        which in prop::sample::select(vec!["classic.json", "symbolic.json"]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), odd_value()), 1..4),
    ) {
        let mut template = fixture(which);
        for (place, value) in damage {
            let mut found = Vec::new();
            pointers(&template, "", &mut found);
            let path: &String = place.get(&found);
            let target = template.pointer_mut(path).expect("the path was just found");
            *target = value;
        }
        let parameters = match which {
            "symbolic.json" => json!({"hubName": {"value": "hub"}}),
            _ => json!({}),
        };
        if let Ok(plan) = try_plan(context(), template, &parameters, &Nothing) {
            for node in plan.nodes() {
                let _ = node.body(&Nothing);
                let _ = node.expand(&Nothing);
            }
            let _ = (plan.outputs(&Nothing), plan.parameters(), plan.providers(), plan.dependencies());
        }
    }

    #[test]
    fn any_text_in_brackets_ends_in_an_answer(text in "[a-z0-9'().,\\[\\]? ]{0,40}") {
        let _ = evaluate(&format!("[{text}]"));
    }
}
