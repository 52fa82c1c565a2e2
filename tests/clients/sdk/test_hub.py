"""azure-ai-ml: the life of a hub, and of what stands beside it."""

import time

import pytest
from azure.ai.ml.entities import (
    CustomerManagedKey,
    Hub,
    IdentityConfiguration,
    ManagedIdentityConfiguration,
    Workspace,
)
from azure.ai.ml.exceptions import ValidationException
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from support import hub
from support.wire import WORKSPACES


@pytest.fixture
def types(wire, shared_group):
    """The types of the resources in the module's group whose names start with a text."""

    def types(start):
        listed = wire.get(f"{shared_group}/resources").json()["value"]
        return sorted(one["type"].rsplit("/", 1)[1] for one in listed if one["name"].startswith(start))

    return types


def test_a_hub_is_there_at_the_first_look_with_a_storage_and_a_vault_of_its_own(ml, types, name):
    """The SDK sleeps five seconds between looks; a hub is finished before it has to."""
    started = time.monotonic()
    made = ml.workspaces.begin_create(Hub(name=name, location="westus", tags={"team": "red"})).result()
    assert time.monotonic() - started < 5
    assert isinstance(made, Hub)
    assert (made.name, made.location, made.display_name) == (name, "westus", name)
    assert made.tags == {"team": "red", "createdByToolkit": "sdk-v2-1.35.2"}
    assert made.identity.type == "system_assigned" and made.identity.principal_id
    assert "/storageAccounts/" in made.storage_account and "/vaults/" in made.key_vault
    assert made.container_registry is None
    assert made.associated_workspaces == []
    assert types("".join(character for character in name if character.isalnum())[:8]) == ["storageAccounts", "vaults"]


def test_what_a_hub_was_made_with_is_what_is_read(ml, resource, name):
    storage, vault, registry = (resource(kind)["id"] for kind in ("storage", "vault", "registry"))
    worker, helper = (resource("identity")["id"] for _ in range(2))
    identities = [ManagedIdentityConfiguration(resource_id=one) for one in (worker, helper)]
    ml.workspaces.begin_create(
        Hub(
            name=name, location="West US", display_name="The hub", description="for tests", storage_account=storage,
            key_vault=vault, container_registry=registry, public_network_access="Disabled",
            identity=IdentityConfiguration(type="user_assigned", user_assigned_identities=identities),
            primary_user_assigned_identity=worker,
        )
    ).result()  # fmt: skip
    read = ml.workspaces.get(name)
    assert (read.display_name, read.description) == ("The hub", "for tests")
    assert (read.storage_account, read.key_vault, read.container_registry) == (storage, vault, registry)
    assert read.public_network_access == "Disabled"
    assert read.primary_user_assigned_identity == worker
    assert {one.resource_id for one in read.identity.user_assigned_identities} == {worker, helper}


def test_a_workspace_needs_no_hub(ml, name):
    """An individual starts without one (mission.md A4)."""
    made = ml.workspaces.begin_create(
        Workspace(name=name, location="westus", system_datastores_auth_mode="identity")
    ).result()
    assert type(made) is Workspace
    assert made._kind == "default"
    assert made.system_datastores_auth_mode == "Identity"


def test_resources_of_another_group_are_fine(ml, group, wire, unique, name):
    """mission.md A22."""
    storage = hub.associated(wire, group, unique, "storage")["id"]
    made = ml.workspaces.begin_create(Hub(name=name, location="westus", storage_account=storage)).result()
    assert made.storage_account == storage


def test_making_a_hub_that_is_there_updates_it(ml, made, name):
    again = ml.workspaces.begin_create(Hub(name=name, description="again", tags={"b": "2"})).result()
    assert (again.id, again.description, again.tags) == (made, "again", {"b": "2"})


def test_hubs_and_projects_are_listed_by_kind(ml, made, name, shared_group, wire, unique):
    project = unique("project")
    hub.create(wire, f"{shared_group}/{hub.KIND}/{project}", "Project", hubResourceId=made)

    def names(**arguments):
        return {one.name for one in ml.workspaces.list(**arguments)}

    for scope in ("resource_group", "subscription"):
        assert {name, project} <= names(scope=scope)
        assert names(scope=scope, filtered_kinds="hub") & {name, project} == {name}
        assert names(scope=scope, filtered_kinds=["project", "default"]) & {name, project} == {project}


