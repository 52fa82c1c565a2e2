"""azure-mgmt-authorization: roles, assignments, denies and permissions by their management client."""

import uuid

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import ClientSecretCredential
from azure.mgmt.authorization import AuthorizationManagementClient
from azure.mgmt.authorization.models import RoleAssignmentCreateParameters
from support import graph

OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"


@pytest.fixture(scope="module")
def client(bastide):
    """The client of the bootstrap client, with nothing set but where the cloud is and whom it trusts."""
    who = bastide.bootstrap
    trust = {"connection_verify": bastide.ca_file, "use_env_settings": False}
    credential = ClientSecretCredential(
        "adfs", who.client_id, who.client_secret, authority=bastide.endpoint, disable_instance_discovery=True, **trust
    )
    with AuthorizationManagementClient(
        credential, who.subscription_id, base_url=bastide.endpoint,
        credential_scopes=[f"{bastide.endpoint}/.default"], **trust,
    ) as client:  # fmt: skip
        yield client


@pytest.fixture(scope="module")
def somebody(bastide):
    """The object id of an application without any right."""
    client_id, _ = graph.create_client(bastide, "sdk")
    (found,) = graph.done(graph.call(bastide, "GET", f"/servicePrincipals?$filter=appId eq '{client_id}'"))["value"]
    return found["id"]


def role(scope, guid):
    return f"{scope}/providers/Microsoft.Authorization/roleDefinitions/{guid}"


def reader(scope, principal, **more):
    return RoleAssignmentCreateParameters(role_definition_id=role(scope, READER), principal_id=principal, **more)


def test_definitions_are_listed_and_found(client, bastide):
    built_in = list(client.role_definitions.list(bastide.subscription, filter="type eq 'BuiltInRole'"))
    assert len(built_in) == 90
    (reader,) = client.role_definitions.list(bastide.subscription, filter="roleName eq 'Reader'")
    assert reader.name == READER and reader.permissions[0].actions == ["*/read"]
    assert client.role_definitions.get(bastide.subscription, OWNER).role_name == "Owner"


def test_an_assignment_lives_is_found_by_every_filter_and_goes(client, bastide, group, somebody):
    name = str(uuid.uuid4())
    made = client.role_assignments.create(group, name, reader(group, somebody, principal_type="ServicePrincipal"))
    assert (made.name, made.scope, made.principal_id) == (name, group, somebody)
    rg = group.rsplit("/", 1)[1]
    lists = [
        client.role_assignments.list_for_scope(group),
        client.role_assignments.list_for_scope(group, filter="atScope()"),
        client.role_assignments.list_for_scope(group, filter=f"principalId eq '{somebody}'"),
        client.role_assignments.list_for_scope(group, filter=f"assignedTo('{somebody}')"),
        client.role_assignments.list_for_resource_group(rg),
        client.role_assignments.list_for_subscription(),
    ]
    assert all(name in [one.name for one in found] for found in lists)
    above = client.role_assignments.list_for_scope(bastide.subscription, filter="atScope()")
    assert name not in [one.name for one in above]
    assert client.role_assignments.get_by_id(made.id).name == name
    with pytest.raises(HttpResponseError) as twin:
        client.role_assignments.create(group, str(uuid.uuid4()), reader(group, somebody))
    assert (twin.value.status_code, twin.value.error.code) == (409, "RoleAssignmentExists")
    assert client.role_assignments.delete(group, name).name == name
    assert client.role_assignments.delete(group, name) is None
    with pytest.raises(ResourceNotFoundError):
        client.role_assignments.get(group, name)


def test_permissions_and_denies_and_operations_are_told(client, group):
    rg = group.rsplit("/", 1)[1]
    assert ["*"] in [one.actions for one in client.permissions.list_for_resource_group(rg)]
    assert list(client.deny_assignments.list_for_scope(group)) == []
    operations = client.provider_operations_metadata.get("Microsoft.Authorization")
    names = [operation.name for kind in operations.resource_types for operation in kind.operations]
    assert "Microsoft.Authorization/roleAssignments/write" in names


def test_nobody_can_be_given_a_role_who_is_not_there(client, group):
    with pytest.raises(HttpResponseError) as refused:
        client.role_assignments.create(group, str(uuid.uuid4()), reader(group, str(uuid.uuid4())))
    assert (refused.value.status_code, refused.value.error.code) == (400, "PrincipalNotFound")
