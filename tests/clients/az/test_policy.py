"""`az policy`: definitions, initiatives, assignments, exemptions and compliance, with the stock az."""

import json
from datetime import UTC, datetime, timedelta

import pytest

LOCATIONS = "e56962a6-4747-49cd-b67b-bf8b01975c4c"
REQUIRE_TAG = "871b6d14-10aa-478d-b590-94f262ecfa99"
INHERIT_TAG = "cd3aa116-8754-49c9-a813-ad46512ece54"
BASELINE = "38e2011a-da3a-57be-aea9-b19e281dab0d"

NO_TEMPORARY_NAMES = json.dumps(
    {
        "if": {"field": "name", "like": "[concat(parameters('prefix'), '*')]"},
        "then": {"effect": "deny"},
    }
)


@pytest.fixture
def group(az, unique):
    made = az.ok("group", "create", "-n", unique("policy"), "-l", "westus")
    yield made
    az.run("group", "delete", "-n", made["name"], "-y", "--no-wait")


@pytest.fixture
def definition(az, unique):
    """A definition of the subscription that forbids names by their beginning."""
    name = unique("names")
    made = az.ok(
        "policy", "definition", "create", "-n", name, "--display-name", "No such names", "--mode", "All",
        "--rules", NO_TEMPORARY_NAMES, "--params", json.dumps({"prefix": {"type": "String"}}),
        "--metadata", "category=Names",
    )  # fmt: skip
    yield made
    az.run("policy", "definition", "delete", "-n", name)


def in_group(group):
    return ("-g", group["name"])


def identity(az, group, name, location="westus", *more):
    return az.run("identity", "create", *in_group(group), "-n", name, "-l", location, *more)


def allow(*locations):
    return json.dumps({"listOfAllowedLocations": {"value": list(locations)}})


def test_a_definition_is_created_shown_listed_updated_and_deleted(az, definition):
    name = definition["name"]
    assert definition["policyType"] == "Custom"
    assert definition["metadata"]["category"] == "Names"
    shown = az.ok("policy", "definition", "show", "-n", name)
    assert (shown["id"], shown["mode"]) == (definition["id"], "All")
    assert name in [found["name"] for found in az.ok("policy", "definition", "list")]
    custom = az.ok("policy", "definition", "list", "--filter", "policyType eq 'Custom'")
    assert name in [found["name"] for found in custom]
    assert {found["policyType"] for found in custom} == {"Custom"}
    updated = az.ok("policy", "definition", "update", "-n", name, "--description", "Not in production")
    assert updated["description"] == "Not in production"
    (version,) = az.ok("policy", "definition", "version", "list", "-n", name)
    assert version["version"] == "1.0.0"
    az.ok("policy", "definition", "delete", "-n", name)
    az.run("policy", "definition", "show", "-n", name).failed("PolicyDefinitionNotFound", exit_code=3)


def test_a_built_in_definition_is_found_by_its_id(az):
    shown = az.ok("policy", "definition", "show", "-n", LOCATIONS)
    assert (shown["displayName"], shown["policyType"]) == ("Allowed locations", "BuiltIn")


def test_a_rule_with_a_typing_error_is_refused(az, unique):
    rule = json.dumps({"if": {"field": "nmae", "equals": "x"}, "then": {"effect": "deny"}})
    refused = az.run("policy", "definition", "create", "-n", unique("typo"), "--rules", rule)
    assert "nmae" in refused.failed("InvalidPolicyAlias")


def test_an_effect_nobody_enforces_is_refused(az, unique):
    rule = json.dumps({"if": {"field": "name", "equals": "x"}, "then": {"effect": "denyAction"}})
    az.run("policy", "definition", "create", "-n", unique("effect"), "--rules", rule).failed("UnsupportedPolicyEffect")


def test_an_assignment_denies_and_names_itself(az, group, unique):
    made = az.ok(
        "policy", "assignment", "create", "-n", "eu-only", *in_group(group), "--policy", LOCATIONS,
        "--params", allow("westeurope"), "--display-name", "EU only",
    )  # fmt: skip
    assert made["scope"] == group["id"]
    assert made["parameters"]["listOfAllowedLocations"]["value"] == ["westeurope"]
    message = identity(az, group, unique("id"), "eastus").failed("RequestDisallowedByPolicy")
    assert "EU only" in message and "Allowed locations" in message and made["id"] in message
    assert identity(az, group, unique("id"), "westeurope").code == 0
    az.ok("policy", "assignment", "delete", "-n", "eu-only", *in_group(group))
    assert identity(az, group, unique("id"), "eastus").code == 0


