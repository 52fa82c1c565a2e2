use proptest::prelude::*;
use serde_json::json;

use super::*;

const SUBSCRIPTION: &str = "0b1f6471-1bf0-4dda-aec3-cb9272f09590";
const GROUP: &str = "/subscriptions/0b1f6471-1bf0-4dda-aec3-cb9272f09590/resourceGroups/Lab";

fn id(text: &str) -> ResourceId {
    ResourceId::parse(text).unwrap()
}

/// An id in the group `Lab`.
fn in_lab(rest: &str) -> ResourceId {
    id(&format!("{GROUP}/providers/{rest}"))
}

fn refusal(text: &str) -> (u16, String) {
    let error = ResourceId::parse(text).expect_err(text);
    (error.status, error.code.to_string())
}

fn path(text: &str) -> ArmPath {
    ArmPath::parse(&PathSegments::parse(text).unwrap()).unwrap()
}

fn collection(text: &str) -> Collection {
    match path(text) {
        ArmPath::Collection(collection) => collection,
        other => panic!("{text} is {other:?}"),
    }
}

#[test]
fn fixed_words_and_subscriptions_print_canonically_and_names_as_given() {
    let upper = SUBSCRIPTION.to_uppercase();
    let parsed = id(&format!("/SUBSCRIPTIONS/{upper}/resourcegroups/LaB/PROVIDERS/microsoft.x//Hubs/One/"));
    assert_eq!(
        parsed.to_string(),
        format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/LaB/providers/microsoft.x/Hubs/One")
    );
    assert_eq!(parsed.key(), parsed.to_string().to_lowercase());
    assert_eq!(parsed, in_lab("Microsoft.X/hubs/ONE"));
}

#[test]
fn the_parts_of_a_child_resource() {
    let rule = in_lab("Microsoft.X/hubs/one/rules/pypi");
    assert_eq!((rule.name(), &*rule.type_name(), rule.namespace()), ("pypi", "Microsoft.X/hubs/rules", "Microsoft.X"));
    assert_eq!((rule.types(), rule.names()), (vec!["hubs", "rules"], vec!["one", "pypi"]));
    assert_eq!((rule.subscription_id(), rule.resource_group()), (Some(SUBSCRIPTION), Some("Lab")));
    assert!(rule.is_resource() && !rule.is_extension() && !rule.is_resource_group());
}

#[test]
fn every_id_has_a_way_up_to_the_tenant() {
    let lock = in_lab("Microsoft.X/hubs/one/rules/pypi/providers/Microsoft.Authorization/locks/l");
    assert!(lock.is_extension());
    let way: Vec<String> = std::iter::successors(lock.parent(), ResourceId::parent).map(|id| id.to_string()).collect();
    let subscription = format!("/subscriptions/{SUBSCRIPTION}");
    assert_eq!(
        way,
        [
            format!("{GROUP}/providers/Microsoft.X/hubs/one/rules/pypi"),
            format!("{GROUP}/providers/Microsoft.X/hubs/one"),
            GROUP.to_owned(),
            subscription,
            "/".to_owned()
        ]
    );
    assert_eq!(lock.scope(), in_lab("Microsoft.X/hubs/one/rules/pypi"));
    assert_eq!(lock.resource_group_id(), Some(id(GROUP)));
}

#[test]
fn bare_scopes_are_ids_too() {
    let (tenant, subscription, group) = (id("/"), id(&format!("/subscriptions/{SUBSCRIPTION}")), id(GROUP));
    assert!(tenant.is_tenant() && subscription.is_subscription() && group.is_resource_group());
    assert_eq!((tenant.name(), subscription.name(), group.name()), ("", SUBSCRIPTION, "Lab"));
    assert_eq!(group.type_name(), "Microsoft.Resources/resourceGroups");
    assert_eq!((tenant.parent(), tenant.prefix()), (None, "/".to_owned()));
    assert_eq!(group.prefix(), format!("{}/", group.key()));
    let uuid = SUBSCRIPTION.parse().unwrap();
    assert_eq!(ResourceId::subscription(uuid), subscription);
    assert_eq!(ResourceId::group(uuid, "lab").unwrap(), group);
}

#[test]
fn tenant_and_subscription_level_resources_have_no_group() {
    let role = id("/providers/Microsoft.Authorization/roleDefinitions/r");
    assert_eq!((role.subscription_id(), role.resource_group(), role.parent()), (None, None, Some(id("/"))));
    let provider = id(&format!("/subscriptions/{SUBSCRIPTION}/providers/Microsoft.X/things/t"));
    assert_eq!((provider.subscription_id(), provider.resource_group()), (Some(SUBSCRIPTION), None));
}

