"""The success code of every operation. Generated clients accept exactly the declared ones and raise on the others.

The table is status-codes.txt and arm-models.md section 2, narrowed to what is implemented.
"""

import pytest
from support.wire import GROUPS, IDENTITIES, SUBSCRIPTIONS, WORKSPACES

IDENTITY = "{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
WORKSPACE = "{group}/providers/Microsoft.MachineLearningServices/workspaces"
TRACKED = {"location": "westus"}
HUB = {"location": "westus", "kind": "Hub", "properties": {}}
COMPUTE = WORKSPACE + "/hub/computes/one"
INSTANCE = {"properties": {"computeType": "ComputeInstance", "properties": {"vmSize": "STANDARD_DS1_V2"}}}
CLUSTER = {
    "properties": {
        "computeType": "AmlCompute",
        "properties": {"vmSize": "Standard_DS1_v2", "scaleSettings": {"maxNodeCount": 1}},
    }
}
SCALE = {"properties": {"properties": {"scaleSettings": {"maxNodeCount": 2}}}}
TAGS = {"properties": {"tags": {"a": "1"}}}

# Each row: what, method, path, api-version, body, the codes clients accept. In order; later rows build on earlier ones.
OPERATIONS = [
    ("tenants list", "GET", "/tenants", SUBSCRIPTIONS, None, {200}),
    ("subscriptions list", "GET", "/subscriptions", SUBSCRIPTIONS, None, {200}),
    ("subscription get", "GET", "{subscription}", SUBSCRIPTIONS, None, {200}),
    ("locations list", "GET", "{subscription}/locations", SUBSCRIPTIONS, None, {200}),
    ("providers list", "GET", "{subscription}/providers", GROUPS, None, {200}),
    ("provider get", "GET", "{subscription}/providers/Microsoft.ManagedIdentity", GROUPS, None, {200}),
    ("provider register", "POST", "{subscription}/providers/Microsoft.ManagedIdentity/register", GROUPS, None, {200}),
    ("tenant providers list", "GET", "/providers", GROUPS, None, {200}),
    ("operations list", "GET", "/providers/Microsoft.MachineLearningServices/operations", WORKSPACES, None, {200}),
    ("group create", "PUT", "{group}", GROUPS, TRACKED, {201}),
    ("group create again", "PUT", "{group}", GROUPS, TRACKED, {200}),
    ("group get", "GET", "{group}", GROUPS, None, {200}),
    ("group check", "HEAD", "{group}", GROUPS, None, {204}),
    ("group update", "PATCH", "{group}", GROUPS, {"tags": {"a": "1"}}, {200}),
    ("groups list", "GET", "{subscription}/resourcegroups", GROUPS, None, {200}),
    ("group resources list", "GET", "{group}/resources", GROUPS, None, {200}),
    ("resources list", "GET", "{subscription}/resources", GROUPS, None, {200}),
    ("identity create", "PUT", IDENTITY + "/one", IDENTITIES, TRACKED, {201}),
    ("identity create again", "PUT", IDENTITY + "/one", IDENTITIES, TRACKED, {200}),
    ("identity get", "GET", IDENTITY + "/one", IDENTITIES, None, {200}),
    ("identity update", "PATCH", IDENTITY + "/one", IDENTITIES, {"tags": {"a": "1"}}, {200, 201}),
    ("identities list", "GET", IDENTITY, IDENTITIES, None, {200}),
    (
        "identities of the subscription",
        "GET",
        "{subscription}/providers/Microsoft.ManagedIdentity/userAssignedIdentities",
        IDENTITIES,
        None,
        {200},
    ),
    ("workspace create", "PUT", WORKSPACE + "/hub", WORKSPACES, HUB, {200, 202}),
    ("workspace create again", "PUT", WORKSPACE + "/hub", WORKSPACES, HUB, {200, 202}),
    ("workspace get", "GET", WORKSPACE + "/hub", WORKSPACES, None, {200}),
    ("workspace update", "PATCH", WORKSPACE + "/hub", WORKSPACES, {"properties": {"description": "x"}}, {200, 202}),
    ("workspaces list", "GET", WORKSPACE, WORKSPACES, None, {200}),
    ("instance create", "PUT", COMPUTE, WORKSPACES, INSTANCE, {201}),
    ("instance create again", "PUT", COMPUTE, WORKSPACES, INSTANCE, {200}),
    ("instance get", "GET", COMPUTE, WORKSPACES, None, {200}),
    ("instance stop", "POST", COMPUTE + "/stop", WORKSPACES, None, {202}),
    ("instance start", "POST", COMPUTE + "/start", WORKSPACES, None, {202}),
    ("instance restart", "POST", COMPUTE + "/restart", WORKSPACES, None, {202}),
    ("instance sso", "POST", COMPUTE + "/enableSso", WORKSPACES, {"enableSSO": True}, {200}),
    ("cluster create", "PUT", COMPUTE + "-more", WORKSPACES, CLUSTER, {201}),
    ("cluster update", "PATCH", COMPUTE + "-more", WORKSPACES, SCALE, {200}),
    ("cluster nodes", "POST", COMPUTE + "-more/listNodes", WORKSPACES, None, {200}),
    ("computes list", "GET", WORKSPACE + "/hub/computes", WORKSPACES, None, {200}),
    ("compute delete", "DELETE", COMPUTE + "?underlyingResourceAction=Delete", WORKSPACES, None, {202}),
    ("compute delete none", "DELETE", COMPUTE + "-none?underlyingResourceAction=Delete", WORKSPACES, None, {204}),
    (
        "workspaces of the subscription",
        "GET",
        "{subscription}/providers/Microsoft.MachineLearningServices/workspaces",
        WORKSPACES,
        None,
        {200},
    ),
    ("tags get", "GET", "{group}/providers/Microsoft.Resources/tags/default", GROUPS, None, {200}),
    ("tags create", "PUT", "{group}/providers/Microsoft.Resources/tags/default", GROUPS, TAGS, {200}),
    (
        "tags update",
        "PATCH",
        "{group}/providers/Microsoft.Resources/tags/default",
        GROUPS,
        {"operation": "Merge", **TAGS},
        {200},
    ),
    ("tags delete", "DELETE", "{group}/providers/Microsoft.Resources/tags/default", GROUPS, None, {200, 204}),
    ("tag names list", "GET", "{subscription}/tagNames", GROUPS, None, {200}),
    ("tag name create", "PUT", "{subscription}/tagNames/{name}", GROUPS, None, {200, 201}),
    ("tag name create again", "PUT", "{subscription}/tagNames/{name}", GROUPS, None, {200}),
    ("tag value create", "PUT", "{subscription}/tagNames/{name}/tagValues/v", GROUPS, None, {200, 201}),
    ("tag value delete", "DELETE", "{subscription}/tagNames/{name}/tagValues/v", GROUPS, None, {200, 204}),
    ("tag name delete", "DELETE", "{subscription}/tagNames/{name}", GROUPS, None, {200, 204}),
    ("workspace delete", "DELETE", WORKSPACE + "/hub", WORKSPACES, None, {200, 202}),
    ("workspace delete again", "DELETE", WORKSPACE + "/hub", WORKSPACES, None, {204}),
    ("identity delete", "DELETE", IDENTITY + "/one", IDENTITIES, None, {200}),
    ("identity delete again", "DELETE", IDENTITY + "/one", IDENTITIES, None, {204}),
    ("group delete", "DELETE", "{group}", GROUPS, None, {200, 202}),
]


@pytest.fixture(scope="module")
def places(bastide, unique):
    name = unique("codes")
    return {
        "subscription": bastide.subscription,
        "group": f"{bastide.subscription}/resourceGroups/{name}",
        "name": name,
    }


@pytest.mark.parametrize(
    ("method", "path", "version", "body", "codes"), [row[1:] for row in OPERATIONS], ids=[row[0] for row in OPERATIONS]
)
def test_an_operation_answers_with_a_code_its_clients_accept(wire, places, method, path, version, body, codes):
    answer = wire.request(method, path.format(**places), version, **({"json": body} if body is not None else {}))
    assert answer.status_code in codes, answer.text
