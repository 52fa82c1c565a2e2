//! Parameters: what a deployment may give, and what the template says about it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::panic,
    reason = "tests may stop, and read better so"
)]

mod support;

use bastide_template::{Answer, Facts, Need, Nothing, Stop, TemplateError};
use serde_json::{Value, json};
use support::{body, context, needs, plan_with, resources, template, thing, try_plan};

/// The value that a parameter declared so gets when it is given `given`.
fn bound_with(declaration: Value, given: Value, definitions: Value) -> Result<Value, TemplateError> {
    let template = template(json!({
        "languageVersion": "2.0", "resources": {}, "definitions": definitions,
        "parameters": {"p": declaration},
        "outputs": {"o": {"type": "object", "value": {"p": "[parameters('P')]"}}},
    }));
    let plan = plan_with(template, given)?;
    Ok(plan.outputs(&Nothing).expect("outputs")[0].value["p"].clone())
}

fn bound(declaration: Value, value: Value) -> Result<Value, TemplateError> {
    bound_with(declaration, json!({"p": {"value": value}}), json!({}))
}

#[test]
fn defaults_stand_in_for_what_is_absent_or_null() {
    let declaration = json!({"type": "string", "defaultValue": "[concat('d', 1)]", "allowedValues": ["d1", "x"]});
    assert_eq!(bound(declaration.clone(), Value::Null), Ok(json!("d1")));
    assert_eq!(bound_with(declaration.clone(), json!({}), json!({})), Ok(json!("d1")));
    assert_eq!(bound(declaration, json!("x")), Ok(json!("x")));
    assert_eq!(bound(json!({"type": "string", "nullable": true}), Value::Null), Ok(Value::Null));
    let error = bound_with(json!({"type": "string"}), json!({}), json!({})).expect_err("required");
    assert_eq!(error.place, "$.parameters.p");
    assert!(error.message.contains("'p' is not provided"), "{}", error.message);
    bound(json!({"type": "string"}), Value::Null).expect_err("null is no string");
}

#[test]
fn only_declared_parameters_are_given_once() {
    let error = plan_with(template(json!({})), json!({"q": {"value": 1}})).expect_err("not declared");
    assert!(error.message.contains("declares no parameter 'q'"), "{}", error.message);
    let twice = template(json!({"parameters": {"q": {"type": "int"}}}));
    let error = plan_with(twice, json!({"q": {"value": 1}, "Q": {"value": 2}})).expect_err("given twice");
    assert!(error.message.contains("given twice"), "{}", error.message);
    let error = plan_with(template(json!({"parameters": {"q": {"type": "int"}}})), json!({"q": 1})).expect_err("bare");
    assert!(error.message.contains("needs an object with a 'value'"), "{}", error.message);
    let error = plan_with(template(json!({"parameters": {"q": {"type": "int"}, "Q": {"type": "int"}}})), json!({}));
    assert!(error.expect_err("declared twice").message.contains("declared twice"));
}

#[test]
fn types_are_checked_whatever_their_case() {
    for (kind, good, bad) in [
        ("String", json!("x"), json!(1)),
        ("Int", json!(1), json!("1")),
        ("Bool", json!(true), json!("true")),
        ("ARRAY", json!([1]), json!({})),
        ("object", json!({"a": 1}), json!([])),
        ("secureString", json!("x"), json!(7)),
    ] {
        assert_eq!(bound(json!({"type": kind}), good.clone()), Ok(good), "{kind}");
        let error = bound(json!({"type": kind}), bad).expect_err(kind);
        assert!(error.message.contains("parameter 'p' is not valid"), "{}", error.message);
    }
    let error = bound(json!({"type": "text"}), json!("x")).expect_err("no such type");
    assert!(error.message.contains("'text' is not a type"), "{}", error.message);
}