#[test]
fn building_is_parsing() {
    let hub = id(GROUP).extension("Microsoft.X", "hubs", "one").unwrap();
    assert_eq!(hub, in_lab("Microsoft.X/hubs/one"));
    assert_eq!(hub.child("rules", "a b").unwrap(), in_lab("Microsoft.X/hubs/one/rules/a b"));
    assert!(hub.child("rules", "a/b").is_err() && hub.child("ru/les", "a").is_err() && hub.child("rules", "").is_err());
    assert!(hub.extension("No Namespace", "a", "b").is_err() && hub.extension("", "a", "b").is_err());
    assert!(id(GROUP).child("hubs", "one").is_err(), "a group has no children without a provider");
    let long = "n".repeat(260);
    let deep = (0..10).try_fold(hub, |id, _| id.child("t", &long));
    assert!(deep.is_err(), "a built id obeys the length limit of a parsed one");
}

#[test]
fn a_scope_ends_at_a_segment() {
    let hub = in_lab("Microsoft.X/hubs/one");
    assert!(hub.is_within(&id(&GROUP.to_uppercase().replace("PROVIDERS", "providers"))));
    assert!(hub.is_within(&id("/")) && hub.is_within(&hub) && id("/").is_within(&id("/")));
    assert!(!in_lab("Microsoft.X/hubs/one2").is_within(&hub));
    assert!(!id(&format!("{GROUP}2")).is_within(&id(GROUP)));
    assert!(!id(GROUP).is_within(&hub));
}

#[test]
fn spelling_changes_letters_and_nothing_else() {
    let raw = in_lab("microsoft.x/HUBS/One/RULES/Pypi");
    let respelled = raw.with_spelling("Microsoft.X", &["hubs", "rules"]);
    assert_eq!(respelled.to_string(), format!("{GROUP}/providers/Microsoft.X/hubs/One/rules/Pypi"));
    assert_eq!(raw.with_spelling("Microsoft.Y", &["projects"]).to_string(), raw.to_string());

    let asked = id(
        "/subscriptions/0b1f6471-1bf0-4dda-aec3-cb9272f09590/resourcegroups/LAB/providers/microsoft.x/HUBS/ONE/rules/Pypi",
    );
    let stored = in_lab("Microsoft.X/hubs/one");
    assert_eq!(
        asked.with_spelling_of(&stored).to_string(),
        format!("{GROUP}/providers/Microsoft.X/hubs/one/rules/Pypi")
    );
    assert_eq!(asked.with_spelling_of(&stored).key(), asked.key());
    assert_eq!(
        asked.with_spelling_of(&id(GROUP)).to_string(),
        format!("{GROUP}/providers/microsoft.x/HUBS/ONE/rules/Pypi")
    );
}

#[test]
fn foreign_letters_do_not_fold_into_ascii() {
    assert_ne!(in_lab("Microsoft.X/hubs/\u{212A}"), in_lab("Microsoft.X/hubs/k"));
    assert_ne!(in_lab("Microsoft.X/hubs/\u{130}"), in_lab("Microsoft.X/hubs/i"));
    assert_ne!(in_lab("Microsoft.X/hubs/\u{E9}"), in_lab("Microsoft.X/hubs/e\u{301}"), "nothing is normalised");
    assert!(ResourceId::parse("/\u{17F}ubscriptions/x").is_err(), "long s is no s");
}

#[test]
fn what_is_not_an_id_is_refused_with_a_fitting_code() {
    let bad_subscription = (400, "InvalidSubscriptionId".to_owned());
    for text in ["abc", "0b1f64711bf04ddaaec3cb9272f09590", "{0b1f6471-1bf0-4dda-aec3-cb9272f09590}", "..a"] {
        assert_eq!(refusal(&format!("/subscriptions/{text}")), bad_subscription, "{text}");
    }
    for group in ["a.", "a b", "a%20b", "a:b", &"g".repeat(91)] {
        let text = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}");
        assert_eq!(refusal(&text), (400, "InvalidResourceGroup".into()), "{group}");
    }
    for name in ["a%2fb", "a<b", "a&b", "a:b", "providers", "PROVIDERS", &"n".repeat(261)] {
        let text = format!("{GROUP}/providers/Microsoft.X/hubs/{name}");
        assert_eq!(refusal(&text), (400, "InvalidResourceName".into()), "{name}");
    }
    assert_eq!(refusal(&format!("{GROUP}/providers/Micro$oft/hubs/a")), (404, "InvalidResourceNamespace".into()));
    for kind in ["hübs", "hu bs", "providers"] {
        let text = format!("{GROUP}/providers/Microsoft.X/{kind}/a");
        assert_eq!(refusal(&text), (400, "InvalidResourceType".into()), "{kind}");
    }
    for text in ["", "subscriptions", "/subscriptions", "/a/b", GROUP.trim_end_matches("/Lab")] {
        assert_eq!(refusal(text), (400, "InvalidResourceId".into()), "{text}");
    }
    assert_eq!(refusal(&format!("{GROUP}/providers/Microsoft.X/hubs")).0, 400);
    for text in [format!("{GROUP}/../Other"), format!("{GROUP}\0"), format!("{GROUP}/providers/Microsoft.X/hubs/a\\b")]
    {
        assert_eq!(refusal(&text), (400, "InvalidRequestUri".into()), "{text}");
    }
}

