//! Conditions: the real ones, every operator, and what fails closed.

use bastide_access::{Access, Attributes, Condition, Source, builtin_role, builtin_roles, guard};
use bastide_access::{PrincipalType, RoleAssignment, Value};
use proptest::prelude::*;
use uuid::Uuid;

use crate::common::{GROUP, HUB, assignment, decide_with, principal, role};

const WRITE: &str = "Microsoft.Authorization/roleAssignments/write";
const DELETE: &str = "Microsoft.Authorization/roleAssignments/delete";

#[test]
fn all_real_conditions_parse_and_print_back() {
    let texts: Vec<String> = serde_json::from_str(include_str!("../data/rbac-conditions.json")).unwrap();
    assert_eq!(texts.len(), 26);
    let built_in =
        builtin_roles().iter().flat_map(|role| &role.permissions).filter_map(|block| block.condition.clone());
    for text in texts.into_iter().chain(built_in) {
        let condition: Condition = text.parse().unwrap_or_else(|error| panic!("{error} in {text}"));
        let printed = condition.to_string();
        assert_eq!(printed.parse(), Ok(condition), "{printed}");
        assert_eq!(printed.parse::<Condition>().unwrap().to_string(), printed);
    }
}

/// Attributes for the operator table.
fn attributes() -> Attributes {
    Attributes::default()
        .with(Source::Request, "name", "Alice")
        .with(Source::Request, "count", 10_i64)
        .with(Source::Request, "when", "2026-05-01T12:00:00Z")
        .with(Source::Request, "time", "12:30:00")
        .with(Source::Request, "ip", "10.0.0.7")
        .with(Source::Request, "ip6", "2001:db8::7")
        .with(Source::Request, "mapped", "::ffff:10.0.0.7")
        .with(Source::Request, "SubOperation", "Blob.List")
        .with(Source::Resource, "flag", true)
        .with(Source::Resource, "id", "/x/roleDefinitions/49FC33C1-886F-4B21-A00E-1D9993234734")
        .with(Source::Resource, "tags", vec!["red", "blue"])
        .with(Source::Resource, "sizes", vec![10_i64, 20])
        .with(Source::Resource, "nothing", Vec::<&str>::new())
        .with(Source::Resource, "a.b/c:tags:Owner<$key_case_sensitive$>", "x")
        .with(Source::Principal, "name", "Alice")
        .with(Source::Environment, "utcNow", "2026-05-01T12:00:00Z".parse::<jiff::Timestamp>().unwrap())
}

fn holds(condition: &str) -> bool {
    condition.parse::<Condition>().unwrap_or_else(|error| panic!("{condition}: {error}")).holds(WRITE, &attributes())
}

