//! The features of the language, each with the smallest template that shows it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::panic,
    reason = "tests may stop, and read better so"
)]

mod support;

use bastide_template::{Answer, Facts, Need, NodeKind, Nothing, Stop};
use serde_json::json;
use support::{
    GROUP, SUBSCRIPTION, body, evaluate_with, facts, needs, node, order, plan, refusal, resources, template, thing,
};

#[test]
fn bodies_hold_what_the_provider_gets_and_no_words_of_the_language() {
    let plan = plan(template(json!({
        "variables": {"size": "big", "key": "dynamic"},
        "resources": [thing("a", json!({
            "comments": "for people", "metadata": {"x": 1}, "condition": true, "dependsOn": [],
            "location": "[resourceGroup().location]", "sku": {"name": "[variables('SIZE')]"},
            "properties": {"[variables('key')]": 1, "escaped": "[[not an expression]", "none": "[json('null')]",
                "list": [1, null, "[null()]"], "plain": "[x"},
        }))],
    })))
    .expect("a plan");
    assert_eq!(plan.nodes()[0].id, format!("{GROUP}/providers/Microsoft.Test/things/a"));
    assert_eq!(plan.nodes()[0].api_version.as_deref(), Some("2024-01-01"));
    assert_eq!(
        body(&plan.nodes()[0]),
        json!({"location": "westeurope", "sku": {"name": "big"}, "properties": {"dynamic": 1,
            "escaped": "[not an expression]", "list": [1, null, null], "plain": "[x"}})
    );
}

#[test]
fn variables_are_lazy_and_may_use_each_other() {
    let sections = json!({"variables": {
        "a": "[concat(variables('b'), '!')]", "b": {"c": "[toUpper('x')]"}, "unused": "[fail('never')]",
    }});
    let error = evaluate_with("[variables('a')]", sections.clone()).expect_err("concat of an object");
    assert_eq!(error.place, "$.variables.a");
    assert_eq!(evaluate_with("[variables('B').c]", sections), Ok(json!("X")));
    let circle = json!({"variables": {"a": "[variables('b')]", "b": "[variables('a')]"}});
    let error = evaluate_with("[variables('a')]", circle).expect_err("a circle");
    assert!(error.message.contains("a -> b -> a"), "{}", error.message);
}

#[test]
fn errors_name_the_place_and_the_byte() {
    let error = refusal(resources(json!([thing("a", json!({"properties": {"x": ["[add(1, 'b')]"]}}))])));
    assert_eq!((error.place.as_str(), error.offset), ("$.resources[0].properties.x[0]", Some(1)));
    assert_eq!(error.code.as_str(), "InvalidTemplate");
    assert_eq!(error.violation(), json!({"path": "resources[0].properties.x[0]", "linePosition": 1}));
    let error = refusal(resources(json!([thing("a", json!({"properties": {"x": "[concat('a', foo)]"}}))])));
    assert_eq!((error.place.as_str(), error.offset), ("$.resources[0].properties.x", Some(13)));
    assert_eq!(
        error.to_string(),
        "'foo' is not a value: a function call needs '(', a string needs single quotes. \
         (at $.resources[0].properties.x, offset 13 of the expression)"
    );
}