#[test]
fn ids_travel_through_serde_as_text() {
    let hub = in_lab("Microsoft.X/hubs/one");
    assert_eq!(serde_json::to_value(&hub).unwrap(), json!(hub.to_string()));
    assert_eq!(serde_json::from_value::<ResourceId>(json!(hub.to_string())).unwrap(), hub);
    assert!(serde_json::from_value::<ResourceId>(json!("/nowhere")).is_err());
}

#[test]
fn an_odd_tail_is_a_collection() {
    let hubs = collection(&format!("{GROUP}/providers/Microsoft.X/Hubs"));
    assert_eq!((hubs.scope(), &hubs.parent(), &*hubs.type_name()), (&id(GROUP), &id(GROUP), "Microsoft.X/Hubs"));
    assert_eq!(hubs.prefix(), format!("{}/providers/microsoft.x/hubs/", id(GROUP).key()));
    assert_eq!(hubs.member("one").unwrap(), in_lab("Microsoft.X/hubs/one"));

    let rules = collection(&format!("{GROUP}/providers/Microsoft.X//hubs/one/rules/"));
    assert_eq!((rules.types(), rules.names()), (vec!["hubs", "rules"], vec!["one"]));
    assert_eq!((rules.scope(), rules.parent()), (&id(GROUP), in_lab("Microsoft.X/hubs/one")));
    assert_eq!(rules.prefix(), format!("{}/rules/", in_lab("Microsoft.X/hubs/one").key()));
    assert_eq!(rules.member("pypi").unwrap(), in_lab("Microsoft.X/hubs/one/rules/pypi"));

    let tenant = collection("/providers/Microsoft.Authorization/roleDefinitions");
    assert_eq!((tenant.scope(), &*tenant.prefix()), (&id("/"), "/providers/microsoft.authorization/roledefinitions/"));

    let locks = collection(&format!("{GROUP}/providers/Microsoft.X/hubs/one/providers/Microsoft.Authorization/locks"));
    assert_eq!((locks.scope(), locks.namespace()), (&in_lab("Microsoft.X/hubs/one"), "Microsoft.Authorization"));
}

#[test]
fn an_action_is_the_last_word_of_an_odd_tail() {
    let target = |text: &str| path(text).split_action().map(|(id, action)| (id, action.to_owned()));
    assert_eq!(
        target(&format!("{GROUP}/providers/Microsoft.X/hubs/one/listKeys")),
        Some((in_lab("Microsoft.X/hubs/one"), "listKeys".into()))
    );
    assert_eq!(target(&format!("{GROUP}/exportTemplate")), Some((id(GROUP), "exportTemplate".into())));
    assert_eq!(
        target(&format!("/subscriptions/{SUBSCRIPTION}/providers/Microsoft.X/register")),
        Some((id(&format!("/subscriptions/{SUBSCRIPTION}")), "register".into()))
    );
    assert_eq!(target(&format!("{GROUP}/providers/Microsoft.X/hubs/one")), None);
    assert_eq!(target(&format!("{GROUP}/deployments/d/operations")), None);
}

#[test]
fn other_words_hang_under_their_scope() {
    for (text, scope, words) in [
        ("/subscriptions".to_owned(), "/", vec!["subscriptions"]),
        (format!("/subscriptions/{SUBSCRIPTION}/resourcegroups"), "/subscriptions/{S}", vec!["resourcegroups"]),
        (format!("/subscriptions/{SUBSCRIPTION}/tagNames/env"), "/subscriptions/{S}", vec!["tagNames", "env"]),
        (format!("{GROUP}/providers"), GROUP, vec!["providers"]),
        (format!("{GROUP}/providers/Microsoft.X"), GROUP, vec!["providers", "Microsoft.X"]),
        (format!("{GROUP}/deployments/d/operations"), GROUP, vec!["deployments", "d", "operations"]),
        ("/healthz".to_owned(), "/", vec!["healthz"]),
    ] {
        let expected = ArmPath::Under {
            scope: id(&scope.replace("{S}", SUBSCRIPTION)),
            rest: words.into_iter().map(str::to_owned).collect(),
        };
        assert_eq!(path(&text), expected, "{text}");
    }
}