def test_an_update_changes_what_it_names_and_keeps_the_identity(ml, made, name):
    before = ml.workspaces.get(name)
    tags = {"a": "1"}
    ml.workspaces.begin_update(
        Hub(name=name, display_name="Renamed", public_network_access="Disabled", tags=tags)
    ).result()
    after = ml.workspaces.get(name)
    assert (after.display_name, after.public_network_access, after.tags) == ("Renamed", "Disabled", tags)
    assert after.identity.principal_id == before.identity.principal_id
    assert after.storage_account == before.storage_account
    assert after.description == before.description


def test_an_empty_map_of_tags_leaves_them(ml, made, name):
    ml.workspaces.begin_update(Hub(name=name, tags={"a": "1"})).result()
    ml.workspaces.begin_update(Hub(name=name, description="no tags here")).result()
    assert ml.workspaces.get(name).tags == {"a": "1"}


def test_an_identity_is_added_and_taken_away(ml, made, name, resource):
    helper = resource("identity")["id"]
    system = ml.workspaces.get(name).identity.principal_id
    given = [ManagedIdentityConfiguration(resource_id=helper)]
    ml.workspaces.begin_update(
        Hub(name=name), identity=IdentityConfiguration(type="user_assigned", user_assigned_identities=given)
    ).result()
    read = ml.workspaces.get(name).identity
    assert [one.resource_id for one in read.user_assigned_identities] == [helper]
    ml.workspaces.begin_update(Hub(name=name), identity=IdentityConfiguration(type="system_assigned")).result()
    read = ml.workspaces.get(name).identity
    assert read.type == "system_assigned" and not read.user_assigned_identities
    assert read.principal_id and read.principal_id != system, "a new identity, not the old one come back"


def test_insights_and_registry_are_changed_with_consent(ml, made, name, resource):
    """The client asks for consent by itself (mission.md O3, O5)."""
    registry = resource("registry")["id"]
    with pytest.raises(ValidationException, match="break lineage"):
        ml.workspaces.begin_update(Hub(name=name, container_registry=registry))
    ml.workspaces.begin_update(
        Hub(name=name, container_registry=registry, application_insights=resource("insights")["id"]),
        update_dependent_resources=True,
    ).result()
    assert ml.workspaces.get(name).container_registry == registry


def test_a_key_moves_on_to_a_new_version_in_its_vault_and_nowhere_else(ml, name, resource):
    """mission.md M2, M4, M5."""
    vault = resource("vault")
    uri = vault["properties"]["vaultUri"]
    key = CustomerManagedKey(key_vault=vault["id"], key_uri=f"{uri}keys/hub/{'1' * 32}")
    ml.workspaces.begin_create(Hub(name=name, location="westus", customer_managed_key=key)).result()
    read = ml.workspaces.get(name).customer_managed_key
    assert (read.key_vault, read.key_uri) == (vault["id"], key.key_uri)

    moved = CustomerManagedKey(key_uri=f"{uri}keys/hub/{'2' * 32}")
    ml.workspaces.begin_update(Hub(name=name, customer_managed_key=moved)).result()
    assert ml.workspaces.get(name).customer_managed_key.key_uri == moved.key_uri

    other = CustomerManagedKey(key_uri=f"{resource('vault')['properties']['vaultUri']}keys/hub/{'3' * 32}")
    with pytest.raises(HttpResponseError, match="vault") as refused:
        ml.workspaces.begin_update(Hub(name=name, customer_managed_key=other)).result()
    assert refused.value.status_code == 400
    assert ml.workspaces.get(name).customer_managed_key.key_uri == moved.key_uri


def test_a_hub_without_its_own_key_never_gets_one(ml, made, name, resource):
    vault = resource("vault")
    key = CustomerManagedKey(vault["id"], f"{vault['properties']['vaultUri']}keys/hub/{'1' * 32}")
    with pytest.raises(HttpResponseError, match="ncryption") as refused:
        ml.workspaces.begin_update(Hub(name=name, customer_managed_key=key)).result()
    assert refused.value.status_code == 400
    assert ml.workspaces.get(name).customer_managed_key is None