#[test]
fn loops_of_variables_properties_and_outputs() {
    let sections = json!({
        "variables": {
            "copy": [{"name": "names", "count": 2, "input": "[concat('n', copyIndex('names', 1))]"}],
            "nested": {"fixed": 1, "copy": [{"name": "grid", "count": 2, "input": {
                "copy": [{"name": "row", "count": 2, "input": "[add(mul(10, copyIndex('grid')), copyIndex('row'))]"}],
            }}]},
            "none": {"copy": [{"name": "empty", "count": 0, "input": "[fail('never')]"}]},
        },
        "resources": [thing("a", json!({"properties": {
            "copy": [{"name": "disks", "count": "[length(variables('names'))]", "input": {"lun": "[copyIndex('disks')]"}}],
        }}))],
        "outputs": {"all": {"type": "array", "copy": {"count": 2, "input": "[variables('names')[copyIndex()]]"}}},
    });
    let planned = plan(template(sections.clone())).expect("a plan");
    assert_eq!(body(&planned.nodes()[0])["properties"], json!({"disks": [{"lun": 0}, {"lun": 1}]}));
    assert_eq!(planned.outputs(&Nothing).expect("outputs")[0].value, json!(["n1", "n2"]));
    let mut sections = sections;
    sections["outputs"] = json!({"o": {"type": "object", "value": "[variables('nested')]"},
        "e": {"type": "object", "value": "[variables('none')]"}});
    let outputs = plan(template(sections)).expect("a plan").outputs(&Nothing).expect("outputs");
    assert_eq!(outputs[0].value, json!({"fixed": 1, "grid": [{"row": [0, 1]}, {"row": [10, 11]}]}));
    assert_eq!(outputs[1].value, json!({"empty": []}));
}

#[test]
fn a_member_called_copy_that_is_no_loop_stays() {
    let planned = plan(resources(json!([thing("a", json!({"properties": {"copy": ["x"], "b": {"copy": true}}}))])));
    assert_eq!(body(&planned.expect("a plan").nodes()[0])["properties"], json!({"copy": ["x"], "b": {"copy": true}}));
}

#[test]
fn loops_of_resources() {
    let planned = plan(resources(json!([
        thing(
            "[concat('n', copyIndex(1))]",
            json!({"copy": {"name": "made", "count": 3},
            "condition": "[not(equals(copyIndex(), 1))]", "properties": {"i": "[copyIndex('made')]"}})
        ),
        thing("last", json!({"dependsOn": ["made"]})),
    ])))
    .expect("a plan");
    assert_eq!(order(&planned), ["n1", "n3", "last"]);
    assert_eq!(node(&planned, "last").depends_on, [0, 1]);
    assert_eq!(body(node(&planned, "n3"))["properties"]["i"], 2);
    assert_eq!(planned.skipped().len(), 1);
}

#[test]
fn an_index_without_a_name_is_the_resource_s() {
    let copy = json!([{"name": "parts", "count": 2, "input": "[format('{0}{1}', copyIndex(), copyIndex('parts'))]"}]);
    let planned = plan(resources(json!([thing(
        "[concat('n', copyIndex())]",
        json!({"copy": {"name": "made", "count": 2}, "properties": {"copy": copy}})
    ),])))
    .expect("a plan");
    assert_eq!(body(node(&planned, "n1"))["properties"]["parts"], json!(["10", "11"]));
}

#[test]
fn serial_loops_go_batch_by_batch() {
    let copy = json!({"name": "made", "count": 5, "mode": "Serial", "batchSize": 2});
    let planned = plan(resources(json!([thing("[concat('n', copyIndex())]", json!({"copy": copy}))]))).expect("a plan");
    let depends: Vec<_> = planned.nodes().iter().map(|node| node.depends_on.clone()).collect();
    assert_eq!(depends, [vec![], vec![], vec![0, 1], vec![0, 1], vec![2, 3]]);
}

#[test]
fn the_size_of_a_batch_may_be_computed() {
    let batch = |size: serde_json::Value| {
        let copy = json!({"name": "made", "count": 3, "mode": "serial", "batchSize": size});
        plan(resources(json!([thing("[concat('n', copyIndex())]", json!({ "copy": copy }))])))
    };
    let planned = batch(json!("[add(1, 1)]")).expect("a plan");
    assert_eq!(planned.nodes()[2].depends_on, [0, 1]);
    for size in [json!(0), json!(-1), json!("2"), json!(1.5)] {
        let error = batch(size).expect_err("no size of a batch");
        assert_eq!(error.place, "$.resources[0].copy.batchSize");
    }
}