#[test]
fn operators_hold_when_they_should() {
    for condition in [
        "@Request[name] StringEquals 'Alice'",
        "@Request[NAME] stringequals 'Alice'",
        "@Request[name] StringNotEquals 'alice'",
        "@Request[name] StringEqualsIgnoreCase 'ALICE'",
        "@Request[name] StringStartsWith 'Al'",
        "@Request[name] StringNotStartsWith 'al'",
        "@Request[name] StringStartsWithIgnoreCase 'al'",
        "@Request[name] StringEndsWith 'ice'",
        "@Request[name] StringContainsIgnoreCase 'LIC'",
        "@Request[name] StringNotContains 'x'",
        "@Request[name] StringLike 'A*c?'",
        "@Request[name] StringLikeIgnoreCase 'a*E'",
        "@Request[name] StringNotLike 'a*'",
        r"@Request[name] StringNotLike 'A\*'",
        "@Request[name] StringEquals @Principal[name]",
        "@Request[count] NumericEquals 10",
        "@Request[count] NumericGreaterThanEquals 10",
        "@Request[count] NumericLessThan 11",
        "@Request[count] NumericNotEquals -10",
        "@Request[count] NumericInRange {10, 15}",
        "@Request[count] NumericInRange [5, 10]",
        "@Request[when] DateTimeEquals '2026-05-01T14:00:00+02:00'",
        "@Request[when] DateTimeLessThan '2026-05-01T12:00:00.001Z'",
        "@Environment[UtcNow] DateTimeGreaterThan '2026-04-30T00:00:00Z'",
        "@Request[time] TimeOfDayGreaterThan '12:00:00'",
        "@Request[time] TimeOfDayInRange {'08:00', '17:30'}",
        "@Environment[utcNow] TimeOfDayEquals '12:00:00'",
        "@Resource[flag] boolequals true",
        "@Resource[flag] BoolNotEquals False",
        "@Resource[id] GuidEquals 49fc33c1886f4b21a00e1d9993234734",
        "@Resource[id] GuidEquals '49fc33c1-886f-4b21-a00e-1d9993234734'",
        "@Resource[id] ForAnyOfAnyValues:GuidEquals{00000000000000000000000000000000, 49fc33c1886f4b21a00e1d9993234734}",
        "@Request[ip] IpMatch '10.0.0.0/24'",
        "@Request[ip] IpMatch '10.0.0.7'",
        "@Request[ip] IpMatch '0.0.0.0/0'",
        "@Request[ip] IpNotMatch '192.168.0.0/16'",
        "@Request[mapped] IpMatch '10.0.0.0/8'",
        "@Request[ip6] IpMatch '2001:db8::/32'",
        "@Request[ip] IpInRange {'10.0.0.1', '10.0.0.10'}",
        "@Resource[tags] ListContains 'blue'",
        "@Resource[sizes] ListContains 20",
        "@Resource[tags] ListNotContains 'green'",
        "Exists @Request[name]",
        "NotExists @Request[absent]",
        "NotExists @Resource[nothing]",
        "SubOperationMatches{'blob.list'}",
        "ActionMatches{'Microsoft.Authorization/*'}",
        "ActionMatches{'microsoft.authorization/*/WRITE'}",
        "!(ActionMatches{'Microsoft.Authorization/roleAssignments/delete'})",
        "NOT @Request[count] NumericEquals 11 && !ActionMatches{'a'} and Exists @Request[ip]",
        "@Request[count] NumericEquals 11 || @Request[count] NumericEquals 10",
    ] {
        assert!(holds(condition), "{condition}");
    }
}

#[test]
fn operators_do_not_hold_when_they_should_not() {
    for condition in [
        "@Request[name] StringEquals 'alice'",
        "@Request[name] StringLike 'a*c?'",
        "@Request[name] StringLike 'A*c'",
        r"@Request[name] StringLike 'A\*'",
        "@Request[name] StringLike '????'",
        "@Request[count] NumericInRange {11, 12}",
        "@Request[when] DateTimeGreaterThan '2026-05-01T12:00:00Z'",
        "@Request[time] TimeOfDayInRange {'13:00:00', '14:00:00'}",
        "@Resource[flag] BoolEquals false",
        "@Resource[id] GuidEquals 00000000000000000000000000000000",
        "@Request[ip] IpMatch '192.168.0.0/16'",
        "@Request[ip6] IpMatch '0.0.0.0/0'",
        "@Request[ip] IpInRange {'10.0.0.8', '10.0.0.10'}",
        "@Request[ip6] IpInRange {'0.0.0.0', '255.255.255.255'}",
        "@Resource[tags] ListContains 'green'",
        "SubOperationMatches{'Blob.Read'}",
        "ActionMatches{'Microsoft.Authorization/roleDefinitions/*'}",
    ] {
        assert!(!holds(condition), "{condition}");
        assert!(holds(&format!("!({condition})")), "the negation of {condition}");
    }
}

