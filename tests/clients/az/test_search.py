"""`az search`: search services and their keys. The management plane alone."""

import pytest
from support.secrets import SECRETS


@pytest.fixture
def service(az, rg, unique):
    name = unique("search")
    az.ok("search", "service", "create", "-g", rg, "-n", name, "-l", "westus", "--sku", "basic")
    return ["-g", rg, "--service-name", name]


def test_admin_keys_are_told_and_renewed(az, service):
    def keys(*command):
        found = az.ok("search", "admin-key", *command, *service)
        SECRETS.add(found["primaryKey"], found["secondaryKey"])
        return found

    before = keys("show")
    after = keys("renew", "--key-kind", "primary")
    assert after["primaryKey"] != before["primaryKey"] and after["secondaryKey"] == before["secondaryKey"]
    assert keys("show") == after


def test_a_query_key_is_there_from_the_beginning(az, service):
    (key,) = az.ok("search", "query-key", "list", *service)
    SECRETS.add(key["key"])
    assert len(key["key"]) >= 32


def test_query_keys_are_made_by_name_and_deleted_by_key(az, service):
    (first,) = az.ok("search", "query-key", "list", *service)
    made = az.ok("search", "query-key", "create", "--name", "readers", *service)
    SECRETS.add(first["key"], made["key"])
    assert made["name"] == "readers"
    assert az.ok("search", "query-key", "list", *service) == [first, made]
    # The key is in the path of this one; no log may hold it.
    az.ok("search", "query-key", "delete", "--key-value", first["key"], *service)
    assert az.ok("search", "query-key", "list", *service) == [made]