#[test]
fn counts_of_loops_are_checked() {
    for (count, words) in [
        (json!(-1), "cannot be negative"),
        (json!(801), "801 turns; 800 are allowed"),
        (json!(1_000_000_000_000_i64), "are allowed"),
        (json!("3"), "must be an integer, but it is a string"),
    ] {
        let error = refusal(resources(json!([thing("x", json!({"copy": {"name": "l", "count": count}}))])));
        assert!(error.message.contains(words), "{}", error.message);
        assert_eq!(error.place, "$.resources[0].copy");
    }
}

#[test]
fn children_continue_the_type_and_the_name_of_their_parent() {
    let planned = plan(resources(json!([thing(
        "a",
        json!({"resources": [
            {"type": "parts", "apiVersion": "2024-01-01", "name": "b", "resources": [
                {"type": "screws", "apiVersion": "2024-01-01", "name": "[concat('c', 1)]"},
            ]},
            {"type": "Microsoft.Test/things/parts", "apiVersion": "2024-01-01", "name": "a/full"},
            {"type": "providers/locks", "apiVersion": "2024-01-01", "name": "/Microsoft.Authorization/l"},
            {"type": "parts", "apiVersion": "2024-01-01", "name": "off", "condition": false},
        ]})
    )])))
    .expect("a plan");
    let ids: Vec<_> = planned.nodes().iter().map(|node| node.id.trim_start_matches(GROUP)).collect();
    assert_eq!(
        ids,
        [
            "/providers/Microsoft.Test/things/a",
            "/providers/Microsoft.Test/things/a/parts/b",
            "/providers/Microsoft.Test/things/a/parts/b/screws/c1",
            "/providers/Microsoft.Test/things/a/parts/full",
            "/providers/Microsoft.Test/things/a/providers/Microsoft.Authorization/locks/l",
        ]
    );
    assert_eq!(planned.nodes()[4].type_name, "Microsoft.Authorization/locks");
    assert_eq!(planned.nodes()[2].depends_on, [1], "a child waits for its parent without saying so");
    assert!(body(&planned.nodes()[0]).get("resources").is_none());
}

#[test]
fn a_condition_does_not_reach_the_children() {
    let planned = plan(resources(json!([thing(
        "a",
        json!({"condition": false, "resources": [
            {"type": "parts", "apiVersion": "2024-01-01", "name": "b"},
        ]})
    )])))
    .expect("a plan");
    assert_eq!(order(&planned), ["a/b"]);
}

#[test]
fn what_is_not_deployed_is_not_evaluated() {
    let planned = plan(resources(json!([
        thing(
            "[fail('name')]",
            json!({"condition": "[equals(1, 2)]", "properties": {"x": "[reference('nobody').y]"},
            "dependsOn": ["[fail('dependency')]"]})
        ),
        thing("empty", json!({"condition": false})),
        thing("empty", json!({"condition": false})),
        thing("a", json!({"dependsOn": ["empty", "never declared", "[resourceId('Microsoft.Test/none', 'x')]"]})),
    ])))
    .expect("a plan");
    assert_eq!(order(&planned), ["a"]);
    assert_eq!(planned.skipped().len(), 3);
}

#[test]
fn names_must_fit_their_types() {
    let error = refusal(resources(json!([thing("a/b", json!({}))])));
    assert_eq!(error.place, "$.resources[0].name");
    assert!(error.message.contains("1 segment(s), but 'a/b' has 2"), "{}", error.message);
    let error = refusal(resources(json!([thing("", json!({}))])));
    assert!(error.message.contains("must not be empty"), "{}", error.message);
    let error = refusal(resources(json!([{"type": "[concat('a')]", "apiVersion": "x", "name": "a"}])));
    assert!(error.message.contains("cannot be an expression"), "{}", error.message);
}

