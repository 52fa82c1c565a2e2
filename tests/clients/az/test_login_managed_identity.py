"""`az login --identity`: the two pairs of variables that managed identities are announced with.

An identity that nobody gave a role sees no subscription; az then wants `--allow-no-subscriptions`.
"""

import pytest
from support import identity


@pytest.fixture(scope="module")
def announced(wire, shared_group, unique):
    return identity.announce(wire, shared_group, unique("machine"))


def test_an_identity_endpoint_logs_in(fresh_az, bastide, announced):
    az = fresh_az(IDENTITY_ENDPOINT=announced.endpoint, IDENTITY_HEADER=announced.header).register_cloud()
    (account,) = az.ok("login", "--identity", "--allow-no-subscriptions")
    assert account["tenantId"] == bastide.bootstrap.tenant_id
    assert account["user"]["name"] == "systemAssignedIdentity"
    assert az.ok("rest", "--method", "get", "--url", "/subscriptions?api-version=2022-12-01")["value"] == []


def test_the_pair_of_a_compute_instance_logs_in(fresh_az, bastide, announced):
    az = fresh_az(MSI_ENDPOINT=announced.endpoint, MSI_SECRET=announced.header).register_cloud()
    (account,) = az.ok("login", "--identity", "--allow-no-subscriptions")
    assert account["tenantId"] == bastide.bootstrap.tenant_id
    assert az.ok("rest", "--method", "get", "--url", "/tenants?api-version=2022-12-01")["value"]


@pytest.mark.parametrize("selector", ["--client-id", "--object-id", "--resource-id"])
def test_an_identity_may_be_named(fresh_az, announced, selector):
    value = {"--client-id": announced.client_id, "--object-id": announced.principal_id, "--resource-id": announced.id}
    az = fresh_az(IDENTITY_ENDPOINT=announced.endpoint, IDENTITY_HEADER=announced.header).register_cloud()
    (account,) = az.ok("login", "--identity", selector, value[selector], "--allow-no-subscriptions")
    assert account["user"]["name"] == "userAssignedIdentity"


def test_another_identity_cannot_be_named(fresh_az, announced):
    az = fresh_az(IDENTITY_ENDPOINT=announced.endpoint, IDENTITY_HEADER=announced.header).register_cloud()
    stranger = "6f2c9e51-0000-4000-8000-000000000000"
    result = az.run("login", "--identity", "--client-id", stranger, "--allow-no-subscriptions")
    assert result.code == 1, result


def test_a_wrong_header_is_nobody(fresh_az, announced):
    az = fresh_az(IDENTITY_ENDPOINT=announced.endpoint, IDENTITY_HEADER="not-the-header").register_cloud()
    result = az.run("login", "--identity", "--allow-no-subscriptions")
    assert result.code == 1, result
    assert announced.header not in result.stderr
    assert az.run("account", "show").code == 1


def test_an_identity_without_a_role_is_refused(fresh_az, bastide, announced):
    az = fresh_az(IDENTITY_ENDPOINT=announced.endpoint, IDENTITY_HEADER=announced.header).register_cloud()
    az.ok("login", "--identity", "--allow-no-subscriptions")
    result = az.rest_with(az.token(), f"{bastide.subscription}/resourceGroups?api-version=2024-11-01")
    assert result.code == 1
    assert "AuthorizationFailed" in result.stderr
