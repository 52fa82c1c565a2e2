"""`az deployment`: templates validated, foretold, deployed, looked at and forgotten."""

import json

import pytest
from support.secrets import SECRETS
from support.wire import IDENTITIES

IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"
PASSWORD = "canary-of-a-secure-parameter"

# As people write templates: comments, and expressions and texts over several lines. az sends the text as it is.
WORKERS = """
// Who works in this group.
{
    "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
    "contentVersion": "1.0.0.0",
    "parameters": {
        "prefix": {"type": "string"},   // given in a file
        "count": {"type": "int", "defaultValue": 1},
        "password": {"type": "securestring"}
    },
    "variables": {
        /* The name of each worker
           is this and its number. */
        "stem": "[concat(
            parameters('prefix'),
            '-worker-'
        )]"
    },
    "resources": [
        {
            "type": "Microsoft.ManagedIdentity/userAssignedIdentities",
            "apiVersion": "2023-01-31",
            "name": "[concat(variables('stem'), copyIndex())]",
            "location": "[resourceGroup().location]",
            "copy": {"name": "workers", "count": "[parameters('count')]"}
        }
    ],
    "outputs": {
        "first": {"type": "string", "value": "[reference(concat(variables('stem'), '0')).principalId]"},
        "note": {"type": "string", "value": "two
lines"},
        "url": {"type": "string", "value": "[concat('https://me:', parameters('password'), '@example.org')]"},
        "password": {"type": "securestring", "value": "[parameters('password')]"}
    }
}
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Writes a text, or a value as JSON, into a file of its own; returns the path."""

    def write(content):
        path = tmp_path_factory.mktemp("templates") / "file.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write


@pytest.fixture(scope="module")
def workers(file):
    """The arguments of a deployment of two workers: a prefix from a file, the rest on the command line."""
    SECRETS.add(PASSWORD)
    prefix = file({
        "$schema": "https://schema.management.azure.com/schemas/2015-01-01/deploymentParameters.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {"prefix": {"value": "red"}},
    })  # fmt: skip
    return ["-f", file(WORKERS), "-p", f"@{prefix}", "-p", "count=2", f"password={PASSWORD}"]


@pytest.fixture(scope="module")
def deployed(az, shared_group, workers):
    """What `az deployment group create` printed, in the group that most tests only look at."""
    return az.ok("deployment", "group", "create", "-g", name_of(shared_group), "-n", "workers", *workers)


@pytest.fixture
def names(wire):
    """The names of what is in a group."""
    return lambda group: [one["name"] for one in wire.get(f"{group}/resources").json()["value"]]


def name_of(group):
    return group.rsplit("/", 1)[1]


def template(*resources):
    return {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": list(resources),
    }


def identity(name):
    return {"type": IDENTITY, "apiVersion": "2023-01-31", "name": name, "location": "westus"}


def test_a_template_with_comments_and_texts_of_several_lines_is_deployed(wire, shared_group, deployed):
    assert deployed["id"] == f"{shared_group}/providers/Microsoft.Resources/deployments/workers"
    assert deployed["type"] == "Microsoft.Resources/deployments"
    properties = deployed["properties"]
    assert properties["provisioningState"] == "Succeeded"
    assert properties["mode"] == "Incremental"
    assert properties["error"] is None
    workers = [f"{shared_group}/providers/{IDENTITY}/red-worker-{number}" for number in (0, 1)]
    assert [resource["id"] for resource in properties["outputResources"]] == workers
    first, _ = [wire.get(worker, IDENTITIES).json() for worker in workers]
    assert first["location"] == "westus"
    assert properties["outputs"]["first"] == {"type": "String", "value": first["properties"]["principalId"]}
    assert properties["outputs"]["note"] == {"type": "String", "value": "two\nlines"}


def test_what_was_deployed_is_shown_without_its_secrets(az, shared_group, deployed):
    result = az.run("deployment", "group", "show", "-g", name_of(shared_group), "-n", "workers")
    assert result.json == deployed
    assert PASSWORD not in result.stdout
    assert deployed["properties"]["parameters"] == {
        "prefix": {"type": "String", "value": "red"},
        "count": {"type": "Int", "value": 2},
        "password": {"type": "SecureString"},
    }
    outputs = deployed["properties"]["outputs"]
    assert outputs["password"] == {"type": "SecureString"}
    assert outputs["url"] == {"type": "String"}, "what is computed from a secret is one, whatever its type says"


def test_deployments_of_a_group_are_listed(az, shared_group, deployed):
    assert az.ok("deployment", "group", "list", "-g", name_of(shared_group)) == [deployed]


def test_every_resource_of_a_deployment_is_an_operation(az, shared_group, deployed):
    operations = az.ok("deployment", "operation", "group", "list", "-g", name_of(shared_group), "-n", "workers")
    assert [operation["properties"]["provisioningState"] for operation in operations] == ["Succeeded"] * 2
    assert [operation["properties"]["provisioningOperation"] for operation in operations] == ["Create"] * 2
    assert {operation["properties"]["targetResource"]["id"] for operation in operations} == {
        resource["id"] for resource in deployed["properties"]["outputResources"]
    }