#[test]
fn allowed_values_also_go_by_the_name_of_an_enum() {
    let declaration = json!({"type": "string", "allowedValues": ["Enabled", "AllowInternetOutbound"]});
    for (given, expected) in [
        ("Enabled", "Enabled"),
        ("enabled", "Enabled"),
        ("PublicNetworkAccessType.ENABLED", "Enabled"),
        ("IsolationMode.ALLOW_INTERNET_OUTBOUND", "AllowInternetOutbound"),
    ] {
        assert_eq!(bound(declaration.clone(), json!(given)), Ok(json!(expected)));
    }
    for given in ["Off", "PublicNetworkAccessType.OFF", "a b.ENABLED", ".ENABLED", "ENABLED."] {
        let error = bound(declaration.clone(), json!(given)).expect_err(given);
        assert!(error.message.contains("allowed value(s): 'Enabled,AllowInternetOutbound'"), "{}", error.message);
    }
    let list = json!({"type": "array", "allowedValues": ["a", "b"]});
    assert_eq!(bound(list.clone(), json!(["b", "A"])), Ok(json!(["b", "a"])));
    bound(list, json!(["c"])).expect_err("not allowed");
}

#[test]
fn bounds_are_checked() {
    for (declaration, good, bad) in [
        (json!({"type": "int", "minValue": 2}), json!(2), json!(1)),
        (json!({"type": "int", "maxValue": 2}), json!(2), json!(3)),
        (json!({"type": "string", "minLength": 2}), json!("äö"), json!("ä")),
        (json!({"type": "string", "maxLength": 2}), json!("äö"), json!("äöü")),
        (json!({"type": "array", "minLength": 1}), json!([1]), json!([])),
        (json!({"type": "array", "maxLength": 1}), json!([1]), json!([1, 2])),
    ] {
        assert_eq!(bound(declaration.clone(), good.clone()), Ok(good));
        let error = bound(declaration, bad).expect_err("out of bounds");
        assert!(error.message.contains("must be at"), "{}", error.message);
    }
    let error = bound_with(json!({"type": "int", "maxValue": 2, "defaultValue": 3}), json!({}), json!({}));
    assert!(error.expect_err("a default is checked too").message.contains("at most 2"));
}

#[test]
fn types_of_the_template_s_own() {
    let definitions = json!({
        "port": {"type": "int", "minValue": 1},
        "rule": {"type": "object", "properties": {
            "port": {"$ref": "#/definitions/port"}, "note": {"type": "string", "nullable": true},
        }, "additionalProperties": false},
        "shape": {"type": "object", "discriminator": {"propertyName": "kind", "mapping": {
            "circle": {"type": "object", "properties": {"radius": {"type": "int"}}},
            "rule": {"$ref": "#/definitions/rule"},
        }}},
        "loop": {"$ref": "#/definitions/loop"},
    });
    let bound =
        |declaration: Value, value: Value| bound_with(declaration, json!({"p": {"value": value}}), definitions.clone());
    let reference = |name: &str| json!({"$ref": format!("#/definitions/{name}")});
    for (declaration, good) in [
        (reference("rule"), json!({"port": 1})),
        (reference("rule"), json!({"port": 1, "note": null})),
        (json!({"type": "array", "items": reference("rule")}), json!([{"port": 1, "note": "x"}])),
        (reference("shape"), json!({"kind": "circle", "radius": 3})),
        (json!({"type": "array", "prefixItems": [{"type": "int"}], "items": false}), json!([1])),
        (json!({"type": "object", "additionalProperties": {"type": "int"}}), json!({"a": 1})),
    ] {
        assert_eq!(bound(declaration, good.clone()), Ok(good));
    }
    for (declaration, bad, words) in [
        (reference("rule"), json!({}), "property 'port' is required"),
        (reference("rule"), json!({"port": 0}), "of 'port' must be at least 1"),
        (reference("rule"), json!({"port": 1, "x": 1}), "'x' is not part of the type"),
        (
            json!({"type": "array", "items": reference("rule")}),
            json!([{"port": "x"}]),
            "'int' of '[0].port', but it is a string",
        ),
        (reference("shape"), json!({"kind": "square"}), "'kind' must be one of circle, rule"),
        (reference("shape"), json!({"kind": "circle"}), "'radius' is required"),
        (
            json!({"type": "array", "prefixItems": [{"type": "int"}], "items": false}),
            json!([1, 2]),
            "more than 1 items",
        ),
        (json!({"type": "object", "additionalProperties": {"type": "int"}}), json!({"a": "x"}), "'int' of 'a'"),
        (reference("none"), json!(1), "is not defined"),
        (reference("loop"), json!(1), "in a circle"),
    ] {
        let error = bound(declaration, bad).expect_err(words);
        assert!(error.message.contains(words), "{}", error.message);
    }
}