#[test]
fn a_profile_stands_in_for_api_versions() {
    let sections = json!({"apiProfile": "2020-09-01-hybrid",
        "resources": [{"type": "Microsoft.Test/things", "name": "a"}, {"type": "Microsoft.Test/things", "name": "b",
            "properties": {"x": "[reference('a').y]"}}]});
    let planned = plan(template(sections)).expect("a plan");
    assert_eq!((order(&planned), planned.nodes()[0].api_version.as_deref()), (vec!["a", "b"], None));
}

#[test]
fn one_resource_is_deployed_once() {
    let error = refusal(resources(json!([thing("a", json!({})), thing("A", json!({}))])));
    assert!(
        error.message.contains("defined multiple times in the template, first at $.resources[0]"),
        "{}",
        error.message
    );
    assert_eq!(error.place, "$.resources[1]");
}

#[test]
fn scopes_move_a_resource() {
    let planned = plan(resources(json!([
        thing("a", json!({"scope": "Microsoft.Test/other/o"})),
        thing("b", json!({"scope": "/"})),
        thing("c", json!({"scope": "[subscription().id]"})),
        thing("d", json!({"resourceGroup": "else"})),
        thing("e", json!({"subscriptionId": "s", "resourceGroup": "else"})),
        thing("f", json!({"scope": "[resourceId('Microsoft.Test/things', 'd')]"})),
    ])))
    .expect("a plan");
    let ids: Vec<_> = planned.nodes().iter().map(|node| node.id.clone()).collect();
    assert_eq!(
        ids,
        [
            format!("{GROUP}/providers/Microsoft.Test/other/o/providers/Microsoft.Test/things/a"),
            "/providers/Microsoft.Test/things/b".to_owned(),
            format!("/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Test/things/c"),
            format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/else/providers/Microsoft.Test/things/d"),
            "/subscriptions/s/resourceGroups/else/providers/Microsoft.Test/things/e".to_owned(),
            format!("{GROUP}/providers/Microsoft.Test/things/d/providers/Microsoft.Test/things/f"),
        ]
    );
    let error = refusal(resources(json!([thing("a", json!({"scope": "nowhere"}))])));
    assert!(error.message.contains("'nowhere' is not a scope"), "{}", error.message);
}

#[test]
fn references_wait_for_what_they_refer_to() {
    let planned = plan(resources(json!([
        thing(
            "user",
            json!({"properties": {
                "endpoint": "[reference('store').endpoints.blob]",
                "place": "[reference(resourceId('Microsoft.Test/things', 'store'), '2023-01-01', 'Full').location]",
                "key": "[listKeys('store', '2024-01-01').keys[0].value]",
            }})
        ),
        thing("store", json!({})),
    ])))
    .expect("a plan");
    assert_eq!(order(&planned), ["store", "user"]);
    let user = node(&planned, "user");
    let wanted = needs(user.body(&Nothing).expect_err("live state is wanted"));
    assert_eq!(wanted.len(), 3, "one round names all that is needed: {wanted:?}");
    let id = format!("{GROUP}/providers/Microsoft.Test/things/store");
    let mut known = facts([
        ("Microsoft.Test/things/store", "2024-01-01", json!({"properties": {"endpoints": {"blob": "https://b"}}})),
        ("Microsoft.Test/things/store", "2023-01-01", json!({"location": "here"})),
    ]);
    let list =
        Need::List { id, function: "listKeys".to_owned(), api_version: Some("2024-01-01".to_owned()), body: None };
    assert!(wanted.contains(&list));
    known.insert(list, Answer::Known { value: json!({"keys": [{"value": "k3y"}]}), secret: false });
    let evaluated = user.body(&known).expect("everything is known");
    assert_eq!(evaluated.value["properties"], json!({"endpoint": "https://b", "place": "here", "key": "k3y"}));
    assert_eq!(evaluated.secrets, ["/properties/key"], "what a list answers is secret");
    assert_eq!(evaluated.redacted()["properties"]["key"], "*******");
}

