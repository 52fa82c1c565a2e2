//! Every function of the language: what it gives, and what it refuses.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::panic,
    reason = "tests may stop, and read better so"
)]

mod support;

use serde_json::{Value, json};
use support::{evaluate, evaluate_with, plan_in, subscription_context, template};

fn gives(table: &[(&str, Value)]) {
    for (expression, expected) in table {
        match evaluate(&format!("[{expression}]")) {
            Ok(value) => assert_eq!(&value, expected, "{expression}"),
            Err(error) => panic!("{expression}: {error}"),
        }
    }
}

/// Each expression must fail with a message that has these words.
fn refuses(table: &[(&str, &str)]) {
    for (expression, words) in table {
        let error = evaluate(&format!("[{expression}]")).expect_err(expression);
        assert!(error.message.contains(words), "{expression}: {}", error.message);
        assert!(error.place.contains("outcome"), "{expression}: {}", error.place);
        assert!(error.offset.is_some(), "{expression}");
    }
}

#[test]
fn strings() {
    gives(&[
        ("base64('hello')", json!("aGVsbG8=")),
        ("base64ToString('aGVsbG8=')", json!("hello")),
        ("base64ToJson(base64('{\"a\": 1}'))", json!({"a": 1})),
        ("concat('a', 1, true(), 'b')", json!("a1Trueb")),
        ("concat(createArray(1), createArray(2, 3))", json!([1, 2, 3])),
        ("contains('OneTwo', 'neT')", json!(true)),
        ("contains('OneTwo', 'net')", json!(false)),
        ("endsWith('abcdef', 'EF')", json!(true)),
        ("startsWith('abcdef', 'AB')", json!(true)),
        ("startsWith('abcdef', 'b')", json!(false)),
        ("indexOf('test', 'T')", json!(0)),
        ("lastIndexOf('test', 'T')", json!(3)),
        ("indexOf('äöü', 'ü')", json!(2)),
        ("indexOf('abc', 'x')", json!(-1)),
        ("format('{0}, {1:D3} {2}', 'a', 7, createArray(1))", json!("a, 007 [1]")),
        ("guid('a')", json!("3703365d-5a9f-59b4-bca7-b9681389e4c1")),
        ("join(createArray('a', 'b', 1), ', ')", json!("a, b, 1")),
        ("json('{\"a\": [1, null]}').a", json!([1, null])),
        ("json('null')", json!(null)),
        ("json('1.5')", json!(1.5)),
        ("length('äöü')", json!(3)),
        ("first('äb')", json!("ä")),
        ("last('bä')", json!("ä")),
        ("first('')", json!("")),
        ("padLeft('7', 3, '0')", json!("007")),
        ("padLeft(7, 3)", json!("  7")),
        ("padLeft('long', 2)", json!("long")),
        ("replace('aXbX', 'X', '')", json!("ab")),
        ("skip('abc', 1)", json!("bc")),
        ("skip('abc', 9)", json!("")),
        ("take('abc', 2)", json!("ab")),
        ("take('abc', -1)", json!("")),
        ("split('a,b,,c', ',')", json!(["a", "b", "", "c"])),
        ("split('a,b;c', createArray(',', ';'))", json!(["a", "b", "c"])),
        ("split('abc', '')", json!(["abc"])),
        ("string(createObject('a', 1))", json!("{\"a\":1}")),
        (r#"string(createArray('a"b\c', null(), json('1.5'), true()))"#, json!(r#"["a\"b\\c",null,1.5,true]"#)),
        ("string(12)", json!("12")),
        ("string(true())", json!("True")),
        ("substring('abcdef', 2, 3)", json!("cde")),
        ("substring('abcdef', 6)", json!("")),
        ("toLower('ÄB')", json!("äb")),
        ("toUpper('äb')", json!("ÄB")),
        ("trim('  a b ')", json!("a b")),
        ("uniqueString('fu', 'bar')", json!("q5wxoscxs5j6k")),
        ("uniqueString('tyeth')", json!("zcztcwvu6iyg6")),
        ("'it''s'", json!("it's")),
    ]);
    refuses(&[
        ("base64(1)", "argument 1 must be a string, but it is an integer"),
        ("base64ToString('%')", "Base64"),
        ("base64ToString('//8=')", "UTF-8"),
        ("concat(createArray(1), 'a')", "argument 2 must be an array"),
        ("concat('a', createObject())", "argument 2 must be a string"),
        ("contains(1, 'a')", "argument 1"),
        ("fail('no storage in this region')", "no storage in this region"),
        ("format('{1}', 'a')", "argument {1}"),
        ("join(createArray(createArray()), ',')", "array of strings"),
        ("json('{')", "not JSON"),
        ("padLeft('a', 99999999)", "between 0 and"),
        ("padLeft('a', 3, 'xy')", "single character"),
        ("replace('a', '', 'b')", "must not be empty"),
        ("substring('abc', 2, 5)", "which has 3 characters"),
        ("substring('abc', -1)", "which has 3 characters"),
        ("length(1)", "argument 1"),
    ]);
}

#[test]
fn arrays() {
    gives(&[
        ("array('a')", json!(["a"])),
        ("array(createArray(1))", json!([1])),
        ("contains(createArray('a', 'b'), 'b')", json!(true)),
        ("contains(createArray('a', 'b'), 'B')", json!(false)),
        ("contains(createArray(createObject('x', 1)), createObject('x', 1))", json!(true)),
        ("createArray()", json!([])),
        ("empty(createArray())", json!(true)),
        ("empty('')", json!(true)),
        ("empty(null())", json!(true)),
        ("empty(createObject('a', 1))", json!(false)),
        ("first(createArray(1, 2))", json!(1)),
        ("first(createArray())", json!(null)),
        ("last(createArray(1, 2))", json!(2)),
        ("flatten(createArray(createArray(1), createArray(2, createArray(3))))", json!([1, 2, [3]])),
        ("indexFromEnd(createArray(1, 2, 3), 1)", json!(3)),
        ("tryIndexFromEnd(createArray(1), 2)", json!(null)),
        ("indexOf(createArray('a', 'b', 'a'), 'a')", json!(0)),
        ("lastIndexOf(createArray('a', 'b', 'a'), 'a')", json!(2)),
        ("indexOf(createArray('a'), 'A')", json!(-1)),
        ("intersection(createArray(1, 2, 3), createArray(3, 2, 4))", json!([2, 3])),
        ("length(createArray(1, 2))", json!(2)),
        ("max(1, 5, 3)", json!(5)),
        ("min(createArray(4, 2))", json!(2)),
        ("range(3, 3)", json!([3, 4, 5])),
        ("range(0, 0)", json!([])),
        ("skip(createArray(1, 2, 3), 2)", json!([3])),
        ("take(createArray(1, 2, 3), 2)", json!([1, 2])),
        ("union(createArray(1, 2), createArray(2, 3, 3))", json!([1, 2, 3])),
        ("createArray(1, 2)[1]", json!(2)),
        ("createArray(1)[?5]", json!(null)),
    ]);
    refuses(&[
        ("createArray(1)[1]", "out of bounds: the array has 1 items"),
        ("createArray(1)[-1]", "out of bounds"),
        ("createArray(1)['a']", "has no property 'a'"),
        ("flatten(createArray(1))", "array of arrays"),
        ("indexFromEnd(createArray(1), 0)", "out of bounds"),
        ("max('a')", "it takes integers"),
        ("min(createArray())", "it takes integers"),
        ("range(0, 10001)", "between 0 and 10000"),
        ("range(9223372036854775807, 2)", "64 bits"),
        ("union(createArray(1), createObject())", "argument 2 must be an array"),
        ("first(1)", "a string or an array"),
    ]);
}

#[test]
fn objects() {
    gives(&[
        ("createObject('a', 1, 'b', null())", json!({"a": 1, "b": null})),
        ("createObject('a', 1).A", json!(1)),
        ("createObject('a', 1, 'A', 2).A", json!(2)),
        ("createObject('a', 1)['a']", json!(1)),
        ("contains(createObject('One', 1), 'oNE')", json!(true)),
        ("intersection(createObject('a', 1, 'b', 2), createObject('a', 1, 'b', 3))", json!({"a": 1})),
        ("items(createObject('b', 2, 'A', 1))", json!([{"key": "A", "value": 1}, {"key": "b", "value": 2}])),
        ("objectKeys(createObject('b', 2, 'a', 1))", json!(["b", "a"])),
        ("shallowMerge(createArray(createObject('a', createObject('x', 1)), createObject('a', 2)))", json!({"a": 2})),
        (
            "union(createObject('a', createObject('x', 1)), createObject('a', createObject('y', 2), 'b', 3))",
            json!({"a": {"x": 1, "y": 2}, "b": 3}),
        ),
        ("length(createObject('a', 1))", json!(1)),
        ("null()", json!(null)),
        ("tryGet(createObject('a', 1), 'b')", json!(null)),
        ("tryGet(createObject('a', createArray(7)), 'a', 0)", json!(7)),
        ("tryGet(null(), 'b', 'c')", json!(null)),
        ("tryGet(createObject('a', createObject()), 'a', 'b')", json!(null)),
        ("createObject('a', 1).?b", json!(null)),
        ("null().?b", json!(null)),
    ]);
    refuses(&[
        ("createObject('a')", "even number"),
        ("createObject(1, 2)", "argument 1 must be a string"),
        ("createObject('a', 1).b", "property 'b' doesn't exist, available properties are 'a'"),
        ("createObject('a', 1)[0]", "cannot be indexed by an integer"),
        ("null().b", "Null has no property 'b'"),
        ("shallowMerge(createArray(1))", "array of objects"),
        ("tryGet(createObject('a', 1), true())", "argument 2 must be a string or an integer"),
        ("items('a')", "argument 1 must be an object"),
    ]);
}

#[test]
fn numbers() {
    gives(&[
        ("add(1, -3)", json!(-2)),
        ("sub(1, 3)", json!(-2)),
        ("mul(4, 3)", json!(12)),
        ("div(7, 2)", json!(3)),
        ("div(-7, 2)", json!(-3)),
        ("mod(-7, 2)", json!(-1)),
        ("int('42')", json!(42)),
        ("int(json('2.6'))", json!(3)),
        ("float('1.5')", json!(1.5)),
        ("float(2)", json!(2.0)),
    ]);
    refuses(&[
        ("add(9223372036854775807, 1)", "64 bits"),
        ("mul(9223372036854775807, 2)", "64 bits"),
        ("div(1, 0)", "must not be zero"),
        ("mod(1, 0)", "must not be zero"),
        ("div(-9223372036854775808, -1)", "64 bits"),
        ("int('4x')", "not the text of an integer"),
        ("float('x')", "not a number"),
        ("add('1', 2)", "argument 1 must be an integer, but it is a string"),
        ("copyIndex()", "no loop around"),
        ("copyIndex('x')", "no loop 'x'"),
    ]);
}

#[test]
fn truth() {
    gives(&[
        ("and(true(), false(), true())", json!(false)),
        ("and(true(), true())", json!(true)),
        ("or(false(), false(), true())", json!(true)),
        ("or(false(), false())", json!(false)),
        ("not(false())", json!(true)),
        ("bool('TRUE')", json!(true)),
        ("bool(0)", json!(false)),
        ("coalesce(null(), null(), 'a', 'b')", json!("a")),
        ("coalesce(null())", json!(null)),
        ("equals('a', 'A')", json!(false)),
        ("equals(createObject('a', createArray(1)), createObject('a', createArray(1)))", json!(true)),
        ("equals(1, '1')", json!(false)),
        ("equals(null(), null())", json!(true)),
        ("if(true(), 'a', 'b')", json!("a")),
        ("If(false(), 'a', 'b')", json!("b")),
        ("less(1, 2)", json!(true)),
        ("lessOrEquals('b', 'a')", json!(false)),
        ("greater('b', 'a')", json!(true)),
        ("greaterOrEquals(2, 2)", json!(true)),
    ]);
    refuses(&[
        ("and(true(), 1)", "argument 2 must be a boolean"),
        ("if('true', 1, 2)", "condition must be a boolean, but it is a string"),
        ("not('x')", "argument 1 must be a boolean"),
        ("bool('yes')", "'true' or 'false'"),
        ("less(1, 'a')", "two integers or two strings"),
    ]);
}

#[test]
fn what_is_not_wanted_is_not_evaluated() {
    gives(&[
        ("if(true(), 'a', fail('untaken'))", json!("a")),
        ("if(false(), fail('untaken'), 'b')", json!("b")),
        ("and(false(), fail('untaken'))", json!(false)),
        ("or(true(), fail('untaken'))", json!(true)),
        ("coalesce('a', fail('untaken'))", json!("a")),
        ("if(true(), 1, variables('absent'))", json!(1)),
    ]);
}

#[test]
fn dates() {
    gives(&[
        ("dateTimeAdd('2023-01-01 00:00:00Z', 'P1Y')", json!("2024-01-01T00:00:00Z")),
        ("dateTimeAdd('2024-01-01T00:00:00Z', 'P1Y')", json!("2024-12-31T00:00:00Z")),
        ("dateTimeAdd('2023-02-01T00:00:00Z', 'P1M')", json!("2023-03-03T00:00:00Z")),
        ("dateTimeAdd('2020-04-07T14:53:14Z', '-P9D', 'u')", json!("2020-03-29 14:53:14Z")),
        ("dateTimeAdd('2020-04-07T14:53:14+02:00', 'PT1H30M0.5S', 'o')", json!("2020-04-07T14:23:14.5000000Z")),
        ("dateTimeAdd('2020-04-07T14:53:14', 'P1W', 'ddd, d MMMM yy hh:mm tt')", json!("Tue, 14 April 20 02:53 PM")),
        (
            "dateTimeAdd('2020-04-07T00:03:04Z', 'P0D', '''Week'' dddd h:m:s t zzz K \\d')",
            json!("Week Tuesday 12:3:4 A +00:00 Z d"),
        ),
        ("dateTimeFromEpoch(1683040573)", json!("2023-05-02T15:16:13Z")),
        ("dateTimeToEpoch('2023-05-02T15:16:13Z')", json!(1_683_040_573)),
    ]);
    refuses(&[
        ("dateTimeAdd('yesterday', 'P1D')", "date and time"),
        ("dateTimeAdd('2020-04-07T14:53:14Z', '1D')", "ISO 8601"),
        ("dateTimeAdd('2020-04-07T14:53:14Z', 'P1D2Y')", "ISO 8601"),
        ("dateTimeAdd('2020-04-07T14:53:14Z', 'P99999999Y')", ""),
        ("dateTimeAdd('2020-04-07T14:53:14Z', 'P1D', 'q')", "not a date format"),
        ("dateTimeFromEpoch(9223372036854775807)", "not an instant"),
        ("utcNow()", "default value of a parameter"),
    ]);
}

#[test]
fn the_time_and_new_guids_are_the_same_however_often_they_are_asked_for() {
    let sections = json!({"parameters": {
        "now": {"type": "string", "defaultValue": "[utcNow()]"},
        "day": {"type": "string", "defaultValue": "[utcNow('d')]"},
        "id": {"type": "string", "defaultValue": "[newGuid()]"},
        "other": {"type": "string", "defaultValue": "[newGuid()]"},
    }});
    let value = |expression: &str| evaluate_with(expression, sections.clone()).expect(expression);
    assert_eq!(value("[parameters('now')]"), "20240229T130509Z");
    assert_eq!(value("[parameters('day')]"), "2/29/2024");
    assert_eq!(value("[parameters('id')]"), value("[parameters('id')]"));
    assert_ne!(value("[parameters('id')]"), value("[parameters('other')]"));
    let error = evaluate("[newGuid()]").expect_err("outside of a default");
    assert!(error.message.contains("default value of a parameter"), "{}", error.message);
}

#[test]
fn addresses() {
    gives(&[
        ("uri('http://contoso.org/firstpath', 'myscript.sh')", json!("http://contoso.org/myscript.sh")),
        ("uri('http://contoso.org/firstpath/', 'myscript.sh')", json!("http://contoso.org/firstpath/myscript.sh")),
        ("uri('http://contoso.org/firstpath/azuredeploy.json', '../x.sh')", json!("http://contoso.org/x.sh")),
        ("uri('http://contoso.org', '/x')", json!("http://contoso.org/x")),
        ("uri('http://contoso.org/a', 'https://other.org/b')", json!("https://other.org/b")),
        ("uriComponent('http://contoso.com/a b')", json!("http%3A%2F%2Fcontoso.com%2Fa%20b")),
        ("uriComponentToString('http%3A%2F%2Fcontoso.com%2Fa%20b')", json!("http://contoso.com/a b")),
        ("dataUri('Hello')", json!("data:text/plain;charset=utf8;base64,SGVsbG8=")),
        ("dataUriToString('data:;base64,SGVsbG8sIFdvcmxkIQ==')", json!("Hello, World!")),
        (
            "parseUri('https://mysite.net:8080/a/b?x=1#y')",
            json!({"scheme": "https", "host": "mysite.net", "port": 8080, "path": "/a/b", "query": "?x=1"}),
        ),
        ("parseUri('http://mysite.net').port", json!(80)),
        (
            "buildUri(createObject('scheme', 'https', 'host', 'h', 'port', 81, 'path', 'a', 'query', 'x=1'))",
            json!("https://h:81/a?x=1"),
        ),
    ]);
    refuses(&[
        ("uri('contoso.org', 'x')", "must be absolute"),
        ("dataUriToString('SGVsbG8=')", "data URI"),
        ("parseUri('x')", "must be absolute"),
        ("buildUri(createObject('host', 'h'))", "'scheme' and 'host'"),
        ("uriComponentToString('%ff')", "UTF-8"),
    ]);
}

#[test]
fn address_ranges() {
    gives(&[
        (
            "parseCidr('10.144.0.5/20')",
            json!({"network": "10.144.0.0", "netmask": "255.255.240.0", "broadcast": "10.144.15.255",
                "firstUsable": "10.144.0.1", "lastUsable": "10.144.15.254", "cidr": 20}),
        ),
        ("parseCidr('fdad::/48').lastUsable", json!("fdad::ffff:ffff:ffff:ffff:ffff")),
        ("parseCidr('10.0.0.0/31').firstUsable", json!("10.0.0.0")),
        ("cidrSubnet('10.144.0.0/20', 24, 0)", json!("10.144.0.0/24")),
        ("cidrSubnet('10.144.0.0/20', 24, 15)", json!("10.144.15.0/24")),
        ("cidrSubnet('fdad:3236:5555::/48', 52, 2)", json!("fdad:3236:5555:2000::/52")),
        ("cidrSubnet('::/0', 0, 0)", json!("::/0")),
        ("cidrHost('10.144.3.0/24', 0)", json!("10.144.3.1")),
        ("cidrHost('10.144.3.0/24', 253)", json!("10.144.3.254")),
    ]);
    refuses(&[
        ("parseCidr('10.0.0.0')", "a range such as"),
        ("parseCidr('10.0.0.0/33')", "a range such as"),
        ("cidrSubnet('10.0.0.0/24', 16, 0)", "between 24 and 32"),
        ("cidrSubnet('10.0.0.0/24', 26, 4)", "beyond the last subnet"),
        ("cidrHost('10.0.0.0/24', 254)", "beyond the last usable"),
        ("cidrHost('10.0.0.0/24', -1)", "beyond the last usable"),
    ]);
}

#[test]
fn lambdas() {
    gives(&[
        ("map(createArray(1, 2), lambda('x', mul(lambdaVariables('x'), 10)))", json!([10, 20])),
        (
            "map(createArray('a'), lambda('x', 'i', format('{0}{1}', lambdaVariables('x'), lambdaVariables('I'))))",
            json!(["a0"]),
        ),
        ("filter(range(0, 6), lambda('x', equals(mod(lambdaVariables('x'), 2), 0)))", json!([0, 2, 4])),
        ("filter(createArray('a', 'b'), lambda('x', 'i', equals(lambdaVariables('i'), 1)))", json!(["b"])),
        ("reduce(range(1, 4), 0, lambda('sum', 'x', add(lambdaVariables('sum'), lambdaVariables('x'))))", json!(10)),
        (
            "reduce(createArray(5, 6), 0, lambda('s', 'x', 'i', add(lambdaVariables('s'), lambdaVariables('i'))))",
            json!(1),
        ),
        (
            "sort(createArray(3, 1, 2), lambda('a', 'b', less(lambdaVariables('a'), lambdaVariables('b'))))",
            json!([1, 2, 3]),
        ),
        (
            "sort(createArray('b', 'a'), lambda('a', 'b', lessOrEquals(lambdaVariables('a'), lambdaVariables('b'))))",
            json!(["a", "b"]),
        ),
        ("toObject(createArray('a', 'b'), lambda('x', toUpper(lambdaVariables('x'))))", json!({"A": "a", "B": "b"})),
        ("toObject(createArray('a'), lambda('x', lambdaVariables('x')), lambda('x', 1))", json!({"a": 1})),
        (
            "groupBy(createArray('foo', 'bar', 'fun'), lambda('x', substring(lambdaVariables('x'), 0, 1)))",
            json!({"f": ["foo", "fun"], "b": ["bar"]}),
        ),
        ("mapValues(createObject('a', 1), lambda('x', add(lambdaVariables('x'), 1)))", json!({"a": 2})),
        (
            "map(createArray(1, 2), lambda('x', map(createArray(10), lambda('y', add(lambdaVariables('x'), lambdaVariables('y'))))))",
            json!([[11], [12]]),
        ),
    ]);
    refuses(&[
        ("map(createArray(1), 'x')", "argument 2 must be a lambda"),
        ("map('x', lambda('x', 1))", "argument 1 must be an array"),
        ("map(createArray(1), lambda('x', 'y', 'z', 1))", "1 to 2 variables; 3"),
        ("lambda('x', 1)", "can only be an argument"),
        ("lambdaVariables('x')", "no lambda variable 'x'"),
        ("filter(createArray(1), lambda('x', 1))", "must give a boolean"),
        ("toObject(createArray(1), lambda('x', 1))", "must give a string"),
        ("sort(createArray(1, 2), lambda('x', true()))", "2 to 2 variables; 1"),
    ]);
}

#[test]
fn ids() {
    let group = support::GROUP;
    let subscription = format!("/subscriptions/{}", support::SUBSCRIPTION);
    gives(&[
        ("resourceId('Microsoft.Test/a', 'n')", json!(format!("{group}/providers/Microsoft.Test/a/n"))),
        ("resourceId('Microsoft.Test/a/b', 'n/m')", json!(format!("{group}/providers/Microsoft.Test/a/n/b/m"))),
        (
            "resourceId('Other', 'Microsoft.Test/a', 'N')",
            json!(format!("{subscription}/resourceGroups/Other/providers/Microsoft.Test/a/N")),
        ),
        (
            "resourceId('s', 'g', 'Microsoft.Test/a/b', 'n', 'm')",
            json!("/subscriptions/s/resourceGroups/g/providers/Microsoft.Test/a/n/b/m"),
        ),
        (
            "subscriptionResourceId('Microsoft.Test/a', 'n')",
            json!(format!("{subscription}/providers/Microsoft.Test/a/n")),
        ),
        (
            "subscriptionResourceId('s', 'Microsoft.Test/a', 'n')",
            json!("/subscriptions/s/providers/Microsoft.Test/a/n"),
        ),
        ("tenantResourceId('Microsoft.Test/a', 'n')", json!("/providers/Microsoft.Test/a/n")),
        (
            "managementGroupResourceId('m', 'Microsoft.Test/a', 'n')",
            json!("/providers/Microsoft.Management/managementGroups/m/providers/Microsoft.Test/a/n"),
        ),
        ("extensionResourceId('/x/y', 'Microsoft.Test/a', 'n')", json!("/x/y/providers/Microsoft.Test/a/n")),
    ]);
    refuses(&[
        ("resourceId('Microsoft.Test/a/b', 'n')", "requires 2 resource name argument(s), but 1"),
        ("resourceId('a', 'b')", "none of its first three arguments"),
        ("resourceId('Microsoft.Test/a', 1)", "argument 2 must be a string"),
        ("managementGroupResourceId('Microsoft.Test/a', 'n')", "management group"),
    ]);
}

#[test]
fn surroundings() {
    gives(&[
        ("resourceGroup().location", json!("westeurope")),
        ("resourceGroup().id", json!(support::GROUP)),
        ("resourceGroup().tags.team", json!("a")),
        ("resourceGroup()['properties'].provisioningState", json!("Succeeded")),
        ("subscription().subscriptionId", json!(support::SUBSCRIPTION)),
        ("subscription().id", json!(format!("/subscriptions/{}", support::SUBSCRIPTION))),
        ("subscription().tenantId", json!("00000000-0000-0000-0000-00000000000a")),
        ("tenant().tenantId", json!("00000000-0000-0000-0000-00000000000a")),
        ("deployment().name", json!("main")),
        ("deployment().properties.mode", json!("Incremental")),
        ("deployment().properties.template.contentVersion", json!("1.0.0.0")),
        ("environment().name", json!("AzureCloud")),
        ("environment().suffixes.keyvaultDns", json!(".vault.example")),
        ("environment().suffixes.storage", json!("storage.example")),
        ("environment().resourceManager", json!("https://management.example/")),
        ("deployer().objectId", json!("00000000-0000-0000-0000-00000000000b")),
        ("providers('Microsoft.Test', 'things').apiVersions[0]", json!("2024-01-01")),
        (
            "roleDefinitions('Contributor').id",
            json!("/providers/Microsoft.Authorization/roleDefinitions/b24988ac-6180-42a0-ab88-20f7382dd24c"),
        ),
        ("pickZones('Microsoft.Test', 'things', 'westeurope')", json!([])),
    ]);
    refuses(&[
        ("managementGroup()", "does not go to a management group"),
        ("providers('Microsoft.None')", "no resource provider"),
        ("roleDefinitions('King')", "no built-in role 'King'"),
        ("toLogicalZone('s', 'l', 'z')", "no availability zones"),
        ("resourceInfo('x')", "not the name of a resource"),
        ("reference('x')", "neither a resource id nor the name"),
        ("parameters('x')", "no parameter 'x'"),
        ("variables('x')", "no variable 'x'"),
    ]);
}

#[test]
fn a_subscription_deployment_has_no_group() {
    let output = |expression: &str| template(json!({"outputs": {"x": {"type": "string", "value": expression}}}));
    let value = |expression: &str| {
        let plan = plan_in(subscription_context(), output(expression), json!({})).expect(expression);
        plan.outputs(&bastide_template::Nothing).expect(expression)[0].value.clone()
    };
    assert_eq!(value("[deployment().location]"), "northeurope");
    assert_eq!(
        value("[resourceId('Microsoft.Test/a', 'n')]"),
        format!("/subscriptions/{}/providers/Microsoft.Test/a/n", support::SUBSCRIPTION)
    );
    let error = plan_in(subscription_context(), output("[resourceGroup().name]"), json!({})).expect_err("no group");
    assert!(error.message.contains("does not go to a resource group"), "{}", error.message);
}
