"""`az login --identity`: the two pairs of variables that managed identities are announced with."""

import pytest

from support import env
from support.secrets import SECRETS


@pytest.fixture(scope="module")
def announced(bastide):
    """What `bastide env python` exports: an endpoint, and a secret that stands for one identity."""
    variables = env.exports(bastide.run("env", "python"))
    SECRETS.add(variables["IDENTITY_HEADER"])
    return variables


def test_an_identity_endpoint_logs_in(fresh_az, bastide, announced):
    az = fresh_az(
        IDENTITY_ENDPOINT=announced["IDENTITY_ENDPOINT"], IDENTITY_HEADER=announced["IDENTITY_HEADER"]
    ).register_cloud()
    (account,) = az.ok("login", "--identity")
    assert account["id"] == bastide.bootstrap.subscription_id
    assert account["user"]["name"] == "systemAssignedIdentity"
    assert isinstance(az.ok("group", "list"), list)


def test_the_pair_of_a_compute_instance_logs_in(fresh_az, bastide, announced):
    az = fresh_az(MSI_ENDPOINT=announced["IDENTITY_ENDPOINT"], MSI_SECRET=announced["IDENTITY_HEADER"]).register_cloud()
    (account,) = az.ok("login", "--identity")
    assert account["id"] == bastide.bootstrap.subscription_id
    assert isinstance(az.ok("group", "list"), list)


def test_a_wrong_header_is_nobody(fresh_az, announced):
    az = fresh_az(IDENTITY_ENDPOINT=announced["IDENTITY_ENDPOINT"], IDENTITY_HEADER="not-the-header").register_cloud()
    result = az.run("login", "--identity")
    assert result.code == 1, result
    assert announced["IDENTITY_HEADER"] not in result.stderr
    assert az.run("account", "show").code == 1
