//! Policies: what rules say, where they hold, and what comes of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

use bastide_access::policy::{
    Assignment, Catalogue, Change, Compliance, Definition, Exemption, Initiative, Judgement, Policies, Subject, Target,
};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const SUBSCRIPTION: &str = "/subscriptions/s1";
const GROUP: &str = "/subscriptions/s1/resourceGroups/ai";
const HUB: &str = "/subscriptions/s1/resourceGroups/ai/providers/Microsoft.MachineLearningServices/workspaces/hub";
const WORKSPACE: &str = "Microsoft.MachineLearningServices/workspaces";

/// Everything in force, and a clock.
#[derive(Default)]
struct World {
    catalogue: Catalogue,
    assignments: Vec<Assignment>,
    exemptions: Vec<Exemption>,
    under: Option<String>,
    has_no_group: bool,
    day: i8,
}

impl World {
    fn define(mut self, name: &str, properties: &Value) -> Self {
        let id = format!("{SUBSCRIPTION}/providers/Microsoft.Authorization/policyDefinitions/{name}");
        self.catalogue.define(Definition::read(&id, map(properties)).unwrap());
        self
    }

    fn rule(self, name: &str, condition: Value, then: Value) -> Self {
        self.define(name, &json!({"mode": "All", "policyRule": {"if": condition, "then": then}}))
    }

    fn assign(mut self, scope: &str, policy: &str, more: Value) -> Self {
        let id = format!("{scope}/providers/Microsoft.Authorization/policyAssignments/a{}", self.assignments.len());
        let mut properties = json!({"policyDefinitionId": policy_id(policy)});
        properties.as_object_mut().unwrap().extend(map(&more).clone());
        let assignment = Assignment::read(&id, scope, map(&properties)).unwrap();
        self.catalogue.check_assignment(&assignment).unwrap();
        self.assignments.push(assignment);
        self
    }

    fn exempt(mut self, scope: &str, more: Value) -> Self {
        let id = format!("{scope}/providers/Microsoft.Authorization/policyExemptions/e");
        let mut properties =
            json!({"policyAssignmentId": self.assignments[0].id.to_uppercase(), "exemptionCategory": "waiver"});
        properties.as_object_mut().unwrap().extend(map(&more).clone());
        self.exemptions.push(Exemption::read(&id, scope, map(&properties)).unwrap());
        self
    }