#[test]
fn secrets_are_traced_into_every_corner() {
    let template = template(json!({
        "parameters": {"password": {"type": "secureString"}, "plain": {"type": "string"}},
        "variables": {"both": "[concat(parameters('plain'), parameters('password'))]"},
        "resources": [thing("a", json!({"properties": {
            "open": "[parameters('plain')]", "direct": "[parameters('password')]", "list": ["x", "[toUpper(variables('both'))]"],
            "choice": "[if(equals(parameters('password'), 'x'), 1, 2)]", "odd/name": {"~": "[parameters('password')]"},
        }}))],
        "outputs": {"leak": {"type": "string", "value": "[variables('both')]"}, "open": {"type": "string", "value": "x"}},
    }));
    let plan = plan_with(template, json!({"password": {"value": "hunter2"}, "plain": {"value": "p"}})).expect("a plan");
    let evaluated = plan.nodes()[0].body(&Nothing).expect("a body");
    assert_eq!(
        evaluated.secrets,
        ["/properties/direct", "/properties/list/1", "/properties/choice", "/properties/odd~1name/~0"]
    );
    assert_eq!(evaluated.value["properties"]["direct"], "hunter2");
    let shown = evaluated.redacted().to_string();
    assert!(!shown.contains("hunter2") && !shown.contains("HUNTER2"), "{shown}");
    let outputs = plan.outputs(&Nothing).expect("outputs");
    assert_eq!(outputs.iter().map(|output| output.secret).collect::<Vec<_>>(), [true, false]);
    let debug = format!("{plan:?} {evaluated:?} {outputs:?}").to_lowercase();
    assert!(!debug.contains("hunter2"), "{debug}");
    assert_eq!(
        plan.parameters(),
        json!({"password": {"type": "SecureString"}, "plain": {"type": "String", "value": "p"}})
    );
}

#[test]
fn secrets_stay_secret_in_nested_deployments() {
    let inner = template(json!({
        "parameters": {"given": {"type": "string"}, "open": {"type": "string"}},
        "resources": [thing("a", json!({"properties": {"x": "[parameters('given')]", "y": "[parameters('open')]"}}))],
    }));
    let outer = template(json!({
        "parameters": {"password": {"type": "secureString", "defaultValue": "hunter2"}},
        "resources": [{"type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "sub", "properties": {
            "expressionEvaluationOptions": {"scope": "inner"}, "template": inner,
            "parameters": {"given": {"value": "[parameters('password')]"}, "open": {"value": "x"}},
        }}],
    }));
    let plan = plan_with(outer, json!({})).expect("a plan");
    let nested = plan.nodes()[0].nested().expect("known");
    assert_eq!(nested.nodes()[0].body(&Nothing).expect("a body").secrets, ["/properties/x"]);
    assert_eq!(nested.parameters()["given"], json!({"type": "String"}));
    assert_eq!(plan.parameters()["password"], json!({"type": "SecureString"}));
}

#[test]
fn a_secret_inside_of_an_object_makes_all_of_it_secret() {
    let template = template(json!({
        "languageVersion": "2.0",
        "definitions": {
            "secret": {"type": "object", "properties": {"name": {"type": "string"}, "value": {"type": "securestring"}}},
            "tree": {"type": "object", "properties": {"below": {"$ref": "#/definitions/tree", "nullable": true}}},
        },
        "parameters": {"secrets": {"type": "array", "items": {"$ref": "#/definitions/secret"}},
            "tree": {"$ref": "#/definitions/tree", "defaultValue": {"below": {}}}},
        "resources": {"a": thing("a", json!({"properties": {
            "x": "[parameters('secrets')[0].value]", "open": "[parameters('tree')]"}}))},
    }));
    let plan = plan_with(template, json!({"secrets": {"value": [{"name": "n", "value": "hunter2"}]}})).expect("a plan");
    assert_eq!(plan.nodes()[0].body(&Nothing).expect("a body").secrets, ["/properties/x"]);
    assert_eq!(plan.parameters()["secrets"], json!({"type": "Array"}));
}

