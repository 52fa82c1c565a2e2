"""`az role`: definitions and assignments in the forms of wire-az-cli.md section 5, with and without Graph."""

import json
import uuid

import pytest
from support import graph
from support.wall import until

READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"


@pytest.fixture(scope="module")
def somebody(bastide):
    """The client id and the object id of an application without any right."""
    client_id, _ = graph.create_client(bastide, "somebody")
    (found,) = graph.done(graph.call(bastide, "GET", f"/servicePrincipals?$filter=appId eq '{client_id}'"))["value"]
    return client_id, found["id"]


def assignments(az, scope, *more):
    return az.ok("role", "assignment", "list", "--scope", scope, *more)


def test_definitions_are_found_by_name_and_listed(az):
    (developer,) = az.ok("role", "definition", "list", "--name", "Azure AI Developer")
    assert developer["name"] == "64702f94-c441-49e6-a78b-ef80e0188fee"
    names = az.ok("role", "definition", "list", "--query", "[].roleName")
    assert {"Owner", "Reader", "AzureML Data Scientist"} <= set(names)


def test_a_custom_role_lives_and_goes(az, bastide, tmp_path, unique):
    name = unique("watcher")
    role = {"Name": name, "Description": "Looks", "Actions": ["Microsoft.Resources/subscriptions/resourceGroups/read"],
            "AssignableScopes": [bastide.subscription]}  # fmt: skip
    file = tmp_path / "role.json"
    file.write_text(json.dumps(role))
    made = az.ok("role", "definition", "create", "--role-definition", str(file))
    assert (made["roleName"], made["roleType"]) == (name, "CustomRole")
    made["description"] = "Looks at groups"
    changed = az.ok("role", "definition", "update", "--role-definition", json.dumps(made))
    assert (changed["description"], changed["id"]) == ("Looks at groups", made["id"])
    assert [one["roleName"] for one in az.ok("role", "definition", "list", "--custom-role-only", "-n", name)] == [name]
    az.ok("role", "definition", "delete", "-n", name)
    assert az.ok("role", "definition", "list", "-n", name) == []


def test_an_assignment_by_object_id_and_role_guid_needs_nothing_else(az, group, somebody):
    _, object_id = somebody
    made = az.ok("role", "assignment", "create", "--assignee-object-id", object_id, "--assignee-principal-type",
                 "ServicePrincipal", "--role", READER, "--scope", group)  # fmt: skip
    assert (made["principalId"], made["scope"], made["principalType"]) == (object_id, group, "ServicePrincipal")
    plain = ["--fill-principal-name", "false", "--fill-role-definition-name", "false"]
    assert [one["id"] for one in assignments(az, group, *plain)] == [made["id"]]
    az.ok("role", "assignment", "delete", "--ids", made["id"])
    assert assignments(az, group, *plain) == []


def test_an_assignment_by_client_id_and_role_name_is_resolved_and_given_once(az, group, somebody):
    client_id, object_id = somebody
    create = ["role", "assignment", "create", "--assignee", client_id, "--role", "Reader", "--scope", group]
    made = az.ok(*create)
    assert made["principalId"] == object_id
    assert az.ok(*create)["id"] == made["id"], "the one that exists is the answer"
    (listed,) = assignments(az, group, "--assignee", client_id)
    assert (listed["roleDefinitionName"], listed["principalName"]) == ("Reader", client_id)
    inherited = assignments(az, group, "--include-inherited")
    assert {"Owner", "Reader"} <= {one["roleDefinitionName"] for one in inherited}
    every = az.ok("role", "assignment", "list", "--all")
    assert made["id"] in [one["id"] for one in every]
    assert all(one["roleDefinitionName"] for one in every), "also those of the administrator, above the subscription"
    az.ok("role", "assignment", "delete", "--assignee", client_id, "--role", "Reader", "--scope", group)
    assert assignments(az, group) == []


def test_the_change_log_names_who_was_given_what(az, group, somebody):
    client_id, object_id = somebody
    made = az.ok("role", "assignment", "create", "--assignee-object-id", object_id, "--assignee-principal-type",
                 "ServicePrincipal", "--role", "Reader", "--scope", group)  # fmt: skip
    az.ok("role", "assignment", "delete", "--ids", made["id"])

    def told():
        """az asks for what has happened up to the last whole second."""
        changes = [one for one in az.ok("role", "assignment", "list-changelogs") if one["principalId"] == object_id]
        return {(one["action"], one["principalName"], one["roleName"], one["scope"].lower()) for one in changes}

    wanted = {(action, client_id, "Reader", group.lower()) for action in ("Granted", "Revoked")}
    until(lambda: wanted <= told())


def test_without_a_principal_type_graph_is_asked(az, group, somebody):
    _, object_id = somebody
    made = az.ok(
        "role", "assignment", "create", "--assignee-object-id", object_id, "--role", "Reader", "--scope", group
    )
    assert made["principalType"] == "ServicePrincipal"


def test_a_condition_is_kept_and_updated(az, group, somebody):
    condition = ("(!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'})) OR "
                 "(@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] "
                 f"ForAnyOfAnyValues:GuidEquals {{{READER}}})")  # fmt: skip
    made = az.ok("role", "assignment", "create", "--assignee-object-id", somebody[1], "--assignee-principal-type",
                 "ServicePrincipal", "--role", "Role Based Access Control Administrator", "--scope", group,
                 "--condition", condition, "--condition-version", "2.0", "--description", "delegate")  # fmt: skip
    assert (made["condition"], made["conditionVersion"]) == (condition, "2.0")
    made["description"] = "delegate of readers"
    changed = az.ok("role", "assignment", "update", "--role-assignment", json.dumps(made))
    assert (changed["description"], changed["condition"]) == ("delegate of readers", condition)


def test_refusals_have_the_codes_az_knows(az, group):
    nobody = ["--assignee-object-id", str(uuid.uuid4()), "--assignee-principal-type", "User"]
    result = az.run("role", "assignment", "create", *nobody, "--role", "Reader", "--scope", group)
    assert "does not exist in the directory" in result.failed("PrincipalNotFound")