    fn with<T>(&self, resource: &Value, ask: impl Fn(&Policies, &Subject<'_>) -> T) -> T {
        let policies = Policies::compile(&self.catalogue, self.assignments.clone(), self.exemptions.clone()).unwrap();
        let group = json!({"id": GROUP, "name": "ai", "location": "westeurope", "tags": {"owner": "mei"}});
        let subscription = json!({"id": SUBSCRIPTION, "subscriptionId": "s1", "tags": {}});
        let key = resource["id"].as_str().unwrap().to_lowercase();
        let now: Timestamp = format!("2026-11-{:02}T12:00:00Z", self.day.max(1)).parse().unwrap();
        let subject = Subject {
            key: &key,
            resource,
            is_indexed: resource.get("location").is_some() && !resource["type"].as_str().unwrap().ends_with("Groups"),
            under: self.under.as_deref(),
            group: (!self.has_no_group).then_some(&group),
            subscription: Some(&subscription),
            api_version: "2024-10-01",
            caller: &json!({"idtyp": "user"}),
            now,
        };
        ask(&policies, &subject)
    }

    fn denials(&self, resource: &Value) -> Vec<String> {
        self.with(resource, |policies, subject| {
            policies.judge(subject).denials.iter().map(|finding| finding.definition.name.clone()).collect()
        })
    }

    fn denies(&self, resource: &Value) -> bool {
        !self.denials(resource).is_empty()
    }

    fn changes(&self, resource: &Value) -> Vec<Change> {
        self.with(resource, |policies, subject| {
            let adjustment = policies.adjust(subject);
            assert!(adjustment.refusals.is_empty(), "{:?}", adjustment.refusals);
            adjustment.changes
        })
    }
}

#[test]
fn a_rule_denies_where_it_is_assigned_and_below() {
    let world = World::default().assign(GROUP, "allowed locations", locations(&["westeurope"]));
    assert!(!world.denies(&hub(json!({}))));
    let elsewhere = with(hub(json!({})), "location", json!("eastus"));
    assert!(world.denies(&elsewhere));
    let other_group = with(elsewhere, "id", json!(HUB.replace("/ai/", "/aim/")));
    assert!(!world.denies(&other_group), "a group whose name begins like another one is another one");
}

#[test]
fn what_holds_at_a_hub_holds_for_its_projects() {
    let mut world =
        World::default().assign(HUB, "require a tag", json!({"parameters": {"tagName": {"value": "cost"}}}));
    let project = with(hub(json!({})), "id", json!(format!("{GROUP}x/providers/{WORKSPACE}/project")));
    assert!(!world.denies(&project));
    world.under = Some(HUB.to_lowercase());
    assert!(world.denies(&project), "T2");
    assert!(!world.denies(&with(project, "tags", json!({"Cost": "7"}))));
}

#[test]
fn not_scopes_and_modes_leave_out_what_they_say() {
    let tag = json!({"parameters": {"tagName": {"value": "cost"}}, "notScopes": [format!("{GROUP}/")]});
    let world = World::default().assign(SUBSCRIPTION, "require a tag", tag);
    assert!(!world.denies(&hub(json!({}))));
    let world =
        World::default().assign(SUBSCRIPTION, "require a tag", json!({"parameters": {"tagName": {"value": "cost"}}}));
    assert!(world.denies(&hub(json!({}))));
    let rule = json!({"id": format!("{HUB}/outboundRules/pypi"), "type": format!("{WORKSPACE}/outboundRules")});
    assert!(!world.denies(&rule), "what has no tags cannot need one");
}

#[test]
fn selectors_of_an_assignment_say_which_resources_it_is_about() {
    let rule = format!("{HUB}/outboundRules/pypi");
    let rule = json!({"id": rule, "type": format!("{WORKSPACE}/outboundRules")});
    let group = json!({"id": GROUP, "type": "Microsoft.Resources/subscriptions/resourceGroups", "location": "West US"});
    let lock = format!("{SUBSCRIPTION}/providers/Microsoft.Authorization/locks/l");
    let lock = json!({"id": lock, "type": "Microsoft.Authorization/locks"});
    for (selectors, is_denied) in [
        (json!([]), [true, true, true]),
        (json!([{"kind": "resourceLocation", "in": ["West US", "eastus"]}]), [false, false, true]),
        (json!([{"kind": "resourceLocation", "notIn": ["westus"]}]), [true, true, false]),
        (json!([{"kind": "ResourceType", "in": [WORKSPACE.to_uppercase()]}]), [true, false, false]),
        (
            json!([{"kind": "resourceType", "notIn": ["a/b"]}, {"kind": "resourceLocation", "in": ["WestEurope"]}]),
            [true, false, false],
        ),
    ] {
        let more = json!({"resourceSelectors": [{"name": "some", "selectors": selectors}]});
        let world = World::default().rule("no", always(), json!({"effect": "deny"})).assign(SUBSCRIPTION, "no", more);
        assert_eq!([&hub(json!({})), &rule, &group].map(|resource| world.denies(resource)), is_denied, "{selectors}");
    }
    let places = json!([
        {"selectors": [{"kind": "resourceWithoutLocation", "in": ["subscriptionLevelResources"]}]},
        {"selectors": [{"kind": "resourceLocation", "in": ["westus"]}]},
    ]);
    let world = World::default().rule("no", always(), json!({"effect": "deny"}));
    let world = world.assign(SUBSCRIPTION, "no", json!({"resourceSelectors": places}));
    assert!(world.denies(&group), "one of several is enough");
    assert!(!world.denies(&hub(json!({}))));
    let at_subscription = World { has_no_group: true, ..world };
    assert!(at_subscription.denies(&lock));
}

#[test]
fn an_override_gives_rules_another_effect() {
    let id = format!("{SUBSCRIPTION}/providers/Microsoft.Authorization/policySetDefinitions/two");
    let member =
        |reference: &str| json!({"policyDefinitionId": policy_id("no"), "policyDefinitionReferenceId": reference});
    let properties = json!({"policyDefinitions": [member("one"), member("two")]});
    let effect = json!({"effect": {"type": "String", "defaultValue": "deny", "allowedValues": ["deny", "audit"]}});
    let rule = json!({"if": always(), "then": {"effect": "[parameters('effect')]"}});
    let definition = json!({"mode": "All", "parameters": effect, "policyRule": rule});
    let assign = |overrides: Value| {
        let mut world = World::default().define("no", &definition);
        world.catalogue.define_initiative(Initiative::read(&id, map(&properties)).unwrap());
        let more = json!({"policyDefinitionId": id, "overrides": overrides});
        let assignment = Assignment::read("/a", SUBSCRIPTION, map(&more))?;
        world.catalogue.check_assignment(&assignment)?;
        world.assignments.push(assignment);
        Ok(world)
    };
    let effect =
        |value: &str, selectors: Value| json!({"kind": "policyEffect", "value": value, "selectors": selectors});
    let one = json!([{"kind": "policyDefinitionReferenceId", "in": ["ONE"]}]);
    let west = json!([{"kind": "resourceLocation", "in": ["westus"]}]);
    for (overrides, denials) in [
        (json!([]), 2),
        (json!([effect("audit", one.clone())]), 1),
        (json!([effect("Audit", json!([]))]), 0),
        (json!([effect("audit", west.clone())]), 2),
        (json!([effect("deny", one.clone()), effect("audit", json!([]))]), 1),
    ] {
        let world = assign(overrides.clone()).unwrap();
        assert_eq!(world.denials(&hub(json!({}))).len(), denials, "{overrides}");
    }
    let unknown = json!([{"kind": "policyDefinitionReferenceId", "in": ["three"]}]);
    for refused in [
        json!({"kind": "policyEffect", "value": "modify"}),
        json!({"kind": "policyEffect", "value": "disabled"}),
        json!({"kind": "definitionVersion", "value": "1.0.0"}),
        json!({"kind": "policyEffect", "value": "audit", "selectors": unknown}),
        json!({"kind": "policyEffect", "value": "audit", "selectors": [{"kind": "resourceType", "in": ["a"], "notIn": ["b"]}]}),
        json!({"kind": "policyEffect", "value": "audit", "selectors": [{"kind": "mood", "in": ["a"]}]}),
    ] {
        let error: bastide_access::policy::PolicyError = assign(json!([refused])).err().expect("refused");
        assert_eq!(error.code, "InvalidPolicyAssignment", "{refused}: {error}");
        assert!(error.place.starts_with("properties.overrides[0]"), "{}", error.place);
    }
}

#[test]
fn an_assignment_that_is_not_enforced_only_tells() {
    let tag = json!({"parameters": {"tagName": {"value": "cost"}}, "enforcementMode": "DoNotEnforce"});
    let world = World::default().assign(SUBSCRIPTION, "require a tag", tag);
    assert!(!world.denies(&hub(json!({}))));
    assert_eq!(states(&world, &hub(json!({}))), [Compliance::NonCompliant]);
}

#[test]
fn an_exemption_ends_on_its_day() {
    let tag = json!({"parameters": {"tagName": {"value": "cost"}}});
    let mut world = World::default()
        .assign(SUBSCRIPTION, "require a tag", tag)
        .exempt(GROUP, json!({"expiresOn": "2026-11-10T12:00:00Z"}));
    world.day = 9;
    assert!(!world.denies(&hub(json!({}))));
    assert_eq!(states(&world, &hub(json!({}))), [Compliance::Exempt]);
    world.day = 10;
    assert!(world.denies(&hub(json!({}))));
    assert_eq!(states(&world, &hub(json!({}))), [Compliance::NonCompliant]);
}

#[test]
fn an_exemption_may_be_for_some_resources() {
    let tag = json!({"parameters": {"tagName": {"value": "cost"}}});
    let selectors = json!([{"selectors": [{"kind": "resourceLocation", "in": ["westus"]}]}]);
    let world = World::default().assign(SUBSCRIPTION, "require a tag", tag);
    let world = world.exempt(GROUP, json!({"resourceSelectors": selectors}));
    assert!(world.denies(&hub(json!({}))));
    assert!(!world.denies(&with(hub(json!({})), "location", json!("westus"))));
}

#[test]
fn an_exemption_may_be_from_one_rule_of_an_initiative() {
    let world = World::default()
        .assign(SUBSCRIPTION, "Baseline of AI hubs", json!({"parameters": {"effect": {"value": "Deny"}}}))
        .exempt(HUB, json!({"policyDefinitionReferenceIds": ["approvedOutbound", "CustomerManagedKey"]}));
    assert_eq!(world.denials(&hub(json!({}))), ["438c38d2-3772-465a-a9cc-7a6666a275ce"]);
}

#[test]
fn hubs_are_kept_behind_their_wall() {
    let deny = json!({"parameters": {"effect": {"value": "Deny"}}});
    let world = World::default().assign(SUBSCRIPTION, "Baseline of AI hubs", deny);
    assert_eq!(world.denials(&hub(json!({}))).len(), 3);
    let good = json!({
        "managedNetwork": {"isolationMode": "allowOnlyApprovedOutbound"},
        "publicNetworkAccess": "Disabled",
        "encryption": {"status": "Enabled"},
    });
    assert_eq!(world.denials(&hub(good)), Vec::<String>::new());
}

#[test]
fn destinations_and_sizes_are_those_allowed() {
    let world = World::default()
        .assign(
            HUB,
            "allowed destinations",
            json!({"parameters": {"allowedDestinations": {"value": ["*.pypi.org", "pypi.org"]}}}),
        )
        .assign(HUB, "allowed sizes", json!({"parameters": {"allowedSizes": {"value": ["Standard_DS3_v2"]}}}));
    let rule = |destination: &str, category: &str| {
        json!({
            "id": format!("{HUB}/outboundRules/r"), "type": format!("{WORKSPACE}/outboundRules"), "name": "r",
            "properties": {"type": "FQDN", "category": category, "destination": destination},
        })
    };
    assert!(!world.denies(&rule("FILES.pypi.org", "UserDefined")));
    assert!(!world.denies(&rule("pypi.org", "UserDefined")));
    assert!(world.denies(&rule("pypi.org.evil.example", "UserDefined")));
    assert!(!world.denies(&rule("needed.example", "Required")));
    let compute = |size: &str| {
        json!({
            "id": format!("{HUB}/computes/c"), "type": format!("{WORKSPACE}/computes"), "name": "c",
            "properties": {"computeType": "ComputeInstance", "properties": {"vmSize": size}},
        })
    };
    assert!(!world.denies(&compute("STANDARD_DS3_v2")));
    assert!(world.denies(&compute("Standard_ND96")));
}

#[test]
fn a_list_is_also_looked_at_as_a_whole() {
    let account = |properties: Value| {
        let id = format!("{GROUP}/providers/Microsoft.Storage/storageAccounts/a");
        json!({"id": id, "type": "Microsoft.Storage/storageAccounts", "location": "westus", "properties": properties})
    };
    let rules = "Microsoft.Storage/storageAccounts/networkAcls.IPRules";
    let has_rules = json!({"allOf": [
        {"field": rules, "exists": true},
        {"value": format!("[length(field('{rules}'))]"), "greater": 1},
    ]});
    let world = World::default().rule("two", has_rules, json!({"effect": "deny"})).assign(GROUP, "two", json!({}));
    let with = |rules: Value| world.denies(&account(json!({"networkAcls": {"ipRules": rules}})));
    assert!(!world.denies(&account(json!({}))) && !with(json!([])) && !with(json!([{"value": "1.1.1.1"}])));
    assert!(with(json!([{"value": "1.1.1.1"}, {"value": "2.2.2.2"}])));
}

#[test]
fn lists_are_looked_at_element_by_element() {
    let connections = format!("{WORKSPACE}/privateEndpointConnections[*]");
    let status = format!("{connections}.privateLinkServiceConnectionState.status");
    let all_approved = json!({"field": status, "equals": "Approved"});
    let some_approved = json!({"not": {"field": status, "notEquals": "Approved"}});
    let two_pending = json!({
        "count": {"field": connections, "where": {"field": status, "equals": "Pending"}}, "greaterOrEquals": 2,
    });
    let by_value = json!({
        "count": {
            "value": ["Approved", "Pending"], "name": "wanted",
            "where": {
                "count": {"field": connections, "where": {"value": format!("[current('{status}')]"), "equals": "[current('wanted')]"}},
                "greater": 0,
            },
        },
        "equals": 2,
    });
    let of_element = json!({
        "count": {"field": connections, "where": {"value": format!("[first(field('{status}'))]"), "equals": "Pending"}},
        "equals": 1,
    });
    let of = |statuses: &[&str]| {
        let list: Vec<Value> =
            statuses.iter().map(|status| json!({"privateLinkServiceConnectionState": {"status": status}})).collect();
        hub(json!({"privateEndpointConnections": list}))
    };
    for (condition, statuses, holds) in [
        (&all_approved, &["Approved", "approved"][..], true),
        (&all_approved, &["Approved", "Pending"], false),
        (&all_approved, &[], true),
        (&some_approved, &["Approved", "Pending"], true),
        (&some_approved, &["Pending"], false),
        (&two_pending, &["Pending", "Pending"], true),
        (&two_pending, &["Pending", "Approved"], false),
        (&by_value, &["Pending", "Approved"], true),
        (&by_value, &["Pending", "Pending"], false),
        (&of_element, &["Approved", "Pending"], true),
    ] {
        let world =
            World::default().rule("r", condition.clone(), json!({"effect": "deny"})).assign(HUB, "r", json!({}));
        assert_eq!(world.denies(&of(statuses)), holds, "{condition} {statuses:?}");
    }
}

#[test]
fn tags_are_added_replaced_removed_and_inherited() {
    let tag =
        |name: &str, value: &str| json!({"parameters": {"tagName": {"value": name}, "tagValue": {"value": value}}});
    let inherit =
        World::default().assign(SUBSCRIPTION, "inherit a tag", json!({"parameters": {"tagName": {"value": "owner"}}}));
    assert_eq!(inherit.changes(&hub(json!({}))), [set("owner", "mei")]);
    assert_eq!(inherit.changes(&with(hub(json!({})), "tags", json!({"Owner": "mei"}))), []);
    assert_eq!(inherit.changes(&with(hub(json!({})), "tags", json!({"owner": "tomas"}))), [set("owner", "mei")]);
    let nothing_there =
        World::default().assign(SUBSCRIPTION, "inherit a tag", json!({"parameters": {"tagName": {"value": "x"}}}));
    assert_eq!(nothing_there.changes(&hub(json!({}))), []);
    let add = World::default().assign(SUBSCRIPTION, "add a tag", tag("stage", "dev"));
    assert_eq!(add.changes(&hub(json!({}))), [set("stage", "dev")]);
    assert_eq!(add.changes(&with(hub(json!({})), "tags", json!({"stage": "prod"}))), []);
    let remove =
        json!({"effect": "modify", "details": {"operations": [{"operation": "remove", "field": "tags['tmp']"}]}});
    let remove =
        World::default().rule("r", json!({"field": "tags", "containsKey": "tmp"}), remove).assign(HUB, "r", json!({}));
    let gone = Change { target: Target::Tag("tmp".to_owned()), value: None };
    assert_eq!(remove.changes(&with(hub(json!({})), "tags", json!({"tmp": "1"}))), [gone]);
    assert_eq!(remove.changes(&hub(json!({}))), []);
}

#[test]
fn properties_that_may_be_are_changed() {
    let world = World::default().assign(SUBSCRIPTION, "a10ee784-7409-4941-b091-663697637c0f", json!({}));
    let path = ["properties", "publicNetworkAccess"].map(str::to_owned).to_vec();
    let closed = Change { target: Target::Property(path), value: Some(json!("Disabled")) };
    assert_eq!(world.changes(&hub(json!({"publicNetworkAccess": "Enabled"}))), [closed]);
    assert_eq!(world.changes(&hub(json!({"publicNetworkAccess": "Disabled"}))), []);
}

#[test]
fn an_append_does_not_replace() {
    let field = format!("{WORKSPACE}/ipAllowlist[*]");
    let then = json!({"effect": "append", "details": [
        {"field": "tags['by']", "value": "[requestContext().identity.idtyp]"},
        {"field": field, "value": "10.0.0.0/8"},
    ]});
    let world =
        World::default().rule("r", json!({"field": "type", "equals": WORKSPACE}), then).assign(HUB, "r", json!({}));
    let path = ["properties", "ipAllowlist"].map(str::to_owned).to_vec();
    let listed = Change { target: Target::List(path), value: Some(json!("10.0.0.0/8")) };
    assert_eq!(world.changes(&hub(json!({}))), [set("by", "user"), listed]);
    let refused = world.with(&with(hub(json!({})), "tags", json!({"by": "me"})), |policies, subject| {
        policies.adjust(subject).refusals.into_iter().filter_map(|finding| finding.reason).collect::<Vec<_>>()
    });
    assert!(refused[0].contains("another one"), "{refused:?}");
}

#[test]
fn two_policies_at_odds_refuse_unless_one_gives_in() {
    let setting = |value: &str, conflict: &str| {
        json!({"effect": "modify", "details": {"conflictEffect": conflict, "operations": [
            {"operation": "addOrReplace", "field": "tags['stage']", "value": value},
        ]}})
    };
    let always = json!({"field": "type", "exists": true});
    let outcome = |one: &str, other: &str| {
        let world = World::default()
            .rule("one", always.clone(), setting("dev", one))
            .rule("other", always.clone(), setting("prod", other))
            .assign(SUBSCRIPTION, "one", json!({}))
            .assign(SUBSCRIPTION, "other", json!({}));
        world.with(&hub(json!({})), |policies, subject| {
            let adjustment = policies.adjust(subject);
            (adjustment.refusals.len(), adjustment.changes)
        })
    };
    assert_eq!(outcome("deny", "deny").0, 1);
    assert_eq!(outcome("audit", "deny"), (0, vec![set("stage", "prod")]));
    assert_eq!(outcome("deny", "audit"), (0, vec![set("stage", "dev")]));
    assert_eq!(outcome("audit", "audit"), (0, vec![]));
}

#[test]
fn a_rule_that_cannot_be_evaluated_counts_as_broken() {
    let broken = json!({"value": "[first(createArray())[3]]", "equals": 1});
    let world = World::default().rule("r", broken, json!({"effect": "deny"})).assign(HUB, "r", json!({}));
    world.with(&hub(json!({})), |policies, subject| {
        let Judgement { denials, .. } = policies.judge(subject);
        assert!(denials[0].reason.as_deref().unwrap().contains("cannot be evaluated"), "{denials:?}");
    });
    // A field of a computed name that is not one.
    let unknown = json!({"field": "[concat('tags', 'x')]", "exists": true});
    let world = World::default().rule("r", unknown, json!({"effect": "deny"})).assign(HUB, "r", json!({}));
    assert!(world.denies(&hub(json!({}))));
}

#[test]
fn a_finding_says_what_was_compared() {
    let world = World::default().assign(
        GROUP,
        "allowed locations",
        json!({
            "displayName": "EU only",
            "parameters": {"listOfAllowedLocations": {"value": ["westeurope"]}},
            "nonComplianceMessages": [{"message": "Data stays in the EU."}],
        }),
    );
    world.with(&with(hub(json!({})), "location", json!("eastus")), |policies, subject| {
        let judgement = policies.judge(subject);
        let finding = &judgement.denials[0];
        assert_eq!(finding.message, Some("Data stays in the EU."));
        let violation = finding.violation();
        assert_eq!(violation["policyDefinitionId"], policy_id("allowed locations"));
        assert_eq!(violation["policyAssignmentDisplayName"], "EU only");
        assert_eq!(violation["policyDefinitionEffect"], "deny");
        assert_eq!(
            violation["evaluationDetails"]["evaluatedExpressions"][0],
            json!({
                "result": "True", "expressionKind": "Field", "expression": "location", "path": "location",
                "expressionValue": "eastus", "targetValue": ["westeurope"], "operator": "NotIn",
            })
        );
    });
}

#[test]
fn a_resource_has_states_of_the_rules_that_are_about_it() {
    let world = World::default()
        .assign(SUBSCRIPTION, "Baseline of AI hubs", json!({}))
        .assign(SUBSCRIPTION, "allowed locations", locations(&["westeurope"]))
        .assign(SUBSCRIPTION, "allowed sizes", json!({"parameters": {"allowedSizes": {"value": []}}}));
    let closed = hub(json!({"publicNetworkAccess": "Disabled"}));
    let expected = [Compliance::NonCompliant, Compliance::Compliant, Compliance::NonCompliant, Compliance::Compliant];
    assert_eq!(states(&world, &closed), expected, "none of the policy for computes");
    let audits = world.with(&closed, |policies, subject| policies.judge(subject).audits.len());
    assert_eq!(audits, 2);
}

#[test]
fn auditing_whether_a_resource_itself_is_as_it_should_be_is_understood() {
    let world = World::default().assign(SUBSCRIPTION, "7f40cee6-e933-4d0f-a782-b96615e0f4a6", json!({}));
    assert_eq!(states(&world, &hub(json!({}))), [Compliance::NonCompliant]);
    assert_eq!(states(&world, &hub(json!({"encryption": {"status": "Enabled"}}))), [Compliance::Compliant]);
}

#[test]
fn definitions_that_would_not_do_what_they_say_are_refused() {
    let always = json!({"field": "type", "exists": true});
    let deny = json!({"effect": "deny"});
    let rule = |condition: &Value, then: &Value| json!({"policyRule": {"if": condition, "then": then}});
    let deployed = json!({"effect": "deployIfNotExists", "details": {"type": "x", "deployment": {}}});
    let elsewhere = json!({"effect": "auditIfNotExists", "details": {"type": "Microsoft.Insights/diagnosticSettings", "existenceCondition": always}});
    let unmodifiable = json!({"effect": "modify", "details": {"operations": [
        {"operation": "addOrReplace", "field": format!("{WORKSPACE}/keyVault"), "value": "x"},
    ]}});
    let mut nested = always.clone();
    for _ in 0..40 {
        nested = json!({"not": nested});
    }
    for (properties, code, words) in [
        (json!({}), "InvalidPolicyRule", "has a rule"),
        (rule(&json!({"field": "typo", "equals": 1}), &deny), "InvalidPolicyAlias", "doesn't exist as an alias"),
        (rule(&json!({"field": "name", "equal": 1}), &deny), "InvalidPolicyRule", "not an operator"),
        (rule(&json!({"field": "name"}), &deny), "InvalidPolicyRule", "no operator"),
        (rule(&json!({"equals": 1}), &deny), "InvalidPolicyRule", "'field', 'value' and 'count'"),
        (rule(&json!({"allOf": []}), &deny), "InvalidPolicyRule", "at least one"),
        (rule(&json!({"not": always, "field": "name"}), &deny), "InvalidPolicyRule", "beside"),
        (rule(&json!({"field": "name", "in": "x"}), &deny), "InvalidPolicyRule", "take a list"),
        (rule(&json!({"value": "[parameters('x')]", "equals": 1}), &deny), "InvalidPolicyRule", "'x' is not declared"),
        (rule(&json!({"value": "[reference('x')]", "equals": 1}), &deny), "InvalidPolicyRule", "cannot be used"),
        (rule(&json!({"value": "[field('A.B/c/d')]", "equals": 1}), &deny), "InvalidPolicyAlias", "alias"),
        (rule(&nested, &deny), "InvalidPolicyRule", "deeper"),
        (rule(&always, &json!({"effect": "denyAction"})), "UnsupportedPolicyEffect", "denyAction"),
        (rule(&always, &deployed), "UnsupportedPolicyEffect", "deployIfNotExists"),
        (rule(&always, &elsewhere), "UnsupportedPolicyEffect", "look for other resources"),
        (rule(&always, &json!({"effect": "modify"})), "UnsupportedPolicyEffect", "operations"),
        (rule(&always, &unmodifiable), "InvalidPolicyRule", "cannot change"),
        (
            json!({"mode": "Microsoft.KeyVault.Data", "policyRule": {"if": always, "then": deny}}),
            "InvalidPolicyDefinition",
            "mode",
        ),
        (
            json!({"parameters": {"x": {"type": "Text"}}, "policyRule": {"if": always, "then": deny}}),
            "InvalidPolicyParameters",
            "type is",
        ),
        (
            json!({"parameters": {"x": {"type": "String", "allowedValues": ["a"], "defaultValue": "b"}}, "policyRule": {"if": always, "then": deny}}),
            "InvalidPolicyParameters",
            "not allowed",
        ),
    ] {
        let refused = Definition::read("/x", map(&properties)).map(|_| ()).expect_err(words);
        assert_eq!(refused.code, code, "{properties}: {refused}");
        assert!(refused.message.contains(words), "{words}: {refused}");
    }
}

#[test]
fn assignments_give_each_parameter_a_value_that_fits() {
    let assign = |more: &Value| {
        let mut properties = json!({"policyDefinitionId": policy_id("allowed locations")});
        properties.as_object_mut().unwrap().extend(map(more).clone());
        let assignment = Assignment::read("/a", SUBSCRIPTION, map(&properties))?;
        Catalogue::default().check_assignment(&assignment)
    };
    assert_eq!(assign(&locations(&["westeurope"])), Ok(()));
    let given = |name: &str, value: Value| {
        let mut parameters = locations(&["westeurope"]);
        parameters["parameters"][name] = json!({"value": value});
        parameters
    };
    for (more, code) in [
        (json!({}), "MissingPolicyParameter"),
        (given("listOfAllowedLocations", json!("westeurope")), "InvalidPolicyParameters"),
        (given("effect", json!("Modify")), "InvalidPolicyParameters"),
        (given("nonsense", json!(1)), "UndefinedPolicyParameter"),
        (json!({"parameters": {"listOfAllowedLocations": ["westeurope"]}}), "InvalidPolicyParameters"),
        (json!({"policyDefinitionId": "/nowhere"}), "PolicyDefinitionNotFound"),
        (json!({"enforcementMode": "Sometimes"}), "InvalidPolicyAssignment"),
        (json!({"overrides": [{}]}), "InvalidPolicyAssignment"),
        (json!({"notScopes": ["elsewhere"]}), "InvalidPolicyAssignment"),
        (json!({"definitionVersion": "7.*.*"}), "PolicyDefinitionVersionNotFound"),
    ] {
        assert_eq!(assign(&more).map_err(|error| error.code), Err(code), "{more}");
    }
}

#[test]
fn initiatives_hand_their_parameters_on() {
    let id = format!("{SUBSCRIPTION}/providers/Microsoft.Authorization/policySetDefinitions/tags");
    let properties = json!({
        "parameters": {"names": {"type": "Object"}},
        "policyDefinitions": [
            {"policyDefinitionId": policy_id("require a tag"), "policyDefinitionReferenceId": "one",
             "parameters": {"tagName": {"value": "[parameters('names').first]"}}},
            {"policyDefinitionId": policy_id("require a tag"),
             "parameters": {"tagName": {"value": "[concat(parameters('names').first, '2')]"}}},
        ],
    });
    let mut world = World::default();
    let initiative = Initiative::read(&id, map(&properties)).unwrap();
    world.catalogue.check_initiative(&initiative).unwrap();
    world.catalogue.define_initiative(initiative);
    let names = json!({"policyDefinitionId": id, "parameters": {"names": {"value": {"first": "cost"}}}});
    let world = world.assign(SUBSCRIPTION, "require a tag", names);
    assert_eq!(world.denials(&hub(json!({}))).len(), 2);
    assert_eq!(world.denials(&with(hub(json!({})), "tags", json!({"cost": "1"}))).len(), 1);
    assert_eq!(world.denials(&with(hub(json!({})), "tags", json!({"cost": "1", "cost2": "2"}))).len(), 0);
}

#[test]
fn a_rule_that_multiplies_ends_all_the_same() {
    let list: Vec<u32> = (0..800).collect();
    let inner = json!({"count": {"value": list, "name": "c", "where": {"value": "[add(current('a'), current('c'))]", "equals": -1}}, "greater": 0});
    let middle = json!({"count": {"value": list, "name": "b", "where": inner}, "greater": 0});
    let outer = json!({"count": {"value": list, "name": "a", "where": middle}, "greater": 0});
    let world = World::default().rule("bomb", outer, json!({"effect": "deny"})).assign(HUB, "bomb", json!({}));
    let began = std::time::Instant::now();
    assert!(world.denies(&hub(json!({}))), "it cannot be evaluated to its end, so it counts as broken");
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_rule_is_refused_or_evaluated_in_bounded_time(condition in condition(), resource in resource()) {
        let properties = json!({"mode": "All", "policyRule": {"if": condition, "then": {"effect": "deny"}}});
        if let Ok(definition) = Definition::read("/d", map(&properties)) {
            let mut world = World::default();
            world.catalogue.define(definition);
            let world = world.assign(SUBSCRIPTION, "/d", json!({}));
            let began = std::time::Instant::now();
            let first = world.denies(&resource);
            prop_assert_eq!(first, world.denies(&resource));
            prop_assert!(began.elapsed().as_secs() < 10);
        }
    }

    #[test]
    fn not_of_a_rule_is_its_opposite(text in "[a-c*?#.]{0,6}", name in "[a-c]{0,6}", operator in operator()) {
        let leaf = json!({"field": "name", operator: text});
        let judged = |condition: &Value| {
            World::default().rule("r", condition.clone(), json!({"effect": "deny"})).assign(SUBSCRIPTION, "r", json!({}))
                .denies(&with(hub(json!({})), "name", json!(name)))
        };
        prop_assert_ne!(judged(&leaf), judged(&json!({"not": leaf})));
    }
}

fn operator() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["equals", "notEquals", "like", "notLike", "match", "notMatch", "contains", "notContains"])
}

