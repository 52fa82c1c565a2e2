"""azure-mgmt-resource, as azure-cli pins it: the life of a deployment by its management client."""

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import ClientSecretCredential
from azure.mgmt.resource.deployments import DeploymentsMgmtClient
from support.wire import IDENTITIES

IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"


@pytest.fixture(scope="module")
def client(bastide):
    """The client of the bootstrap client, with nothing set but where the cloud is and whom it trusts."""
    who = bastide.bootstrap
    trust = {"connection_verify": bastide.ca_file, "use_env_settings": False}
    credential = ClientSecretCredential(
        "adfs", who.client_id, who.client_secret, authority=bastide.endpoint, disable_instance_discovery=True, **trust
    )
    with DeploymentsMgmtClient(
        credential, who.subscription_id, bastide.endpoint, credential_scopes=[f"{bastide.endpoint}/.default"], **trust
    ) as client:
        yield client


@pytest.fixture
def rg(group):
    """The name of the test's resource group."""
    return group.rsplit("/", 1)[1]


@pytest.fixture
def names(wire, group):
    """The names of what is in the test's resource group."""
    return lambda: [one["name"] for one in wire.get(f"{group}/resources").json()["value"]]


def deployment(*resources, mode="Incremental", given=None, **sections):
    """A deployment of some resources with the parameters given; further sections of the template by name."""
    template = {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": list(resources),
        **sections,
    }
    return {"properties": {"mode": mode, "template": template, "parameters": given or {}}}


def identity(name, **members):
    return {"type": IDENTITY, "apiVersion": "2023-01-31", "name": name, "location": "westus", **members}


def test_a_deployment_lives_and_is_forgotten(client, wire, group, rg, names):
    body = deployment(
        identity("[parameters('name')]"),
        given={"name": {"value": "worker"}},
        parameters={"name": {"type": "string"}},
        outputs={"who": {"type": "string", "value": "[reference(parameters('name')).principalId]"}},
    )
    assert client.deployments.check_existence(rg, "life") is False
    made = client.deployments.begin_create_or_update(rg, "life", body).result()
    assert client.deployments.check_existence(rg, "life") is True
    assert made.properties.provisioning_state == "Succeeded"
    worker = f"{group}/providers/{IDENTITY}/worker"
    assert [resource.id for resource in made.properties.output_resources] == [worker]
    principal = wire.get(worker, IDENTITIES).json()["properties"]["principalId"]
    assert made.properties.outputs == {"who": {"type": "String", "value": principal}}
    assert client.deployments.get(rg, "life").as_dict() == made.as_dict()
    assert [one.name for one in client.deployments.list_by_resource_group(rg)] == ["life"]

    again = client.deployments.begin_create_or_update(rg, "life", body).result()
    assert again.properties.outputs == made.properties.outputs

    client.deployments.begin_delete(rg, "life").result()
    assert client.deployments.check_existence(rg, "life") is False
    assert names() == ["worker"]


def test_a_resource_is_an_operation_that_can_be_read_alone(client, group, rg):
    body = deployment(identity("first"), identity("second", dependsOn=["first"]))
    client.deployments.begin_create_or_update(rg, "two", body).result()
    first, second = client.deployment_operations.list(rg, "two")
    for operation, name in ((first, "first"), (second, "second")):
        assert operation.properties.provisioning_operation == "Create"
        assert operation.properties.provisioning_state == "Succeeded"
        assert operation.properties.status_code == "Created"
        assert operation.properties.target_resource.id == f"{group}/providers/{IDENTITY}/{name}"
        alone = client.deployment_operations.get(rg, "two", operation.operation_id)
        assert alone.as_dict() == operation.as_dict()


def test_validation_deploys_nothing(client, group, rg, names):
    validated = client.deployments.begin_validate(rg, "later", deployment(identity("one"))).result()
    assert validated.error is None
    assert validated.properties.provisioning_state == "Succeeded"
    assert [one.id for one in validated.properties.validated_resources] == [f"{group}/providers/{IDENTITY}/one"]
    assert names() == []
    assert client.deployments.check_existence(rg, "later") is False


def test_what_if_foretells_what_complete_mode_then_does(client, rg, names):
    before = deployment(identity("kept"), identity("changed", tags={"stage": "test"}), identity("gone"))
    client.deployments.begin_create_or_update(rg, "before", before).result()
    after = deployment(identity("kept"), identity("changed", tags={"stage": "live"}), identity("new"), mode="Complete")
    foretold = client.deployments.begin_what_if(rg, "after", after).result()
    assert foretold.status == "Succeeded"
    changes = {change.resource_id.rsplit("/", 1)[1]: change for change in foretold.changes}
    assert {name: change.change_type for name, change in changes.items()} == {
        "kept": "NoChange", "changed": "Modify", "gone": "Delete", "new": "Create",
    }  # fmt: skip
    (delta,) = changes["changed"].delta
    assert (delta.path, delta.property_change_type) == ("tags.stage", "Modify")
    assert (delta.before, delta.after) == ("test", "live")
    assert sorted(names()) == ["changed", "gone", "kept"], "nothing happened yet"

    client.deployments.begin_create_or_update(rg, "after", after).result()
    assert sorted(names()) == ["changed", "kept", "new"]


def test_a_deployment_with_an_unknown_type_is_refused_as_a_whole(client, rg, names):
    castle = {"type": "Microsoft.ManagedIdentity/castles", "apiVersion": "2023-01-31", "name": "keep"}
    with pytest.raises(HttpResponseError) as refused:
        client.deployments.begin_create_or_update(rg, "bad", deployment(identity("one"), castle))
    assert refused.value.status_code == 400
    assert refused.value.error.code == "InvalidResourceType"
    assert "castles" in refused.value.error.message
    assert names() == []
    assert client.deployments.check_existence(rg, "bad") is False


def test_a_deployment_that_fails_raises_and_keeps_its_reasons(client, rg, names):
    nowhere = identity("bad", location="not/a place")
    after = identity("after-bad", dependsOn=["bad"])
    with pytest.raises(HttpResponseError) as failed:
        client.deployments.begin_create_or_update(rg, "bad", deployment(nowhere, after, identity("good"))).result()
    assert failed.value.error.code == "DeploymentFailed"
    shown = client.deployments.get(rg, "bad").properties
    assert shown.provisioning_state == "Failed"
    (reason,) = shown.error.details
    assert "not/a place" in reason.message
    assert names() == ["good"]


def test_nobody_cancels_or_reads_a_deployment_that_is_not_there(client, rg):
    for attempt in (client.deployments.cancel, client.deployments.get):
        with pytest.raises(ResourceNotFoundError) as refused:
            attempt(rg, "nobody-made-this")
        assert refused.value.error.code == "DeploymentNotFound"
        assert "nobody-made-this" in refused.value.error.message


def test_a_deployment_that_ended_cannot_be_canceled(client, rg):
    client.deployments.begin_create_or_update(rg, "over", deployment()).result()
    with pytest.raises(HttpResponseError) as refused:
        client.deployments.cancel(rg, "over")
    assert refused.value.status_code == 409
    assert refused.value.error.code == "DeploymentCannotBeCanceled"
