"""One hub made in five ways is one hub: what GET answers differs in nothing but what must differ."""

import json

import pytest
from azure.ai.ml.entities import FqdnDestination, Hub, ManagedNetwork
from azure.mgmt.resource.deployments import DeploymentsMgmtClient
from support import hub
from support.wire import WORKSPACES

WORKSPACE = "Microsoft.MachineLearningServices/workspaces"


@pytest.fixture(scope="module")
def parts(wire, shared_group, unique):
    """What all of the hubs stand on."""
    kinds = {"storageAccount": "storage", "keyVault": "vault", "containerRegistry": "registry"}
    return {field: hub.associated(wire, shared_group, unique, kind)["id"] for field, kind in kinds.items()}


@pytest.fixture(scope="module")
def body(parts):
    """The hub that is wanted, as a body."""
    rule = {"type": "FQDN", "category": "UserDefined", "destination": "pypi.org"}
    return {
        **hub.body(
            **parts, friendlyName="The hub", description="one of five", publicNetworkAccess="Enabled",
            managedNetwork={"isolationMode": "AllowOnlyApprovedOutbound", "outboundRules": {"pypi": rule}},
        ),
        "tags": {"team": "red"},
        "identity": {"type": "SystemAssigned"},
    }  # fmt: skip


def by_sdk(name, body, parts, ml, **_):
    network = ManagedNetwork(
        isolation_mode="allow_only_approved_outbound",
        outbound_rules=[FqdnDestination(name="pypi", destination="pypi.org")],
    )
    ml.workspaces.begin_create(
        Hub(
            name=name, location="West US", display_name="The hub", description="one of five", tags={"team": "red"},
            storage_account=parts["storageAccount"], key_vault=parts["keyVault"],
            container_registry=parts["containerRegistry"], managed_network=network, public_network_access="Enabled",
        )
    ).result()  # fmt: skip


def by_rest(name, body, group, wire, **_):
    assert wire.put(f"{group}/{hub.KIND}/{name}", body, WORKSPACES).status_code == 200


def by_az(name, body, group, az, **_):
    az.ok("resource", "create", "-g", group.rsplit("/", 1)[1], "-n", name, "--resource-type", WORKSPACE,
          "--is-full-object", "-p", json.dumps(body), "--api-version", "2024-10-01")  # fmt: skip


def as_template(name, body):
    return {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": [{"type": WORKSPACE, "apiVersion": "2023-08-01-preview", "name": name, **body}],
    }


def by_az_template(name, body, group, az, tmp_path, **_):
    file = tmp_path / "hub.json"
    file.write_text(json.dumps(as_template(name, body)))
    az.ok("deployment", "group", "create", "-g", group.rsplit("/", 1)[1], "-n", name, "-f", str(file))


def by_management_client(name, body, group, bastide, **_):
    from azure.identity import DefaultAzureCredential

    with DeploymentsMgmtClient(
        DefaultAzureCredential(), bastide.bootstrap.subscription_id, bastide.endpoint,
        credential_scopes=[f"{bastide.endpoint}/.default"],
    ) as client:  # fmt: skip
        wanted = {"properties": {"mode": "Incremental", "template": as_template(name, body)}}
        client.deployments.begin_create_or_update(group.rsplit("/", 1)[1], name, wanted).result()


WAYS = {
    "rest": by_rest,
    "sdk": by_sdk,
    "az": by_az,
    "az-template": by_az_template,
    "mgmt-template": by_management_client,
}


def normalised(shown):
    """A hub without what is its own for good: names, ids, times, and the mark that the SDK leaves."""
    text = json.dumps(shown, sort_keys=True)
    own = [shown["name"], shown["properties"]["workspaceId"], shown["identity"]["principalId"]]
    for value in own:
        text = text.replace(value, "<own>")
    plain = json.loads(text)
    plain.pop("systemData")
    plain.pop("etag", None)
    plain["tags"].pop("createdByToolkit", None)
    return plain


def test_a_hub_is_the_same_however_it_is_made(wire, ml, az, bastide, shared_group, unique, tmp_path, body, parts):
    surroundings = {
        "group": shared_group, "wire": wire, "ml": ml, "az": az, "bastide": bastide, "tmp_path": tmp_path,
        "parts": parts,
    }  # fmt: skip
    made = {}
    for way, make in WAYS.items():
        name = unique("same")
        make(name, body, **surroundings)
        made[way] = normalised(wire.get(f"{shared_group}/{hub.KIND}/{name}", WORKSPACES).json())
    for way, shown in made.items():
        assert shown == made["rest"], f"by {way}"