fn condition() -> impl Strategy<Value = Value> {
    let field = prop::sample::select(vec![
        "name".to_owned(),
        "tags".to_owned(),
        "tags['a']".to_owned(),
        "[concat('tags[', field('name'), ']')]".to_owned(),
        format!("{WORKSPACE}/ipAllowlist[*]"),
        format!("{WORKSPACE}/managedNetwork.isolationMode"),
        "nonsense".to_owned(),
    ]);
    let operand = prop_oneof![
        "[*a-c]{0,40}".prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        Just(json!(["a", 1, null])),
        Just(json!("[field('tags')]")),
        Just(json!("[resourceGroup().tags.owner]")),
        Just(json!("[length(field('name'))]")),
    ];
    let operators =
        vec!["equals", "like", "match", "in", "notIn", "contains", "containsKey", "exists", "less", "greater"];
    let leaf = (field.clone(), prop::sample::select(operators), operand)
        .prop_map(|(field, operator, operand)| json!({"field": field, operator: operand}));
    leaf.prop_recursive(6, 60, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|all| json!({"allOf": all})),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|any| json!({"anyOf": any})),
            inner.clone().prop_map(|not| json!({"not": not})),
            (inner, 0_u8..3).prop_map(|(inner, least)| {
                json!({"count": {"field": format!("{WORKSPACE}/ipAllowlist[*]"), "where": inner}, "greater": least})
            }),
        ]
    })
}

