"""What an operator may switch on, off by default: password logins and types that are only stored."""

import pytest
from support import login
from support.az import Az
from support.login import AZ_CLIENT, post_form, token_url
from support.wire import Wire, refused


@pytest.fixture(scope="module")
def lenient(start_bastide):
    return start_bastide("--allow-password-grant", "--generic-resources")


def test_a_password_logs_in_where_it_is_allowed(lenient, tmp_path):
    who = lenient.bootstrap
    az = Az(tmp_path, lenient).register_cloud()
    (account,) = az.ok("login", "-u", who.admin_user, "-p", who.admin_password, "--tenant", who.tenant_id)
    az.remember_tokens()
    assert account["user"] == {"name": who.admin_user, "type": "user"}


def test_only_the_adfs_flavour_takes_passwords(lenient):
    who = lenient.bootstrap
    form = {"grant_type": "password", "client_id": AZ_CLIENT, "username": who.admin_user,
            "password": who.admin_password, "scope": f"{lenient.endpoint}/.default"}  # fmt: skip
    assert post_form(lenient, token_url(lenient, "adfs"), form).status_code == 200
    answer = post_form(lenient, token_url(lenient), form)
    assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")


def test_a_wrong_password_is_refused(lenient):
    form = {"grant_type": "password", "client_id": AZ_CLIENT, "username": lenient.bootstrap.admin_user,
            "password": "wrong-password-entirely", "scope": f"{lenient.endpoint}/.default"}  # fmt: skip
    answer = post_form(lenient, token_url(lenient, "adfs"), form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert answer.json()["error_codes"] == [50126]


@pytest.fixture(scope="module")
def wire(lenient):
    return Wire(lenient, login.access_token(lenient))


@pytest.fixture(scope="module")
def castle(lenient, wire):
    group = f"{lenient.subscription}/resourceGroups/generic"
    wire.put(group, {"location": "westus"})
    return f"{group}/providers/Example.Castles/keeps/one"


def test_a_type_nobody_implements_is_stored_and_says_that_it_is_only_that(wire, castle):
    body = {"location": "westus", "tags": {"a": "1"}, "properties": {"towers": 4}}
    created = wire.put(castle, body, "2024-01-01")
    assert created.status_code == 201
    document = created.json()
    assert document["id"] == castle and document["properties"]["towers"] == 4 and document["tags"] == {"a": "1"}
    assert '"dataPlane":"none"' in created.text.replace(" ", "")
    assert wire.get(castle, "2024-01-01").json() == document
    assert wire.delete(castle, "2024-01-01").status_code == 200


def test_types_that_are_implemented_keep_their_rules(wire, lenient):
    path = f"{lenient.subscription}/resourceGroups/generic/providers/Microsoft.MachineLearningServices/workspaces/x"
    refused(wire.put(path, {"location": "westus", "kind": "Hub"}, "2025-12-01"), 400, "InvalidResourceName")


def test_a_switch_that_is_off_stores_nothing_new(start_bastide):
    strict = start_bastide("--generic-resources=false")
    wire = Wire(strict, login.access_token(strict))
    group = f"{strict.subscription}/resourceGroups/generic"
    wire.put(group, {"location": "westus"})
    answer = wire.put(f"{group}/providers/Example.Castles/keeps/one", {"location": "westus"}, "2024-01-01")
    refused(answer, 404, "InvalidResourceNamespace")