#[test]
fn a_failed_look_up_is_an_error_at_its_place() {
    let planned =
        plan(resources(json!([thing("a", json!({"properties": {"x": "[reference('/x/y', '2020-01-01').z]"}}))])));
    let planned = planned.expect("a plan");
    let mut known = Facts::default();
    let need = Need::Resource { id: "/x/y".to_owned(), api_version: Some("2020-01-01".to_owned()) };
    known.insert(need, Answer::Failed("The resource '/x/y' was not found.".to_owned()));
    let Err(Stop::Invalid(error)) = planned.nodes()[0].body(&known) else { panic!("the body cannot be made") };
    assert_eq!((error.place.as_str(), error.offset), ("$.resources[0].properties.x", Some(1)));
    assert!(error.message.contains("was not found"));
}

#[test]
fn only_the_branch_taken_is_waited_for() {
    let planned = plan(resources(json!([
        thing("a", json!({})),
        thing("b", json!({})),
        thing("c", json!({"properties": {"x": "[if(true(), reference('a').x, reference('b').x)]"}})),
        thing("d", json!({"properties": {"x": "[if(equals(reference('a').x, 1), reference('b').x, 2)]"}})),
        thing("e", json!({"properties": {"x": "[map(reference('a').list, lambda('i', reference('b').x))]"}})),
        thing(
            "f",
            json!({"properties": {"copy": [
            {"name": "x", "count": "[length(reference('a').list)]", "input": "[reference('b').x]"}]}})
        ),
    ])))
    .expect("a plan");
    assert_eq!(node(&planned, "c").depends_on, [0]);
    assert_eq!(node(&planned, "d").depends_on, [0, 1], "either branch may be taken");
    assert_eq!(node(&planned, "e").depends_on, [0, 1], "nobody knows the list yet");
    assert_eq!(node(&planned, "f").depends_on, [0, 1], "nobody knows the count yet");
    let wanted = needs(node(&planned, "d").body(&Nothing).expect_err("live state is wanted"));
    assert_eq!(wanted.len(), 1, "the branches are not looked up before one is taken: {wanted:?}");
}

#[test]
fn what_shapes_the_plan_cannot_be_live() {
    for (resource, words) in [
        (thing("[reference('x').name]", json!({})), "names, conditions"),
        (thing("a", json!({"condition": "[reference('/x').y]"})), "names, conditions"),
        (
            thing("a", json!({"copy": {"name": "c", "count": "[length(listKeys('/x', '2020-01-01'))]"}})),
            "names, conditions",
        ),
    ] {
        let error = refusal(resources(json!([resource])));
        assert!(error.message.contains(words), "{}", error.message);
    }
    let error = evaluate_with("[variables('v')]", json!({"variables": {"v": "[reference('/x')]"}})).expect_err("live");
    assert!(error.message.contains("cannot be used in variables"), "{}", error.message);
}

#[test]
fn circles_are_found_before_anything_is_deployed() {
    let error = refusal(resources(json!([
        thing("a", json!({"dependsOn": ["b"]})),
        thing("b", json!({"properties": {"x": "[reference('c').y]"}})),
        thing("c", json!({"dependsOn": ["[resourceId('Microsoft.Test/things', 'a')]"]})),
    ])));
    assert!(error.message.starts_with("Circular dependency detected: "), "{}", error.message);
    assert_eq!(error.message.matches(" -> ").count(), 3, "{}", error.message);
}

#[test]
fn the_template_may_put_a_child_before_its_parent() {
    let child = json!({"type": "Microsoft.Test/things/parts", "apiVersion": "2024-01-01", "name": "a/b"});
    let planned = plan(resources(json!([thing("a", json!({"dependsOn": ["a/b"]})), child]))).expect("a plan");
    assert_eq!(order(&planned), ["a/b", "a"]);
}