def test_keys_and_diagnoses(ml, name, resource):
    storage = resource("storage")["id"]
    ml.workspaces.begin_create(Hub(name=name, location="westus", storage_account=storage)).result()
    assert ml.workspaces.get_keys(name).user_storage_resource_id == storage
    assert ml.workspaces.begin_sync_keys(name).result() is None
    found = ml.workspaces.begin_diagnose(name).result()
    assert found.storage_account_results == [] and found.key_vault_results == []


def test_a_diagnosis_finds_what_is_locked_and_what_has_gone(ml, wire, name, resource):
    storage = resource("storage")["id"]
    ml.workspaces.begin_create(Hub(name=name, location="westus", storage_account=storage)).result()
    lock = f"{storage}/providers/Microsoft.Authorization/locks/keep"
    assert wire.put(lock, {"properties": {"level": "ReadOnly"}}, version="2020-05-01").status_code in (200, 201)
    found = ml.workspaces.begin_diagnose(name).result()
    assert [(one.code, one.level) for one in found.resource_lock_results] == [("ResourceLocked", "Warning")]
    assert "locks/keep" in found.resource_lock_results[0].message
    assert found.storage_account_results == [] and found.user_defined_route_results == []
    assert wire.delete(lock, version="2020-05-01").status_code in (200, 204)
    assert wire.delete(storage, version="2023-05-01").status_code in (200, 202, 204)
    found = ml.workspaces.begin_diagnose(name).result()
    assert [one.code for one in found.storage_account_results] == ["AssociatedResourceMissing"]
    assert found.resource_lock_results == []


def test_a_deleted_hub_is_gone_with_its_projects(ml, made, name, shared_group, wire, unique):
    """mission.md P2."""
    project = unique("project")
    hub.create(wire, f"{shared_group}/{hub.KIND}/{project}", "Project", hubResourceId=made)
    ml.workspaces.begin_delete(name, delete_dependent_resources=False).result()
    for gone in (name, project):
        with pytest.raises(ResourceNotFoundError):
            ml.workspaces.get(gone)


def test_a_hub_deleted_for_good_can_be_made_anew(ml, made, name):
    before = ml.workspaces.get(name).identity.principal_id
    ml.workspaces.begin_delete(name, delete_dependent_resources=False, permanently_delete=True).result()
    again = ml.workspaces.begin_create(Hub(name=name, location="westus")).result()
    assert again.identity.principal_id != before


def test_what_a_hub_stands_on_goes_with_it_when_asked(ml, name, resource, wire):
    """The client never reads the insights of a hub, so those stay."""
    parts = {kind: resource(kind) for kind in ("storage", "vault", "registry")}
    ml.workspaces.begin_create(
        Hub(
            name=name, location="westus", storage_account=parts["storage"]["id"], key_vault=parts["vault"]["id"],
            container_registry=parts["registry"]["id"],
        )
    ).result()  # fmt: skip
    ml.workspaces.begin_delete(name, delete_dependent_resources=True).result()
    for kind, part in parts.items():
        assert wire.get(part["id"], hub.ASSOCIATED[kind][1]).status_code == 404, kind


def test_what_another_hub_stands_on_is_kept(ml, name, resource, wire, shared_group, unique):
    """Deletion is refused while others use it, and says who (mission.md P5)."""
    storage = resource("storage")["id"]
    other = hub.create(wire, f"{shared_group}/{hub.KIND}/{unique('other')}", storageAccount=storage)["id"]
    hub.create(wire, f"{shared_group}/{hub.KIND}/{name}", storageAccount=storage)
    with pytest.raises(HttpResponseError) as refused:
        ml.workspaces.begin_delete(name, delete_dependent_resources=True)
    assert refused.value.status_code == 409
    assert other.rsplit("/", 1)[1] in refused.value.message
    assert wire.get(storage, hub.ASSOCIATED["storage"][1]).status_code == 200
    assert wire.get(other, WORKSPACES).status_code == 200