def test_a_custom_definition_is_assigned_by_name(az, group, definition, unique):
    prefix = json.dumps({"prefix": {"value": "tmp"}})
    az.ok(
        "policy", "assignment", "create", "-n", "names", *in_group(group), "--policy", definition["name"], "-p", prefix
    )
    message = identity(az, group, unique("tmp")).failed("RequestDisallowedByPolicy")
    assert "No such names" in message
    refused = az.run("policy", "definition", "delete", "-n", definition["name"])
    assert "names" in refused.failed("InvalidDeletePolicyDefinitionRequest")
    az.ok("policy", "assignment", "delete", "-n", "names", *in_group(group))


def test_assignments_are_shown_listed_and_updated(az, group):
    create = ("policy", "assignment", "create", "-n", "tag", *in_group(group), "--policy", REQUIRE_TAG)
    az.ok(*create, "--params", json.dumps({"tagName": {"value": "cost"}}), "--enforcement-mode", "DoNotEnforce")
    shown = az.ok("policy", "assignment", "show", "-n", "tag", *in_group(group))
    assert shown["enforcementMode"] == "DoNotEnforce"
    assert [found["name"] for found in az.ok("policy", "assignment", "list", *in_group(group))] == ["tag"]
    az.ok("policy", "assignment", "update", "-n", "tag", *in_group(group), "--description", "Who pays")
    az.ok(
        "policy", "assignment", "non-compliance-message", "create", "-n", "tag", *in_group(group), "-m", "Say who pays.",
    )  # fmt: skip
    shown = az.ok("policy", "assignment", "show", "-n", "tag", *in_group(group))
    assert (shown["description"], shown["nonComplianceMessages"][0]["message"]) == ("Who pays", "Say who pays.")
    assert shown["parameters"]["tagName"]["value"] == "cost"


def test_a_rule_is_rolled_out_by_place_and_with_another_effect(az, group, unique):
    selectors = [{"name": "east first", "selectors": [{"kind": "resourceLocation", "in": ["eastus"]}]}]
    made = az.ok(
        "policy", "assignment", "create", "-n", "roll-out", *in_group(group), "--policy", REQUIRE_TAG,
        "-p", json.dumps({"tagName": {"value": "cost"}}), "--resource-selectors", json.dumps(selectors),
    )  # fmt: skip
    assert made["resourceSelectors"] == selectors
    assert identity(az, group, unique("id"), "westus").code == 0
    identity(az, group, unique("id"), "eastus").failed("RequestDisallowedByPolicy")
    audited = [{"kind": "policyEffect", "value": "disabled"}]
    refused = az.run("policy", "assignment", "update", "-n", "roll-out", *in_group(group), "--overrides",
                     json.dumps([{"kind": "policyEffect", "value": "modify"}]))  # fmt: skip
    assert "operations" in refused.failed("InvalidPolicyAssignment")
    az.ok("policy", "assignment", "update", "-n", "roll-out", *in_group(group), "--overrides", json.dumps(audited))
    assert identity(az, group, unique("id"), "eastus").code == 0


def test_an_assignment_without_an_identity_may_be_rid_of_it(az, group):
    az.ok("policy", "assignment", "create", "-n", "plain", *in_group(group), "--policy", REQUIRE_TAG,
          "--params", json.dumps({"tagName": {"value": "cost"}}))  # fmt: skip
    az.ok("policy", "assignment", "identity", "remove", "-n", "plain", *in_group(group))
    assert az.ok("policy", "assignment", "show", "-n", "plain", *in_group(group))["enforcementMode"] == "Default"


def test_a_missing_parameter_is_asked_for(az, group):
    refused = az.run("policy", "assignment", "create", "-n", "x", *in_group(group), "--policy", LOCATIONS)
    assert "listOfAllowedLocations" in refused.failed("MissingPolicyParameter")


def test_a_tag_is_inherited(az, unique):
    group = az.ok("group", "create", "-n", unique("policy"), "-l", "westus", "--tags", "owner=mei")
    made = az.ok(
        "policy", "assignment", "create", "-n", "owner", "-g", group["name"], "--policy", INHERIT_TAG,
        "--params", json.dumps({"tagName": {"value": "owner"}}), "--mi-system-assigned", "-l", "westus",
    )  # fmt: skip
    assert made["identity"]["principalId"]
    tagged = identity(az, group, unique("id"), "westus", "--tags", "x=1")
    assert tagged.json["tags"] == {"owner": "mei", "x": "1"}


