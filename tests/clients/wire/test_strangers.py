"""Other tenants, other subscriptions, and principals without rights: refused, and told nothing."""

import uuid

import pytest
import requests
from support import graph, login
from support.identity import announce
from support.secrets import SECRETS
from support.wire import IDENTITIES, Wire, refused

KIND = "providers/Microsoft.ManagedIdentity/userAssignedIdentities"


@pytest.fixture(scope="module")
def stranger(bastide):
    """A client of this tenant that nobody gave any right."""
    client_id, secret = graph.create_client(bastide, "stranger")
    return Wire(bastide, login.access_token(bastide, client_id=client_id, client_secret=secret))


def test_nobody_else_is_let_through_by_default(stranger, bastide, wire, group):
    wire.put(f"{group}/{KIND}/theirs", {"location": "westus"}, IDENTITIES)
    resource = f"{group}/{KIND}/theirs"
    for method, path, body in [
        ("GET", group, None), ("PUT", group, {"location": "westus"}), ("PATCH", group, {"tags": {"a": "1"}}),
        ("DELETE", group, None), ("GET", resource, None), ("PUT", resource, {"location": "westus"}),
        ("PATCH", resource, {"tags": {"a": "1"}}), ("DELETE", resource, None), ("GET", f"{group}/resources", None),
        ("GET", f"{bastide.subscription}/resourceGroups", None), ("GET", bastide.subscription, None),
        ("POST", f"{bastide.subscription}/providers/Microsoft.ManagedIdentity/unregister", {}),
        ("PUT", f"{resource}/providers/Microsoft.Resources/tags/default", {"properties": {"tags": {}}}),
        ("POST", f"{resource}/issueEndpointSecret", {}),
    ]:  # fmt: skip
        answer = stranger.request(method, path, IDENTITIES, **({"json": body} if body is not None else {}))
        error = refused(answer, 403, "AuthorizationFailed")
        assert "/" in error["message"].split("action '")[1].split("'")[0], "the sentence names the missing action"
    assert wire.get(resource, IDENTITIES).json().get("tags", {}) == {}


def test_head_refuses_as_well(stranger, group):
    assert stranger.head(group).status_code == 403


def test_a_stranger_sees_no_subscription(stranger):
    assert stranger.get("/subscriptions").json()["value"] == []


def test_what_is_there_and_what_is_not_look_the_same_to_a_stranger(stranger, group):
    """Otherwise the answer would tell whose names exist."""
    there, missing = stranger.get(group), stranger.get(group + "-not")
    assert (there.status_code, missing.status_code) == (403, 403)
    assert there.json()["error"]["message"] == missing.json()["error"]["message"].replace(group + "-not", group)


def test_head_and_body_errors_come_after_the_right_to_ask(stranger, group):
    """A stranger's broken body is a stranger's before it is broken."""
    answer = stranger.request(
        "PUT", f"{group}/{KIND}/x", IDENTITIES, data=b"{", headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 403


def test_another_subscription_is_not_found(wire):
    for path in ("", "/resourceGroups", "/resourceGroups/x", f"/resourceGroups/x/{KIND}/y", "/resources", "/providers"):
        refused(wire.get(f"/subscriptions/{uuid.uuid4()}{path}"), 404, "SubscriptionNotFound")


def test_a_resource_of_another_subscription_cannot_be_written(wire):
    path = f"/subscriptions/{uuid.uuid4()}/resourceGroups/x"
    refused(wire.put(path, {"location": "westus"}), 404, "SubscriptionNotFound")


def test_a_project_cannot_hang_on_a_hub_of_another_subscription(wire, group):
    hub = f"/subscriptions/{uuid.uuid4()}/resourceGroups/x/providers/Microsoft.MachineLearningServices/workspaces/hub"
    body = {"location": "westus", "kind": "Project", "properties": {"hubResourceId": hub}}
    path = f"{group}/providers/Microsoft.MachineLearningServices/workspaces/project"
    answer = wire.put(path, body, "2025-12-01")
    assert answer.status_code in (400, 403, 404), answer.text
    assert wire.get(path, "2025-12-01").status_code == 404


def test_the_operation_of_somebody_else_is_not_theirs_to_read(stranger, wire, bastide, unique):
    path = f"{bastide.subscription}/resourceGroups/{unique('rg')}"
    wire.put(path, {"location": "westus"})
    location = wire.delete(path).headers["Location"]
    assert stranger.get(location, version=None).status_code in (403, 404)


def test_a_token_of_a_deleted_client_stops_at_once(bastide):
    client_id, secret = graph.create_client(bastide, "short-lived")
    token = login.access_token(bastide, client_id=client_id, client_secret=secret)
    assert Wire(bastide, token).get("/subscriptions").status_code == 200
    graph.delete_client(bastide, client_id)
    refused(Wire(bastide, token).get("/subscriptions"), 401, "InvalidAuthenticationToken")
    answer = login.client_credentials(bastide, client_id=client_id, client_secret=secret)
    assert answer.status_code == 401


def test_the_token_of_a_deleted_identity_stops_at_once(bastide, wire, group):
    mortal = announce(wire, group, "mortal")

    def token():
        return requests.get(
            mortal.endpoint, params={"api-version": "2019-08-01", "resource": bastide.endpoint},
            headers={"X-IDENTITY-HEADER": mortal.header}, verify=bastide.ca_file, timeout=10,
        )  # fmt: skip

    bearer = token().json()["access_token"]
    SECRETS.add_jwt(bearer)
    assert Wire(bastide, bearer).get("/subscriptions").status_code == 200
    assert wire.delete(mortal.id, IDENTITIES).status_code == 200
    refused(Wire(bastide, bearer).get("/subscriptions"), 401, "InvalidAuthenticationToken")
    assert token().status_code in (400, 401, 404)