#[test]
fn errors_never_quote_a_secret() {
    for expression in [
        "[int(parameters('password'))]",
        "[json(parameters('password'))]",
        "[base64ToString(parameters('password'))]",
        "[dateTimeAdd(parameters('password'), 'P1D')]",
        "[uri(parameters('password'), 'x')]",
        "[parseCidr(parameters('password'))]",
        "[substring(parameters('password'), 99)]",
        "[add(parameters('password'), 1)]",
        "[bool(parameters('password'))]",
        "[fail(parameters('password'))]",
        "[createObject('a', 1)[parameters('password')]]",
        "[map(createArray(parameters('password')), lambda('p', fail(lambdaVariables('p'))))]",
        "[reduce(createArray(1), parameters('password'), lambda('p', 'x', fail(lambdaVariables('p'))))]",
        "[my.fails(parameters('password'))]",
        "[reference(parameters('password'))]",
        "[dateTimeAdd('2024-01-01T00:00:00Z', 'P1D', substring(parameters('password'), 7))]",
    ] {
        let template = template(json!({
            "parameters": {"password": {"type": "secureString"}},
            "functions": [{"namespace": "my", "members": {"fails": {"parameters": [{"name": "p", "type": "string"}],
                "output": {"type": "string", "value": "[fail(parameters('p'))]"}}}}],
            "resources": [thing("a", json!({"properties": {"x": expression}}))],
        }));
        let error = plan_with(template, json!({"password": {"value": "hunter2{"}})).expect_err(expression);
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let beside = template(json!({
        "parameters": {"password": {"type": "secureString"}},
        "resources": [thing("a", json!({"properties": {"x": "[concat(parameters('password'), int('x'))]"}}))],
    }));
    let error = plan_with(beside, json!({"password": {"value": "hunter2"}})).expect_err("no integer");
    assert!(error.message.contains("not the text of an integer"), "what has no secret in it is explained: {error}");
    let named = template(json!({
        "parameters": {"password": {"type": "secureString"}},
        "resources": [thing("a", json!({"properties": {"[parameters('password')]": 1}}))],
    }));
    let error = plan_with(named, json!({"password": {"value": "hunter2"}})).expect_err("a secret name");
    assert!(error.message.contains("cannot be made from a secure value"), "{error}");
    let constrained = template(json!({"parameters": {"password": {"type": "secureString", "minLength": 99}}}));
    let error = plan_with(constrained, json!({"password": {"value": "hunter2"}})).expect_err("too short");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn a_vault_gives_a_secret_when_it_is_wanted() {
    let template = template(json!({
        "parameters": {"password": {"type": "secureString"}},
        "resources": [thing("a", json!({"properties": {"x": "[parameters('password')]"}}))],
    }));
    let given = json!({"password": {"reference": {"keyVault": {"id": "/v"}, "secretName": "s"}}});
    let plan = plan_with(template, given).expect("the secret is not wanted for the shape");
    let wanted = needs(plan.nodes()[0].body(&Nothing).expect_err("the secret is wanted"));
    let need = Need::Secret { vault: "/v".to_owned(), name: "s".to_owned(), version: None };
    assert_eq!(wanted, std::slice::from_ref(&need));
    let mut known = Facts::default();
    known.insert(need, Answer::Known { value: json!("hunter2"), secret: false });
    let evaluated = plan.nodes()[0].body(&known).expect("a body");
    assert_eq!((evaluated.value["properties"]["x"].as_str(), evaluated.secrets.len()), (Some("hunter2"), 1));
}

#[test]
fn plans_are_equal_for_equal_contexts() {
    let template = template(json!({
        "parameters": {"id": {"type": "string", "defaultValue": "[newGuid()]"}},
        "resources": [thing("[parameters('id')]", json!({}))],
    }));
    let name = |context| match try_plan(context, template.clone(), &json!({}), &Nothing) {
        Ok(plan) => plan.nodes()[0].name.clone(),
        Err(Stop::Invalid(error)) => panic!("{error}"),
        Err(stop) => panic!("{stop}"),
    };
    assert_eq!(name(context()), name(context()), "a runner may plan again after a crash");
    let mut other = context();
    other.seed = uuid::Uuid::from_u128(8);
    assert_ne!(name(context()), name(other));
}

#[test]
fn bodies_need_no_parameters_at_all() {
    let plan = plan_with(resources(json!([thing("a", json!({}))])), Value::Null).expect("a plan");
    assert_eq!(body(&plan.nodes()[0]), json!({}));
}