def test_an_initiative_is_created_assigned_and_deleted(az, group, unique):
    name = unique("set")
    builtin = "/providers/Microsoft.Authorization/policyDefinitions/"
    members = [
        {"policyDefinitionId": builtin + REQUIRE_TAG, "policyDefinitionReferenceId": "tag",
         "parameters": {"tagName": {"value": "[parameters('tag')]"}}},
        {"policyDefinitionId": builtin + LOCATIONS, "policyDefinitionReferenceId": "place",
         "parameters": {"listOfAllowedLocations": {"value": ["westus"]}}},
    ]  # fmt: skip
    made = az.ok(
        "policy", "set-definition", "create", "-n", name, "--definitions", json.dumps(members),
        "--params", json.dumps({"tag": {"type": "String"}}),
    )  # fmt: skip
    assert [member["policyDefinitionReferenceId"] for member in made["policyDefinitions"]] == ["tag", "place"]
    assert name in [found["name"] for found in az.ok("policy", "set-definition", "list")]
    az.ok(
        "policy", "assignment", "create", "-n", "set", *in_group(group), "--policy-set-definition", name,
        "--params", json.dumps({"tag": {"value": "cost"}}),
    )  # fmt: skip
    message = identity(az, group, unique("id")).failed("RequestDisallowedByPolicy")
    assert name in message
    assert identity(az, group, unique("id"), "westus", "--tags", "cost=7").code == 0
    az.ok("policy", "assignment", "delete", "-n", "set", *in_group(group))
    az.ok("policy", "set-definition", "delete", "-n", name)


def test_an_exemption_lets_through_until_its_day(az, group, unique):
    assignment = az.ok(
        "policy", "assignment", "create", "-n", "east", *in_group(group), "--policy", LOCATIONS,
        "--params", allow("eastus"),
    )  # fmt: skip
    until = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    made = az.ok(
        "policy", "exemption", "create", "-n", "for-now", *in_group(group), "--policy-assignment", assignment["id"],
        "--exemption-category", "Waiver", "--expires-on", until,
    )  # fmt: skip
    assert made["exemptionCategory"] == "Waiver"
    assert identity(az, group, unique("id")).code == 0
    assert [found["name"] for found in az.ok("policy", "exemption", "list", *in_group(group))] == ["for-now"]
    az.ok("policy", "exemption", "delete", "-n", "for-now", *in_group(group))
    identity(az, group, unique("id")).failed("RequestDisallowedByPolicy")


def test_compliance_is_told_and_counted(az, group):
    hub = f"{group['id']}/providers/Microsoft.MachineLearningServices/workspaces/hub"
    az.ok("policy", "assignment", "create", "-n", "baseline", *in_group(group), "--policy-set-definition", BASELINE)
    az.ok(
        "resource", "create", "--id", hub, "--is-full-object", "--api-version", "2024-10-01",
        "-p", json.dumps({"location": "westus", "kind": "hub", "properties": {"publicNetworkAccess": "Disabled"}}),
    )  # fmt: skip
    az.ok("policy", "state", "trigger-scan", *in_group(group))
    states = az.ok("policy", "state", "list", *in_group(group))
    by_rule = {state["policyDefinitionReferenceId"]: state["complianceState"] for state in states}
    assert by_rule == {
        "approvedOutbound": "NonCompliant",
        "publicNetworkAccess": "Compliant",
        "customerManagedKey": "NonCompliant",
    }
    bad = az.ok("policy", "state", "list", "--resource", hub, "--filter", "complianceState eq 'NonCompliant'")
    assert len(bad) == 2
    of_assignment = az.ok("policy", "state", "list", *in_group(group), "--policy-assignment", "baseline", "--top", "1")
    assert len(of_assignment) == 1
    summary = az.ok("policy", "state", "summarize", *in_group(group))
    assert summary["results"]["nonCompliantResources"] == 1
    assert summary["policyAssignments"][0]["results"]["nonCompliantPolicies"] == 2


def test_a_deployment_is_refused_before_it_begins(az, group, tmp_path):
    az.ok(
        "policy", "assignment", "create", "-n", "west", *in_group(group), "--policy", LOCATIONS, "-p", allow("westus")
    )
    template = tmp_path / "template.json"
    template.write_text(
        json.dumps(
            {
                "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
                "contentVersion": "1.0.0.0",
                "resources": [
                    {
                        "type": "Microsoft.ManagedIdentity/userAssignedIdentities",
                        "apiVersion": "2023-01-31",
                        "name": name,
                        "location": location,
                    }
                    for name, location in (("good", "westus"), ("bad", "eastus"))
                ],
            }
        )
    )
    for command in ("validate", "create"):
        refused = az.run("deployment", "group", command, *in_group(group), "--template-file", str(template))
        assert refused.code == 1 and "RequestDisallowedByPolicy" in refused.stderr, refused
    assert az.ok("identity", "list", *in_group(group)) == []