def test_deploying_again_changes_nothing(az, shared_group, deployed, workers):
    again = az.ok("deployment", "group", "create", "-g", name_of(shared_group), "-n", "workers", *workers)
    assert again["properties"]["outputs"] == deployed["properties"]["outputs"]
    assert again["properties"]["outputResources"] == deployed["properties"]["outputResources"]
    assert again["properties"]["templateHash"] == deployed["properties"]["templateHash"]


def test_validation_says_what_would_be_deployed_and_deploys_nothing(az, group, names, workers):
    validated = az.ok("deployment", "group", "validate", "-g", name_of(group), "-n", "workers", *workers)
    assert validated["error"] is None
    assert validated["properties"]["provisioningState"] == "Succeeded"
    assert [resource["id"] for resource in validated["properties"]["validatedResources"]] == [
        f"{group}/providers/{IDENTITY}/red-worker-{number}" for number in (0, 1)
    ]
    assert names(group) == []


def test_what_if_foretells_each_change(az, wire, group, names, file):
    assert wire.put(f"{group}/providers/{IDENTITY}/kept", {"location": "westus"}, IDENTITIES).status_code == 201
    assert wire.put(f"{group}/providers/{IDENTITY}/other", {"location": "westus"}, IDENTITIES).status_code == 201
    foretold = az.ok("deployment", "group", "what-if", "-g", name_of(group), "-n", "future", "--no-pretty-print",
                     "-f", file(template(identity("kept"), identity("new"))))  # fmt: skip
    assert foretold["status"] == "Succeeded"
    assert {change["resourceId"].rsplit("/", 1)[1]: change["changeType"] for change in foretold["changes"]} == {
        "kept": "NoChange",
        "new": "Create",
        "other": "Ignore",
    }
    assert sorted(names(group)) == ["kept", "other"]


def test_complete_mode_deletes_what_is_not_declared(az, wire, group, names, file):
    assert wire.put(f"{group}/providers/{IDENTITY}/undeclared", {"location": "westus"}, IDENTITIES).status_code == 201
    az.ok("deployment", "group", "create", "-g", name_of(group), "-n", "all", "--mode", "Complete",
          "-f", file(template(identity("declared"))))  # fmt: skip
    assert names(group) == ["declared"]


def test_nothing_is_written_when_one_type_is_unknown(az, wire, group, names, file):
    castle = {"type": "Microsoft.ManagedIdentity/castles", "apiVersion": "2023-01-31", "name": "keep"}
    result = az.run("deployment", "group", "create", "-g", name_of(group), "-n", "bad",
                    "-f", file(template(identity("one"), castle)))  # fmt: skip
    assert result.code == 1, result
    assert "InvalidResourceType" in result.stderr, result
    assert "castles" in result.stderr, result
    assert names(group) == []
    assert wire.get(f"{group}/providers/Microsoft.Resources/deployments/bad", "2022-09-01").status_code == 404


def test_a_resource_that_fails_is_told_with_the_error_of_its_provider(az, wire, group, names, file):
    """The deployment fails with the same sentence that creating the resource alone is refused with."""
    refused = wire.put(f"{group}/providers/{IDENTITY}/not_a_name!", {"location": "westus"}, IDENTITIES)
    assert refused.status_code == 400
    error = refused.json()["error"]
    result = az.run("deployment", "group", "create", "-g", name_of(group), "-n", "bad",
                    "-f", file(template(identity("not_a_name!"), identity("one"))))  # fmt: skip
    assert result.code == 1, result
    assert error["code"] in result.stderr, result
    assert error["message"] in result.stderr, result
    assert names(group) == [], "a name that cannot be is found before anything is deployed"


def test_a_subscription_deployment_makes_a_group_and_deploys_into_it(az, bastide, wire, unique, names, file):
    name, group = unique("sub"), unique("made")
    made = {"type": "Microsoft.Resources/resourceGroups", "apiVersion": "2022-09-01", "name": group,
            "location": "westus"}  # fmt: skip
    inner = {
        "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "inner",
        "resourceGroup": group, "dependsOn": [group],
        "properties": {"mode": "Incremental", "template": template(identity("inside"))},
    }  # fmt: skip
    deployed = az.ok("deployment", "sub", "create", "-n", name, "-l", "westus", "-f", file(template(made, inner)))
    path = f"{bastide.subscription}/resourceGroups/{group}"
    assert deployed["id"] == f"{bastide.subscription}/providers/Microsoft.Resources/deployments/{name}"
    assert deployed["location"] == "westus"
    assert deployed["properties"]["provisioningState"] == "Succeeded"
    assert names(path) == ["inside"]
    inside = wire.get(f"{path}/providers/Microsoft.Resources/deployments/inner", "2022-09-01").json()
    assert inside["properties"]["correlationId"] == deployed["properties"]["correlationId"]
    wire.delete(path)


def test_a_deleted_deployment_is_forgotten_and_its_resources_stay(az, group, names, file):
    az.ok("deployment", "group", "create", "-g", name_of(group), "-n", "past", "-f", file(template(identity("stays"))))
    az.ok("deployment", "group", "delete", "-g", name_of(group), "-n", "past")
    az.run("deployment", "group", "show", "-g", name_of(group), "-n", "past").failed("DeploymentNotFound", exit_code=3)
    assert names(group) == ["stays"]
