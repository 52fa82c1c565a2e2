"""`az acr`: container registries. The management plane alone: nothing holds images yet."""

import pytest
from support.secrets import SECRETS


@pytest.fixture
def name(plain):
    return plain("cr")


@pytest.fixture
def registry(az, rg, name):
    return az.ok("acr", "create", "-g", rg, "-n", name, "--sku", "Premium")


def test_the_life_of_a_registry(az, rg, name, registry):
    assert (registry["sku"]["name"], registry["adminUserEnabled"]) == ("Premium", False)
    assert registry["loginServer"].startswith(f"{name}.")
    assert az.ok("acr", "show", "-n", name)["id"] == registry["id"]
    assert name in az.ok("acr", "list", "-g", rg, "--query", "[].name")
    taken = az.ok("acr", "check-name", "-n", name)
    assert (taken["nameAvailable"], taken["reason"]) == (False, "AlreadyExists")
    az.ok("acr", "delete", "-g", rg, "-n", name, "-y")
    assert az.run("acr", "show", "-g", rg, "-n", name).code == 3


def test_an_administrator_has_two_passwords(az, rg, name, registry):
    assert az.run("acr", "credential", "show", "-g", rg, "-n", name).code != 0, "not before it is enabled"
    assert az.ok("acr", "update", "-g", rg, "-n", name, "--admin-enabled", "true")["adminUserEnabled"] is True
    shown = az.ok("acr", "credential", "show", "-g", rg, "-n", name)
    SECRETS.add(*(password["value"] for password in shown["passwords"]))
    assert shown["username"] == name
    assert [password["name"] for password in shown["passwords"]] == ["password", "password2"]
    renewed = az.ok("acr", "credential", "renew", "-g", rg, "-n", name, "--password-name", "password")
    SECRETS.add(*(password["value"] for password in renewed["passwords"]))
    changed = [one["value"] != other["value"] for one, other in zip(shown["passwords"], renewed["passwords"])]
    assert changed == [True, False]
    assert az.ok("acr", "credential", "show", "-g", rg, "-n", name) == renewed


def test_a_registry_is_closed_to_the_public(az, rg, name, registry):
    closed = az.ok("acr", "update", "-g", rg, "-n", name, "--public-network-enabled", "false")
    assert closed["publicNetworkAccess"] == "Disabled"
