"""`az ad`: the part of the directory that logging in and assigning roles needs."""

import json

import pytest
from support.secrets import SECRETS


def test_a_client_finds_its_own_service_principal(az, bastide):
    found = az.ok("ad", "sp", "show", "--id", bastide.bootstrap.client_id)
    assert found["appId"] == bastide.bootstrap.client_id
    assert found["id"] != found["appId"]
    assert found["displayName"]


def test_a_person_is_found_by_name(az, bastide):
    found = az.ok("ad", "user", "show", "--id", bastide.bootstrap.admin_user)
    assert found["userPrincipalName"] == bastide.bootstrap.admin_user


def test_a_stranger_is_not_found(az):
    assert az.run("ad", "sp", "show", "--id", "6f2c9e51-0000-4000-8000-000000000000").code in (1, 3)
    assert az.run("ad", "user", "show", "--id", "nobody@bastide.localhost").code in (1, 3)


@pytest.fixture(scope="module")
def app(az, unique):
    """A new application with its service principal."""
    made = az.ok("ad", "app", "create", "--display-name", unique("app"))
    az.ok("ad", "sp", "create", "--id", made["appId"])
    yield made
    az.run("ad", "app", "delete", "--id", made["appId"])


def test_an_application_is_renamed_and_sent_back_elsewhere(az, app, unique):
    name, uri = unique("renamed"), f"api://{unique('uri')}"
    az.ok("ad", "app", "update", "--id", app["appId"], "--display-name", name, "--identifier-uris", uri,
          "--web-redirect-uris", "https://app.example.com/cb")  # fmt: skip
    shown = az.ok("ad", "app", "show", "--id", uri)
    assert (shown["appId"], shown["displayName"]) == (app["appId"], name)
    assert shown["web"]["redirectUris"] == ["https://app.example.com/cb"]
    assert az.ok("ad", "sp", "show", "--id", app["appId"])["displayName"] == name


def test_a_federated_credential_is_updated(az, app):
    trust = {"name": "pipeline", "issuer": "https://issuer.example.com", "subject": "main", "audiences": ["api://a"]}
    of_app = ("--id", app["appId"])
    az.ok("ad", "app", "federated-credential", "create", *of_app, "--parameters", json.dumps(trust))
    one = (*of_app, "--federated-credential-id", "pipeline")
    trust = {"issuer": "https://issuer.example.com", "subject": "next", "audiences": ["api://a"]}
    az.ok("ad", "app", "federated-credential", "update", *one, "--parameters", json.dumps(trust))
    assert az.ok("ad", "app", "federated-credential", "show", *one)["subject"] == "next"
    az.ok("ad", "app", "federated-credential", "delete", *one)


def test_people_and_groups_have_names_that_change(az, unique):
    name = f"{unique('ada')}@bastide.localhost"
    password = f"{unique('correct')}-Horse-9-battery"
    SECRETS.add(password)
    az.ok("ad", "user", "create", "--display-name", "Ada", "--user-principal-name", name, "--password", password)
    az.ok("ad", "user", "update", "--id", name, "--display-name", "Ada King")
    assert az.ok("ad", "user", "show", "--id", name)["displayName"] == "Ada King"
    az.ok("ad", "user", "delete", "--id", name)
    group = unique("crew")
    made = az.ok("ad", "group", "create", "--display-name", group, "--mail-nickname", group, "--description", "builds")
    assert made["description"] == "builds"
    az.ok("ad", "group", "delete", "-g", group)


def test_a_new_client_logs_in_with_the_secret_it_was_given(az, fresh_az, bastide, app):
    given = az.ok("ad", "app", "credential", "reset", "--id", app["appId"], "--append")
    SECRETS.add(given["password"])
    assert given["appId"] == app["appId"] and given["tenant"] == bastide.bootstrap.tenant_id
    other = fresh_az().register_cloud()
    (account,) = other.ok(
        "login", "--service-principal", "-u", given["appId"], "-p", given["password"], "--tenant", given["tenant"],
        "--allow-no-subscriptions",
    )  # fmt: skip
    assert account["user"]["name"] == given["appId"]


def test_a_new_client_may_do_nothing(az, fresh_az, bastide, app):
    given = az.ok("ad", "app", "credential", "reset", "--id", app["appId"], "--append")
    SECRETS.add(given["password"])
    other = fresh_az().register_cloud()
    other.ok(
        "login", "--service-principal", "-u", given["appId"], "-p", given["password"], "--tenant", given["tenant"],
        "--allow-no-subscriptions",
    )  # fmt: skip
    result = other.rest_with(other.token(), f"{bastide.subscription}/resourceGroups?api-version=2024-11-01")
    assert result.code == 1
    assert "AuthorizationFailed" in result.stderr


def test_secrets_are_listed_without_their_values(az, app):
    given = az.ok("ad", "app", "credential", "reset", "--id", app["appId"], "--append", "--display-name", "listed")
    SECRETS.add(given["password"])
    listed = az.ok("ad", "app", "credential", "list", "--id", app["appId"])
    assert "listed" in [credential["displayName"] for credential in listed]
    assert given["password"] not in str(listed)


def test_a_deleted_secret_no_longer_logs_in(az, fresh_az, app):
    given = az.ok("ad", "app", "credential", "reset", "--id", app["appId"], "--append", "--display-name", "short")
    SECRETS.add(given["password"])
    (short,) = [
        c for c in az.ok("ad", "app", "credential", "list", "--id", app["appId"]) if c["displayName"] == "short"
    ]
    az.ok("ad", "app", "credential", "delete", "--id", app["appId"], "--key-id", short["keyId"])
    other = fresh_az().register_cloud()
    result = other.run(
        "login", "--service-principal", "-u", given["appId"], "-p", given["password"], "--tenant", given["tenant"],
        "--allow-no-subscriptions",
    )  # fmt: skip
    assert result.code == 1
    assert "AADSTS7000215" in result.stderr