#[test]
fn quantifiers_compare_many_values_with_many() {
    // The examples of the documentation, then the corners.
    for (condition, expected) in [
        ("{'red', 'blue'} ForAnyOfAnyValues:StringEquals {'blue', 'green'}", true),
        ("{'red', 'blue'} ForAnyOfAnyValues:StringEquals {'orange', 'green'}", false),
        ("{'red', 'blue'} ForAllOfAnyValues:StringEquals {'orange', 'red', 'blue'}", true),
        ("{'red', 'blue'} ForAllOfAnyValues:StringEquals {'red', 'green'}", false),
        ("{10, 20} ForAnyOfAllValues:NumericLessThan {15, 18}", true),
        ("{10, 20} ForAllOfAllValues:NumericLessThan {5, 15, 18}", false),
        ("{10, 20} ForAllOfAllValues:NumericLessThan {25, 30}", true),
        ("{10, 20} ForAllOfAllValues:NumericLessThan {15, 25, 30}", false),
        ("@Resource[tags] ForAllOfAnyValues:StringEquals {'red', 'blue', 'green'}", true),
        ("@Resource[tags] ForAllOfAnyValues:StringEqualsIgnoreCase {'RED'}", false),
        ("@Resource[sizes] forallofallvalues:numericgreaterthan {5, 9}", true),
        ("@Resource[tags] ForAllOfAllValues:StringNotEquals {'green', 'white'}", true),
    ] {
        assert_eq!(holds(condition), expected, "{condition}");
    }
}

#[test]
fn an_unknown_answer_grants_nothing_however_it_is_turned() {
    for condition in [
        "@Request[absent] StringEquals 'x'",
        "@Request[absent] StringNotEquals 'x'",
        "@Resource[name] StringEquals 'Alice'",
        "@Request[name] StringEquals @Principal[absent]",
        "@Resource[nothing] ForAllOfAnyValues:StringEquals {'x'}",
        "@Resource[nothing] ListNotContains 'x'",
        // The wrong type is no answer either.
        "@Request[name] NumericEquals 1",
        "@Request[count] StringEquals '10'",
        "@Request[name] GuidEquals 49fc33c1886f4b21a00e1d9993234734",
        "@Request[name] DateTimeLessThan '2026-05-01T12:00:00Z'",
        "@Request[name] IpNotMatch '10.0.0.0/8'",
        "@Request[name] BoolNotEquals true",
        // Several values where one is compared.
        "@Resource[tags] StringEquals 'red'",
        "@Resource[a.b/c:tags:owner<$key_case_sensitive$>] StringEquals 'x'",
    ] {
        assert!(!holds(condition), "{condition}");
        assert!(!holds(&format!("!({condition})")), "the negation of {condition}");
        assert!(!holds(&format!("{condition} AND ActionMatches{{'*'}}")), "{condition} and true");
    }
    assert!(holds("@Request[absent] StringEquals 'x' OR ActionMatches{'*'}"));
    let nobody = "SubOperationMatches{'Blob.List'}".parse::<Condition>().unwrap();
    assert!(!nobody.holds(WRITE, &Attributes::NONE));
}

#[test]
fn what_is_wrong_is_said_where_it_is() {
    for (condition, at, sentence) in [
        ("", 0, "expected an attribute or a value, found the end"),
        ("@Request[a] StringEquals", 24, "expected an attribute or a value, found the end"),
        ("@Request[a] StringEqual 'x'", 12, "'StringEqual' is not an operator"),
        ("@Request[a] ForSome:StringEquals 'x'", 12, "'ForSome:StringEquals' is not an operator"),
        ("@Request[a] StringMatches 'x.*'", 12, "'StringMatches' is not an operator"),
        ("@Tenant[a] StringEquals 'x'", 0, "'@Tenant' is not a source of attributes"),
        ("@Request[a", 0, "the attribute has no end"),
        ("@Request[ ] StringEquals 'x'", 0, "expected the name of an attribute"),
        ("@Request[a] StringEquals 'x", 25, "the text has no end"),
        ("@Request[a] StringEquals x", 25, "compares with text in quotes, which 'x' is not"),
        ("@Request[a] NumericEquals 1.5", 26, "compares with whole numbers, which '1.5' is not"),
        ("@Request[a] NumericEquals '1'", 26, "compares with whole numbers"),
        ("@Request[a] DateTimeEquals '2026-05-01'", 27, "compares with moments"),
        ("@Request[a] IpMatch '10.0.0.0/33'", 20, "compares with networks"),
        ("@Request[a] StringEquals {'x', 'y'}", 12, "ForAnyOfAnyValues:StringEquals"),
        ("@Request[a] StringEquals {}", 26, "expected a value, found '}'"),
        ("@Request[a] NumericInRange {2, 1}", 12, "takes two values, the lower one first"),
        ("@Request[a] IpInRange {'10.0.0.1', '::1'}", 12, "takes two values"),
        ("@Request[a] ForAnyOfAnyValues:ListContains 'x'", 12, "cannot be combined"),
        ("Exists @Request[a] AND Exists @Request[b] OR Exists @Request[c]", 42, "AND and OR are mixed"),
        ("(Exists @Request[a]", 19, "expected ')', found the end"),
        ("Exists @Request[a])", 18, "expected AND, OR or the end, found ')'"),
        ("ActionMatches{a}", 14, "expected text in quotes, found 'a'"),
        ("Exists @Request[a] & Exists @Request[b]", 19, "'&' is not part"),
        ("Exists @Request[a] ; DROP TABLE", 19, "';' is not part"),
    ] {
        let error = condition.parse::<Condition>().unwrap_err();
        assert!(error.to_string().contains(sentence), "{condition}: {error}");
        assert_eq!(error.at, at, "{condition}: {error}");
    }
}