/// Any id that can exist.
pub(crate) fn any_id() -> impl Strategy<Value = ResourceId> {
    let root = prop_oneof![
        Just(ResourceId::tenant()),
        any::<u128>().prop_map(|bits| ResourceId::subscription(Uuid::from_u128(bits))),
        (any::<u128>(), "[a-zA-Z0-9éK_().-]{0,12}[a-zA-Z0-9]").prop_map(|(bits, group)| ResourceId::group(
            Uuid::from_u128(bits),
            &group
        )
        .unwrap()),
    ];
    let pair = ("[a-zA-Z][a-zA-Z0-9]{0,8}", "[a-zA-Z0-9éK ._~-]{0,10}[a-zA-Z0-9]")
        .prop_filter("a reserved word", |(kind, name)| {
            !grammar::is_word(kind, "providers") && !grammar::is_word(name, "providers")
        });
    let part = ("[A-Z][a-z]{1,8}\\.[A-Za-z]{1,8}", pair.clone(), prop::collection::vec(pair, 0..3));
    (root, prop::collection::vec(part, 0..4)).prop_map(|(root, parts)| {
        parts.into_iter().fold(root, |scope, (namespace, (kind, name), children)| {
            let resource = scope.extension(&namespace, &kind, &name).unwrap();
            children.into_iter().fold(resource, |parent, (kind, name)| parent.child(&kind, &name).unwrap())
        })
    })
}

/// The same text with the case of some ASCII letters turned.
fn turned(text: &str, turns: &[bool]) -> String {
    let turn = |(c, turn): (char, &bool)| match (turn, c.is_ascii_lowercase()) {
        (false, _) => c,
        (true, true) => c.to_ascii_uppercase(),
        (true, false) => c.to_ascii_lowercase(),
    };
    text.chars().zip(turns.iter().cycle()).map(turn).collect()
}

proptest! {
    #[test]
    fn what_is_printed_parses_to_the_same(id in any_id()) {
        let text = id.to_string();
        let again = ResourceId::parse(&text).unwrap();
        prop_assert_eq!(again.to_string(), text);
        prop_assert_eq!(again, id);
    }

    #[test]
    fn the_key_is_an_id_with_itself_for_a_key(id in any_id()) {
        let of_key = ResourceId::parse(id.key()).unwrap();
        prop_assert_eq!(of_key.key(), id.key());
        prop_assert_eq!(of_key, id);
    }

    #[test]
    fn case_does_not_matter(id in any_id(), turns in prop::collection::vec(any::<bool>(), 1..40)) {
        let other = ResourceId::parse(&turned(&id.to_string(), &turns)).unwrap();
        prop_assert_eq!(&other, &id);
        prop_assert_eq!(other.with_spelling_of(&id).to_string(), id.to_string());
    }

    #[test]
    fn everything_lies_within_its_ancestors(id in any_id(), other in any_id()) {
        for ancestor in std::iter::successors(Some(id.clone()), ResourceId::parent) {
            prop_assert!(id.is_within(&ancestor));
            prop_assert_eq!(id.key() == ancestor.key(), ancestor.is_within(&id));
        }
        prop_assert_eq!(id.is_within(&other), id == other || other.is_tenant() || id.key().starts_with(&other.prefix()));
    }

    #[test]
    fn a_collection_knows_its_members(id in any_id().prop_filter("a resource", ResourceId::is_resource)) {
        let text = id.to_string();
        let (list, name) = text.rsplit_once('/').unwrap();
        let segments = PathSegments::of_plain_text(list).unwrap();
        let ArmPath::Collection(list) = ArmPath::parse(&segments).unwrap() else { panic!("{list}") };
        prop_assert!(id.key().starts_with(&list.prefix()));
        prop_assert_eq!(list.type_name(), id.type_name());
        prop_assert_eq!(Some(list.parent()), id.parent());
        prop_assert_eq!(list.member(name).unwrap(), id);
    }

    #[test]
    fn arbitrary_paths_never_panic_and_print_what_they_mean(raw in "(/(subscriptions|providers|resourcegroups|[a-zA-Z.%2é]{0,6})){0,12}") {
        if let Ok(segments) = PathSegments::parse(&raw)
            && let Ok(ArmPath::Resource(id)) = ArmPath::parse(&segments)
        {
            prop_assert_eq!(ResourceId::parse(&id.to_string()).unwrap(), id);
        }
    }
}
