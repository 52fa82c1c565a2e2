//! Templates that would take for ever, or all memory: each must end in a clear error, quickly.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::panic,
    reason = "tests may stop, and read better so"
)]

mod support;

use std::time::{Duration, Instant};

use bastide_template::{Limits, Stop, Template, TemplateError};
use serde_json::{Map, Value, json};
use support::{context, evaluate_with, resources, template, thing};

/// A tenth of a second in an optimised build; unoptimised ones on busy machines get more.
const PATIENCE: Duration = Duration::from_millis(if cfg!(debug_assertions) { 5000 } else { 100 });

/// The error of a bomb. The quickest of three runs counts: the machine may be busy with something else.
fn defused(what: &str, run: impl Fn() -> Result<Value, TemplateError>) -> String {
    let mut quickest = Duration::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        let error = run().expect_err(what);
        quickest = quickest.min(start.elapsed());
        if quickest < PATIENCE {
            return error.message;
        }
    }
    panic!("{what}: {quickest:?}");
}

fn planned(template: Value) -> Result<Value, TemplateError> {
    match support::try_plan(context(), template, &json!({}), &bastide_template::Nothing) {
        Ok(_) => Ok(Value::Null),
        Err(Stop::Invalid(error)) => Err(*error),
        Err(stop) => panic!("{stop}"),
    }
}

#[test]
fn a_loop_of_a_thousand_million_turns() {
    let bomb = resources(json!([thing("[copyIndex()]", json!({"copy": {"name": "c", "count": 1_000_000_000}}))]));
    assert!(defused("resources", || planned(bomb.clone())).contains("800 are allowed"));
    let bomb = template(json!({"variables": {"copy": [{"name": "v", "count": 1_000_000_000, "input": 1}]},
        "outputs": {"o": {"type": "array", "value": "[variables('v')]"}}}));
    assert!(defused("variables", || planned(bomb.clone())).contains("800 are allowed"));
}

#[test]
fn loops_in_loops() {
    let mut input = json!("[concat('x', copyIndex('l0'))]");
    for level in 0..6 {
        input = json!({"copy": [{"name": format!("l{level}"), "count": 800, "input": input}]});
    }
    let bomb = resources(json!([thing("a", json!({"properties": input}))]));
    assert!(defused("properties", || planned(bomb.clone())).contains("steps"));
}

#[test]
fn more_resources_than_allowed() {
    let many =
        |name: &str| thing(&format!("[concat('{name}', copyIndex())]"), json!({"copy": {"name": name, "count": 500}}));
    assert!(defused("resources", || planned(resources(json!([many("a"), many("b")])))).contains("800 are allowed"));
}

#[test]
fn an_expression_a_million_levels_deep() {
    for bomb in [
        format!("[{}1{}]", "not(".repeat(1_000_000), ")".repeat(1_000_000)),
        format!("[{}1{}]", "not(".repeat(10_000), ")".repeat(10_000)),
        format!("[null(){}]", ".a".repeat(60_000)),
        format!("[null(){}]", "[0]".repeat(40_000)),
    ] {
        defused("an expression", || evaluate_with(&bomb, json!({})));
    }
}

#[test]
fn a_document_a_million_levels_deep() {
    let start = Instant::now();
    Template::parse("[".repeat(1_000_000).as_bytes(), &Limits::default()).expect_err("too deep");
    let braces = format!("{{\"variables\":{}", "{\"a\":".repeat(1_000_000));
    Template::parse(braces.as_bytes(), &Limits::default()).expect_err("too deep");
    assert!(start.elapsed() < PATIENCE);
}

#[test]
fn variables_that_double() {
    let chain = |expression: &dyn Fn(usize) -> String| {
        let mut variables = Map::from_iter([("v0".to_owned(), json!("0123456789"))]);
        for level in 1..60 {
            variables.insert(format!("v{level}"), json!(expression(level - 1)));
        }
        json!({ "variables": variables })
    };
    for (what, expression) in [
        ("text", "[concat(variables('v{}'), variables('v{}'))]"),
        ("arrays", "[createArray(variables('v{}'), variables('v{}'))]"),
        ("objects", "[createObject('a', variables('v{}'), 'b', variables('v{}'))]"),
        ("equality", "[createArray(variables('v{}'), createArray(variables('v{}')))]"),
        ("unions", "[union(createArray(variables('v{}')), createArray(createArray(variables('v{}'))))]"),
    ] {
        let bomb = chain(&|level: usize| expression.replace("{}", &level.to_string()));
        let message = defused(what, || evaluate_with("[variables('v59')]", bomb.clone()));
        assert!(
            message.contains("bytes") || message.contains("deeper") || message.contains("steps"),
            "{what}: {message}"
        );
    }
}