#[test]
fn size_and_depth_are_bounded() {
    let nested = |depth: usize| format!("{}Exists @Request[a]{}", "(".repeat(depth), ")".repeat(depth));
    assert!(nested(40).parse::<Condition>().is_ok());
    assert!(nested(41).parse::<Condition>().unwrap_err().to_string().contains("nest more than"));
    assert!("!".repeat(8000).parse::<Condition>().is_err());
    assert!(" ".repeat(9000).parse::<Condition>().unwrap_err().to_string().contains("at most 8192 bytes"));
}

#[test]
fn a_condition_that_cannot_be_read_grants_nothing() {
    for (condition, version) in [("garbage", None), ("", None), ("ActionMatches{'*'}", Some("1.0"))] {
        let mut conditional = assignment(1, GROUP, 1, 1);
        conditional.condition = Some(condition.to_owned());
        conditional.condition_version = version.map(str::to_owned);
        let access = Access::compile(&[role(1, &["*"], &[])], &[conditional], &[]).unwrap();
        assert!(!decide_with(&access, 1, &[], WRITE, HUB, &Attributes::NONE).is_allowed(), "{condition:?}");
    }
}

/// The difference between assigning and removing a role: one is judged by the request, the other by what is stored.
#[test]
fn a_delegate_assigns_and_removes_only_the_roles_of_its_condition() {
    let manager = builtin_role("Foundry Project Manager").unwrap();
    let user = builtin_role("Foundry User").unwrap();
    let owner = builtin_role("Owner").unwrap();
    let held = RoleAssignment::new(Uuid::from_u128(1), GROUP, manager.id, principal(1));
    let access = Access::compile(builtin_roles(), &[held], &[]).unwrap();
    let about = |role: Uuid| {
        let mut assignment = RoleAssignment::new(Uuid::from_u128(2), HUB, role, principal(2));
        assignment.principal_type = PrincipalType::ServicePrincipal;
        assignment
    };
    let allowed = |action, stored: Option<&RoleAssignment>, requested: Option<&RoleAssignment>| {
        let attributes = guard::delegation_attributes(stored, requested);
        decide_with(&access, 1, &[], action, HUB, &attributes).is_allowed()
    };
    assert!(allowed(WRITE, None, Some(&about(user.id))));
    assert!(!allowed(WRITE, None, Some(&about(owner.id))));
    assert!(!allowed(WRITE, Some(&about(user.id)), None), "a write must say what it asks for");
    assert!(allowed(DELETE, Some(&about(user.id)), None));
    assert!(!allowed(DELETE, Some(&about(owner.id)), None));
    assert!(!allowed(DELETE, None, Some(&about(user.id))), "a delete is judged by what is stored");
    // The condition speaks about role assignments only; the rest of the block is free.
    let read = "Microsoft.Authorization/roleAssignments/read";
    assert!(decide_with(&access, 1, &[], read, HUB, &Attributes::NONE).is_allowed());
}

