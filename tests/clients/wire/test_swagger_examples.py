"""Every published example request for workspaces, their networks and connections, sent as it stands.

Ids and names are rewritten to what is there; the answers are validated against the description of their version.
"""

import json
import re

import pytest
from support import hub, swagger

pytestmark = swagger.needed()

EXAMPLES = swagger.examples(
    "Workspaces",
    "ManagedNetworkSettingsRule",
    "ManagedNetworkProvisions",
    "WorkspaceConnections",
    "PrivateLinkResources",
)

# What the examples stand on, and under which names they say so.
STANDS_ON = {
    "testStorageAccount": "storage",
    "testkv": "vault",
    "testRegistry": "registry",
    "testinsights": "insights",
    "testuai": "identity",
}


@pytest.fixture(scope="module")
def rewrite(wire, bastide, shared_group, unique):
    """An example's value with the subscription, groups and names that exist here."""
    names = {name: hub.associated(wire, shared_group, unique, kind)["name"] for name, kind in STANDS_ON.items()}

    def rewrite(value):
        text = json.dumps(value)
        text = re.sub(r"/subscriptions/[0-9a-f-]{36}/resourceGroups/[^/\"]+", shared_group, text)
        for name, ours in names.items():
            text = text.replace(name, ours)
        return json.loads(text)

    return rewrite


@pytest.fixture
def request_of(bastide, shared_group, unique):
    """Path of an example's request, on a workspace of the test's own."""
    workspace = unique("ws")

    def path(example, path=None):
        values = {
            **example.parameters,
            "subscriptionId": bastide.bootstrap.subscription_id,
            "resourceGroupName": shared_group.rsplit("/", 1)[1],
            "workspaceName": workspace,
        }
        return re.sub(r"\{(\w+)\}", lambda match: str(values[match[1]]), path or example.path)

    return path


def of(operation, version):
    (found,) = [one for one in EXAMPLES if (one.operation, one.version) == (operation, version)]
    return found


@pytest.fixture
def send(wire, request_of, rewrite):
    """Sends an example; returns the last status and body after following an operation to its end."""

    def send(example):
        body = {} if example.body is None else {"json": rewrite(example.body)}
        answer = wire.request(
            example.verb.upper(), request_of(example), example.version, params=example.query, **body
        )  # fmt: skip
        assert answer.status_code < 300, f"{example.id}: {answer.status_code} {answer.text}"
        if answer.status_code == 202 and "200" in example.responses:
            answer = wire.finish(answer)
        return answer.status_code, answer.json() if answer.content else None

    return send


@pytest.fixture
def stage(wire, send, request_of):
    """Makes what an example acts on: a workspace by the version's own example, and in it a rule and a connection."""
    made = []

    def stage(example):
        creation = of("Workspaces_CreateOrUpdate", example.version)
        workspace = request_of(example, creation.path)
        made.append(workspace)
        if example == creation:
            return
        send(creation)
        # The rule of the examples can stand in an isolated network alone.
        isolated = {"properties": {"managedNetwork": {"isolationMode": "AllowOnlyApprovedOutbound"}}}
        assert wire.patch(workspace, isolated, example.version).status_code == 200
        if "{ruleName}" in example.path:
            rule = of("ManagedNetworkSettingsRule_CreateOrUpdate", example.version)
            wire.put(request_of(example, rule.path), rule.body, example.version)
        if "{connectionName}" in example.path:
            connection = of("WorkspaceConnections_Create", example.version)
            wire.put(request_of(example, connection.path), connection.body, example.version)

    yield stage
    # Gone at once, so that no list grows with the tests.
    for workspace in made:
        wire.delete(workspace, params={"forceToPurge": "true"})


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.id for example in EXAMPLES])
def test_an_example_is_taken_and_answered_as_described(stage, send, example):
    stage(example)
    status, answer = send(example)
    assert not swagger.problems(example, status, answer)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"location": 1}, "location"),
        ({"castle": True}, "castle"),
        ({"publicNetworkAccess": "Sometimes"}, "Sometimes"),
        ({"managedNetwork": {"outboundRules": {"one": {"type": "FQDN", "destination": {}}}}}, "destination"),
        ({"managedNetwork": {"outboundRules": {"one": {"destination": "pypi.org"}}}}, "type"),
    ],
)
def test_the_validator_sees_what_is_wrong(stage, send, change, complaint):
    example = of("Workspaces_Get", "2024-10-01")
    stage(example)
    status, answer = send(example)
    place = answer if "location" in change else answer["properties"]
    place.update(change)
    assert any(complaint in problem for problem in swagger.problems(example, status, answer))
