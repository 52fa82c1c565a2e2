"""azure-ai-ml: projects in a hub, and all that they have from it."""

import pytest
from azure.ai.ml.entities import Hub, IdentityConfiguration, ManagedIdentityConfiguration, Project
from azure.ai.ml.exceptions import ValidationException
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from support import hub
from support.wire import WORKSPACES, refused


@pytest.fixture
def project(unique):
    return unique("project")


@pytest.fixture
def path(shared_group, project):
    return f"{shared_group}/{hub.KIND}/{project}"


def test_a_project_has_what_its_hub_has(ml, project, resource, name, wire, shared_group):
    """mission.md F2, F19, M3: storage, vault, registry, network and encryption are the hub's."""
    vault = resource("vault")
    owned = {
        "storageAccount": resource("storage")["id"],
        "keyVault": vault["id"],
        "containerRegistry": resource("registry")["id"],
        "applicationInsights": resource("insights")["id"],
    }
    key = {"keyVaultArmId": vault["id"], "keyIdentifier": f"{vault['properties']['vaultUri']}keys/hub/{'1' * 32}"}
    rule = {"type": "FQDN", "category": "UserDefined", "destination": "pypi.org"}
    parent = hub.create(
        wire, f"{shared_group}/{hub.KIND}/{name}", **owned, publicNetworkAccess="Disabled",
        encryption={"status": "Enabled", "keyVaultProperties": key},
        managedNetwork={"isolationMode": "AllowOnlyApprovedOutbound", "outboundRules": {"pypi": rule}},
    )["id"]  # fmt: skip
    made = ml.workspaces.begin_create(Project(name=project, hub_id=parent, description="of the hub")).result()
    assert isinstance(made, Project)
    assert made.hub_id == parent
    assert made.description == "of the hub"
    assert made.location == "westus"
    assert (made.storage_account, made.key_vault) == (owned["storageAccount"], owned["keyVault"])
    assert (made.container_registry, made.application_insights) == (
        owned["containerRegistry"],
        owned["applicationInsights"],
    )
    assert made.public_network_access == "Disabled"
    assert made.managed_network.isolation_mode == "AllowOnlyApprovedOutbound"
    assert made.customer_managed_key.key_uri == key["keyIdentifier"]
    assert ml.workspaces.get(name).associated_workspaces == [made.id]


def test_a_project_follows_its_hub(ml, made, name, project, resource):
    ml.workspaces.begin_create(Project(name=project, hub_id=made, location="westus")).result()
    registry = resource("registry")["id"]
    ml.workspaces.begin_update(Hub(name=name, container_registry=registry), update_dependent_resources=True).result()
    assert ml.workspaces.get(project).container_registry == registry


def test_a_project_has_an_identity_of_its_own(ml, made, name, project, resource):
    helper = resource("identity")["id"]
    given = [ManagedIdentityConfiguration(resource_id=helper)]
    ml.workspaces.begin_create(
        Project(
            name=project, hub_id=made, location="westus",
            identity=IdentityConfiguration(type="user_assigned", user_assigned_identities=given),
            primary_user_assigned_identity=helper,
        )
    ).result()  # fmt: skip
    assert [one.resource_id for one in ml.workspaces.get(project).identity.user_assigned_identities] == [helper]


def test_a_project_is_renamed_and_deleted_and_its_hub_stays(ml, made, name, project):
    ml.workspaces.begin_create(Project(name=project, hub_id=made, location="westus")).result()
    updated = ml.workspaces.begin_update(Project(name=project, hub_id=made, display_name="Renamed")).result()
    assert updated.display_name == "Renamed"
    ml.workspaces.begin_delete(project, delete_dependent_resources=False).result()
    with pytest.raises(ResourceNotFoundError):
        ml.workspaces.get(project)
    assert ml.workspaces.get(name).associated_workspaces == []


def test_a_project_needs_a_hub_that_is_there(ml, shared_group, project):
    nowhere = f"{shared_group}/{hub.KIND}/nowhere"
    with pytest.raises(HttpResponseError, match="nowhere"):
        ml.workspaces.begin_create(Project(name=project, hub_id=nowhere, location="westus")).result()
    with pytest.raises(ResourceNotFoundError):
        ml.workspaces.get(project)


def test_the_client_refuses_a_storage_of_a_project(ml, made, project, resource):
    wanted = Project(name=project, hub_id=made, location="westus", storage_account=resource("storage")["id"])
    with pytest.raises(ValidationException, match="project workspace"):
        ml.workspaces.begin_create(wanted)


@pytest.mark.parametrize(
    ("property", "value"),
    [
        ("storageAccount", "storage"),
        ("keyVault", "vault"),
        ("containerRegistry", "registry"),
        ("applicationInsights", "insights"),
        ("managedNetwork", {"isolationMode": "AllowInternetOutbound"}),
        ("encryption", {"status": "Enabled", "keyVaultProperties": {"keyVaultArmId": "x", "keyIdentifier": "y"}}),
    ],
)
def test_the_server_refuses_what_only_a_hub_has(wire, made, path, resource, property, value):
    """The client does not check all of it; a request by hand meets the same rule (mission.md F19)."""
    value = resource(value)["id"] if isinstance(value, str) else value
    error = refused(
        wire.put(path, hub.body("Project", hubResourceId=made, **{property: value}), WORKSPACES),
        400, "ValidationError",
    )  # fmt: skip
    assert property in (error.get("target") or "")
    assert "hub" in error["message"]
    assert wire.get(path, WORKSPACES).status_code == 404


def test_a_project_has_no_outbound_rules(wire, made, path):
    hub.create(wire, path, "Project", hubResourceId=made)
    rule = {"properties": {"type": "FQDN", "destination": "pypi.org"}}
    answer = wire.put(f"{path}/outboundRules/pypi", rule, WORKSPACES)
    assert answer.status_code == 400
    assert "hub" in answer.json()["error"]["message"]
    answer = wire.post(f"{path}/provisionManagedNetwork", {}, WORKSPACES)
    assert answer.status_code == 400
    assert "hub" in answer.json()["error"]["message"]