/// Text of a random condition, correct by construction.
fn condition() -> impl Strategy<Value = String> {
    let attribute = "@(Request|resource|Principal|ENVIRONMENT)\\[[a-c]{1,2}(:[a-c<$>]{1,3})?\\]";
    let text = "'([a-z *?()@{},]|\\\\\\*|\\\\'){0,6}'";
    let guid = any::<u128>().prop_map(|bits| Uuid::from_u128(bits).simple().to_string());
    let quantifier = prop::sample::select(vec!["ForAnyOfAnyValues", "forallofanyvalues", "ForAnyOfAllValues"]);
    let comparison = prop_oneof![
        (attribute, "String(Not)?(Equals|Like|StartsWith|EndsWith|Contains)(IgnoreCase)?", text)
            .prop_map(|(left, operator, right)| format!("{left} {operator} {right}")),
        (attribute, "Numeric(Less|Greater)Than(Equals)?", any::<i64>())
            .prop_map(|(left, operator, right)| format!("{left} {operator} {right}")),
        (attribute, quantifier, prop::collection::vec(guid, 1..4))
            .prop_map(|(left, quantifier, ids)| format!("{left} {quantifier}:GuidEquals{{{}}}", ids.join(","))),
        (attribute, "TimeOfDay(Not)?Equals", 0..24_u8, 0..60_u8)
            .prop_map(|(left, operator, hour, minute)| format!("{left} {operator} '{hour:02}:{minute:02}'")),
        (attribute, any::<[u8; 4]>(), 0..=32_u8)
            .prop_map(|(left, [a, b, c, d], prefix)| format!("{left} IpMatch '{a}.{b}.{c}.{d}/{prefix}'")),
        (attribute, any::<bool>()).prop_map(|(left, flag)| format!("{left} BoolEquals {flag}")),
        (attribute, "(Not)?Exists").prop_map(|(attribute, exists)| format!("{exists} {attribute}")),
        "(Action|SubOperation)Matches *\\{'[a-z/*]{1,5}'(, '[a-z]{1,3}')?\\}",
    ];
    comparison.prop_recursive(5, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|term| format!("!({term})")),
            inner.clone().prop_map(|term| format!("({term})")),
            (prop::collection::vec(inner, 2..4), prop::sample::select(vec![" AND ", " && ", " or ", "||"])).prop_map(
                |(terms, joint)| {
                    let terms: Vec<_> = terms.into_iter().map(|term| format!("({term})")).collect();
                    terms.join(joint)
                }
            ),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_printed_condition_reads_back_as_itself(text in condition()) {
        let condition: Condition = text.parse().map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        let printed = condition.to_string();
        prop_assert_eq!(printed.parse::<Condition>(), Ok(condition), "{}", printed);
    }

    #[test]
    fn reading_never_panics(text in "[@\\[\\]{}()'\\\\!&|,:a-zA-Z0-9 é\u{212a}.-]{0,60}") {
        let _ = text.parse::<Condition>();
    }

    #[test]
    fn without_attributes_no_comparison_holds_nor_its_negation(name in "[a-z]{1,5}", value in "[a-z*?]{0,5}") {
        for operator in ["StringEquals", "StringNotEquals", "StringLike", "ForAllOfAllValues:StringNotLike"] {
            let text = format!("@Request[{name}] {operator} '{value}'");
            let plain: Condition = text.parse().unwrap();
            let negated: Condition = format!("!({text})").parse().unwrap();
            prop_assert!(!plain.holds(WRITE, &Attributes::NONE) && !negated.holds(WRITE, &Attributes::NONE));
        }
    }

    /// `*` and `?` against a plain recursive definition.
    #[test]
    fn like_agrees_with_its_definition(pattern in "[ab*?]{0,8}", text in "[abé]{0,10}") {
        let condition: Condition = format!("@Request[x] StringLike '{pattern}'").parse().unwrap();
        let attributes = Attributes::default().with(Source::Request, "x", Value::from(text.as_str()));
        let characters: Vec<char> = text.chars().collect();
        let pattern: Vec<char> = pattern.chars().collect();
        prop_assert_eq!(condition.holds(WRITE, &attributes), like(&pattern, &characters));
    }
}

fn like(pattern: &[char], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('*', rest)) => (0..=text.len()).any(|at| like(rest, &text[at..])),
        Some(('?', rest)) => !text.is_empty() && like(rest, &text[1..]),
        Some((wanted, rest)) => text.first() == Some(wanted) && like(rest, &text[1..]),
    }
}
