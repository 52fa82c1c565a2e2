"""azure-ai-ml: what is deleted is kept for a while, can come back, and can be deleted for good (mission.md P7).

The SDK can delete in both ways and no more; the rest is asked for by plain requests.
"""

import pytest
from azure.ai.ml.entities import Hub
from azure.core.exceptions import ResourceNotFoundError
from support import hub
from support.wire import WORKSPACES

DELETED = "providers/Microsoft.MachineLearningServices/deletedWorkspaces"


@pytest.fixture
def kept(wire, shared_group, name):
    """What is left of the deleted workspaces of the test's name."""

    def kept():
        listed = wire.get(f"{shared_group}/{DELETED}", WORKSPACES).json()["value"]
        return [one for one in listed if one["properties"]["workspaceResourceId"].endswith(f"/{name}")]

    return kept


def test_a_deleted_hub_comes_back_with_all_that_was_in_it(ml, made, name, kept, wire, shared_group, unique):
    project = unique("project")
    hub.create(wire, f"{shared_group}/{hub.KIND}/{project}", "Project", hubResourceId=made)
    connection = {"properties": {"category": "Git", "authType": "None", "target": "https://git.example"}}
    assert wire.put(f"{made}/connections/code", connection, WORKSPACES).status_code == 200
    before = ml.workspaces.get(name)
    ml.workspaces.begin_delete(name, delete_dependent_resources=False).result()
    with pytest.raises(ResourceNotFoundError):
        ml.workspaces.get(name)
    (left,) = kept()
    assert wire.post(f"{left['id']}/restore", None, WORKSPACES).status_code in (200, 202)
    after = ml.workspaces.get(name)
    assert (after.id, after.associated_workspaces) == (before.id, before.associated_workspaces)
    assert after.identity.principal_id == before.identity.principal_id
    assert wire.get(f"{made}/connections/code", WORKSPACES).status_code == 200
    assert kept() == []


def test_a_name_can_be_given_again_at_once(ml, made, name, kept):
    before = ml.workspaces.get(name).identity.principal_id
    ml.workspaces.begin_delete(name, delete_dependent_resources=False).result()
    again = ml.workspaces.begin_create(Hub(name=name, location="westus")).result()
    assert again.identity.principal_id != before
    assert len(kept()) == 1


def test_what_is_kept_can_be_purged(ml, made, name, kept, wire):
    ml.workspaces.begin_delete(name, delete_dependent_resources=False).result()
    (left,) = kept()
    assert wire.delete(left["id"], WORKSPACES).status_code in (200, 202, 204)
    assert kept() == []


def test_a_hub_deleted_for_good_leaves_nothing(ml, made, name, kept):
    ml.workspaces.begin_delete(name, delete_dependent_resources=False, permanently_delete=True).result()
    assert kept() == []