#[test]
fn lambdas_that_grow() {
    for bomb in [
        "[reduce(range(0, 10000), createArray(), lambda('a', 'x', createArray(lambdaVariables('a'))))]",
        "[reduce(range(0, 10000), 'x', lambda('a', 'x', concat(lambdaVariables('a'), lambdaVariables('a'))))]",
        "[map(range(0, 10000), lambda('x', map(range(0, 10000), lambda('y', 1))))]",
        "[sort(map(range(0, 10000), lambda('x', sub(0, lambdaVariables('x')))), lambda('a', 'b', contains(range(0, 10000), add(lambdaVariables('a'), lambdaVariables('b')))))]",
        "[map(range(0, 10000), lambda('x', range(0, 10000)))]",
        "[map(range(0, 10000), lambda('x', string(range(0, 10000))))]",
        "[replace(padLeft('', 16000, 'a'), 'a', padLeft('', 16000, 'b'))]",
        "[join(map(range(0, 10000), lambda('x', padLeft('', 16000))), '')]",
        "[split(padLeft('', 16000, 'a'), createArray('a', 'b'))[99999]]",
        "[reduce(range(0, 10000), padLeft('', 16000, 'a'), lambda('a', 'x', toUpper(toLower(lambdaVariables('a')))))[0]]",
        "[format('{0,16000}{0,16000}{0,99999}', 'x')]",
        "[union(map(range(0, 10000), lambda('x', range(0, 100))), createArray(fail('reached')))]",
    ] {
        defused(bomb, || evaluate_with(bomb, json!({})));
    }
}

#[test]
fn a_deployment_that_nests_itself() {
    let nested = |name: &str| {
        json!({"type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": name, "properties": {
            "expressionEvaluationOptions": {"scope": "inner"}, "template": "[deployment().properties.template]"}})
    };
    let message = defused("one", || planned(resources(json!([nested("a")]))));
    assert!(message.contains("nested deeper than 16"), "{message}");
    defused("two", || planned(resources(json!([nested("a"), nested("b")]))));
    let deep = json!({"v0": "[length(resourceGroup().name)]"});
    let deep = (1..24).fold(deep, |mut deep, level| {
        deep[format!("v{level}")] = json!({"a": {"b": {"c": format!("[add(1, variables('v{}'){})]", level - 1, if level > 1 { ".a.b.c" } else { "" })}}});
        deep
    });
    let heavy = thing(
        "t",
        json!({"properties": {"x": "[variables('v23')]", "y": format!("[{}1{}]", "min(".repeat(90), ")".repeat(90))}}),
    );
    let message = defused("deep", || {
        planned(template(json!({"resources": [heavy.clone(), nested("a")], "variables": deep.clone()})))
    });
    assert!(message.contains("nested deeper than 16"), "{message}");
    let big = "x".repeat(100_000);
    defused("large", || planned(template(json!({"resources": [nested("a"), nested("b")], "variables": {"x": big}}))));
}

#[test]
fn dependencies_of_everything_on_everything() {
    let start = Instant::now();
    let all = |name: &str, on: &str| {
        thing(
            &format!("[concat('{name}', copyIndex())]"),
            json!({"copy": {"name": name, "count": 400}, "dependsOn": [on]}),
        )
    };
    planned(resources(json!([all("a", "none"), all("b", "a")]))).expect("that is allowed");
    assert!(start.elapsed() < PATIENCE * 3, "{:?}", start.elapsed());
}

#[test]
fn types_that_refer_to_each_other() {
    let bomb = template(json!({
        "definitions": {"a": {"$ref": "#/definitions/b"}, "b": {"$ref": "#/definitions/a"}},
        "parameters": {"p": {"$ref": "#/definitions/a", "defaultValue": 1}},
        "outputs": {"o": {"type": "int", "value": "[parameters('p')]"}},
    }));
    assert!(defused("types", || planned(bomb.clone())).contains("in a circle"));
}