fn resource() -> impl Strategy<Value = Value> {
    (prop::collection::vec("[a-c]{0,30}", 0..6), "[a-c]{0,9}").prop_map(|(list, tag)| {
        with(hub(json!({"ipAllowlist": list, "managedNetwork": tag})), "tags", json!({"a": tag}))
    })
}

fn states(world: &World, resource: &Value) -> Vec<Compliance> {
    world.with(resource, |policies, subject| policies.states(subject).iter().map(|state| state.compliance).collect())
}

fn hub(properties: Value) -> Value {
    json!({
        "id": HUB, "name": "hub", "type": WORKSPACE, "kind": "Hub", "location": "westeurope", "tags": {},
        "properties": properties,
    })
}

fn with(mut resource: Value, name: &str, value: Value) -> Value {
    resource[name] = value;
    resource
}

fn set(tag: &str, value: &str) -> Change {
    Change { target: Target::Tag(tag.to_owned()), value: Some(value.into()) }
}

/// A condition that everything fulfils.
fn always() -> Value {
    json!({"value": 1, "equals": 1})
}

fn locations(allowed: &[&str]) -> Value {
    json!({"parameters": {"listOfAllowedLocations": {"value": allowed}}})
}

fn map(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap()
}

/// The id of a definition by a word people know it by.
fn policy_id(name: &str) -> String {
    let builtin = |kind: &str, guid: &str| format!("/providers/Microsoft.Authorization/{kind}/{guid}");
    let definition = |guid: &str| builtin("policyDefinitions", guid);
    match name {
        "allowed locations" => definition("e56962a6-4747-49cd-b67b-bf8b01975c4c"),
        "require a tag" => definition("871b6d14-10aa-478d-b590-94f262ecfa99"),
        "inherit a tag" => definition("cd3aa116-8754-49c9-a813-ad46512ece54"),
        "add a tag" => definition("4f9dc7db-30c1-420c-b61a-e1d640128d26"),
        "allowed destinations" => definition("7efcb1fd-7d41-587a-8dc0-03a36fbcee62"),
        "allowed sizes" => definition("aaf03517-2830-5569-87c3-3f730d59c235"),
        "Baseline of AI hubs" => builtin("policySetDefinitions", "38e2011a-da3a-57be-aea9-b19e281dab0d"),
        id if id.starts_with('/') => id.to_owned(),
        guid if guid.len() == 36 => definition(guid),
        custom => format!("{SUBSCRIPTION}/providers/Microsoft.Authorization/policyDefinitions/{custom}"),
    }
}
