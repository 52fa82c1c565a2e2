"""Every published example request for computes, with what a host without graphics processors and virtual machines cannot
do taken out; the answers are validated against the description of their version.
"""

import re

import pytest
from support import hub, swagger
from support.wire import WORKSPACES, refused

pytestmark = swagger.needed()

EXAMPLES = swagger.examples("Compute")

# Computes that belong to others, which Bastide does not reach.
ATTACHED = ("AKS", "Kubernetes", "DataFactory")


def attached(example):
    body = example.body if isinstance(example.body, dict) else {}
    return body.get("properties", {}).get("computeType") in ATTACHED


OWN = [example for example in EXAMPLES if not attached(example)]


@pytest.fixture(scope="module")
def workspace(wire, shared_group, unique):
    return hub.create(wire, f"{shared_group}/{hub.KIND}/{unique('hub')}")["id"]


@pytest.fixture
def path_of(workspace, unique):
    """Path of an example's request, on a compute of the test's own."""
    name = f"{unique('ci')}x"

    def path(example, path=None):
        path = (path or example.path).split("/workspaces/{workspaceName}", 1)[1]
        return workspace + re.sub(r"\{computeName\}", name, path)

    return path


@pytest.fixture
def adapted(bastide):
    """An example's body as it can be on this host."""

    def adapted(body):
        if not isinstance(body, dict):
            return body
        inner = body.get("properties", {}).get("properties")
        if inner is None:
            return body
        inner = {name: value for name, value in inner.items() if name not in ("subnet", "virtualMachineImage")}
        changes = {"vmSize": "STANDARD_DS1_V2", "osType": "Linux"}
        inner |= {name: value for name, value in changes.items() if name in inner}
        if user := inner.get("personalComputeInstanceSettings"):
            inner["personalComputeInstanceSettings"] = {
                "assignedUser": {**user["assignedUser"], "tenantId": bastide.bootstrap.tenant_id}
            }
        return {**body, "properties": {**body["properties"], "properties": inner}}

    return adapted


@pytest.fixture
def stage(wire, path_of, unique):
    """Makes the compute that an example acts on, of the kind that it is about."""
    made = []

    def stage(example):
        made.append(path_of(example, "/workspaces/{workspaceName}/computes/{computeName}"))
        # A creation without a size is the change of a cluster that is there.
        is_change = example.verb == "put" and "vmSize" not in example.body["properties"].get("properties", {})
        if example.operation == "Compute_List" or (example.verb == "put" and not is_change):
            return
        inner = {"vmSize": "Standard_DS1_v2"}
        is_cluster = is_change or example.operation in ("Compute_Update", "Compute_ListNodes")
        if is_cluster:
            inner["scaleSettings"] = {"maxNodeCount": 2}
        kind = "AmlCompute" if is_cluster else "ComputeInstance"
        answer = wire.put(made[-1], {"properties": {"computeType": kind, "properties": inner}}, WORKSPACES)
        assert answer.status_code == 201, answer.text

    yield stage
    for path in made:
        wire.delete(path, WORKSPACES, params={"underlyingResourceAction": "Delete"})


@pytest.mark.parametrize("example", OWN, ids=[f"{one.id}-{number}" for number, one in enumerate(OWN)])
def test_an_example_is_taken_and_answered_as_described(wire, stage, path_of, adapted, example):
    stage(example)
    body = {} if example.body is None else {"json": adapted(example.body)}
    answer = wire.request(example.verb.upper(), path_of(example), example.version, params=example.query, **body)
    assert answer.status_code < 300, f"{example.id}: {answer.status_code} {answer.text}"
    shown = answer.json() if answer.content else None
    assert not swagger.problems(example, answer.status_code, shown)


@pytest.mark.parametrize("example", [one for one in EXAMPLES if attached(one)], ids=lambda one: one.id)
def test_what_belongs_to_others_is_refused_and_not_stored(wire, path_of, example):
    error = refused(wire.put(path_of(example), example.body, example.version), 400, "ValidationError")
    assert "attaches nothing" in error["message"]
    assert wire.get(path_of(example), example.version).status_code == 404