#[test]
fn symbolic_names_and_existing_resources() {
    let planned = plan(template(json!({"languageVersion": "2.0", "resources": {
        "vault": thing("v", json!({"existing": true, "resourceGroup": "shared"})),
        "many": thing("[format('m{0}', copyIndex())]", json!({"copy": {"name": "many", "count": 2}})),
        "user": thing("u", json!({"dependsOn": ["vault", "many[1]"], "properties": {
            "uri": "[reference('vault').uri]", "all": "[map(references('many', 'full'), lambda('m', lambdaVariables('m').id))]",
            "kind": "[reference('many[0]', '2024-01-01', 'full').kind]", "id": "[resourceInfo('vault').id]"}})),
    }})))
    .expect("a plan");
    let vault = node(&planned, "v");
    assert_eq!((vault.kind, vault.symbol.as_deref()), (NodeKind::Existing, Some("vault")));
    assert_eq!(node(&planned, "u").depends_on, [0, 1, 2]);
    let shared = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/shared/providers/Microsoft.Test/things/v");
    let known = facts([
        (&shared, "2024-01-01", json!({"properties": {"uri": "https://v"}})),
        ("Microsoft.Test/things/m0", "2024-01-01", json!({"id": "0", "kind": "k"})),
        ("Microsoft.Test/things/m1", "2024-01-01", json!({"id": "1"})),
    ]);
    let made = node(&planned, "u").body(&known).expect("a body").value;
    assert_eq!(made["properties"], json!({"uri": "https://v", "all": ["0", "1"], "kind": "k", "id": shared}));
    let error = refusal(template(json!({"resources": {"a": thing("a", json!({}))}})));
    assert!(error.message.contains("\"languageVersion\": \"2.0\""), "{}", error.message);
}

#[test]
fn functions_of_a_template_see_their_arguments_only() {
    let functions = json!({
        "functions": [{"namespace": "my", "members": {
            "twice": {"parameters": [{"name": "x", "type": "string"}],
                "output": {"type": "string", "value": "[concat(parameters('x'), parameters('X'))]"}},
            "four": {"parameters": [{"name": "y", "type": "string"}],
                "output": {"type": "object", "value": {"r": "[my.twice(my.twice(parameters('y')))]"}}},
            "nosy": {"parameters": [], "output": {"type": "string", "value": "[parameters('p')]"}},
            "nosier": {"parameters": [], "output": {"type": "string", "value": "[variables('p')]"}},
            "endless": {"parameters": [], "output": {"type": "string", "value": "[my.endless()]"}},
        }}],
        "parameters": {"p": {"type": "string", "defaultValue": "secret"}},
    });
    let value = |expression: &str| evaluate_with(expression, functions.clone());
    assert_eq!(value("[MY.four('a').r]"), Ok(json!("aaaa")));
    for (expression, words) in [
        ("[my.nosy()]", "it sees its own only"),
        ("[my.nosier()]", "do not see its variables"),
        ("[my.twice(1)]", "Argument 'x' of 'my.twice'"),
        ("[my.twice()]", "takes 1 arguments; 0 are given"),
        ("[my.none()]", "no function 'my.none'"),
        ("[my.endless()]", "nested deeper"),
    ] {
        let error = value(expression).expect_err(expression);
        assert!(error.message.contains(words), "{expression}: {}", error.message);
    }
}

#[test]
fn sections_nobody_knows_are_refused() {
    for (section, words) in [
        (json!({"imports": {"k": 1}}), "not supported"),
        (json!({"resourcs": []}), "not a section"),
        (json!({"resources": [thing("a", json!({"import": "k8s"}))]}), "cannot be deployed here"),
        (json!({"resources": [thing("a", json!({"@options": {"onlyIfNotExists": true}}))]}), "cannot be deployed here"),
        (json!({"resources": [{"type": "Microsoft.Test/things", "name": "a"}]}), "needs an 'apiVersion'"),
        (json!({"resources": [{"type": "things", "apiVersion": "x", "name": "a"}]}), "not a resource type"),
        (json!({"resources": ["x"]}), "must be an object"),
        (json!({"outputs": {"o": {"type": "string"}}}), "either a 'value' or a 'copy'"),
    ] {
        let error = refusal(template(section));
        assert!(error.message.contains(words), "{}", error.message);
    }
}

#[test]
fn a_bare_name_means_one_resource() {
    let part = |name: &str| json!({"type": "Microsoft.Test/things/parts", "apiVersion": "2024-01-01", "name": name});
    let user = |what: &str| thing("user", json!({"properties": {"x": format!("[reference('{what}').y]")}}));
    let planned = plan(resources(json!([part("a/b"), thing("b", json!({})), user("b")]))).expect("a plan");
    assert_eq!(node(&planned, "user").depends_on, [1], "the whole name goes before the end of one");
    let planned = plan(resources(json!([part("a/b"), user("b")]))).expect("a plan");
    assert_eq!(node(&planned, "user").depends_on, [0]);
    let error = refusal(resources(json!([part("a/b"), part("c/b"), user("b")])));
    assert!(error.message.contains("exactly one resource"), "{}", error.message);
}

#[test]
fn a_plan_shows_what_it_depends_on_and_which_providers_it_wants() {
    let planned = plan(resources(json!([
        thing("a", json!({"location": "[resourceGroup().location]"})),
        thing("b", json!({"dependsOn": ["a"]})),
        thing("c", json!({"existing": true})),
    ])))
    .expect("a plan");
    let shown = |name: &str| {
        json!({"id": format!("{GROUP}/providers/Microsoft.Test/things/{name}"), "resourceType": "Microsoft.Test/things",
            "resourceName": name})
    };
    let mut b = shown("b");
    b["dependsOn"] = json!([shown("a")]);
    assert_eq!(planned.dependencies(), json!([b]));
    let types = json!([{"resourceType": "things", "locations": ["westeurope"]}]);
    assert_eq!(planned.providers(), json!([{"namespace": "Microsoft.Test", "resourceTypes": types}]));
}

#[test]
fn a_schedule_hands_out_what_is_ready_and_skips_what_cannot_be() {
    let planned = plan(resources(json!([
        thing("a", json!({})),
        thing("b", json!({"dependsOn": ["a"]})),
        thing("c", json!({})),
        thing("d", json!({"dependsOn": ["c", "b"]})),
    ])))
    .expect("a plan");
    let mut schedule = planned.schedule();
    assert_eq!(schedule.take_ready(), [0, 2]);
    assert!(schedule.take_ready().is_empty() && !schedule.is_finished());
    schedule.succeeded(0);
    schedule.succeeded(0);
    assert_eq!(schedule.take_ready(), [1]);
    schedule.failed(2);
    assert!(!schedule.is_finished());
    schedule.succeeded(1);
    assert!(schedule.is_finished() && !schedule.all_succeeded());
    assert_eq!(schedule.never_ran(), [3]);
    let mut resumed = planned.schedule();
    for done in [0, 1, 2] {
        resumed.succeeded(done);
    }
    assert_eq!(resumed.take_ready(), [3]);
}

#[test]
fn outputs_have_types_and_conditions() {
    let planned = plan(template(json!({
        "outputs": {
            "s": {"type": "String", "value": "x"}, "off": {"type": "string", "value": "[fail('off')]", "condition": false},
            "none": {"type": "string", "nullable": true, "value": "[null()]"}, "key": {"type": "securestring", "value": "k"},
        },
    })))
    .expect("a plan");
    let outputs = planned.outputs(&Nothing).expect("outputs");
    let shown: Vec<_> = outputs.iter().map(|output| (output.name.as_str(), output.type_name, output.secret)).collect();
    assert_eq!(shown, [("s", "String", false), ("none", "String", false), ("key", "SecureString", true)]);
    let error = refusal(template(json!({"outputs": {"o": {"type": "int", "value": "x"}}})));
    assert_eq!(error.place, "$.outputs.o");
    assert!(error.message.contains("Expected a value of type 'int', but it is a string"), "{}", error.message);
}
