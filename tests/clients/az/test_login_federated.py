"""`az login --federated-token`: a workload proves who it is with a token of an outside issuer, and keeps no secret."""

import time

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from support import graph
from support.az import Az
from support.issuer import AUDIENCE, Issuer

SUBJECT = "repo:example/castle:ref:refs/heads/main"


@pytest.fixture(scope="module")
def issuer(homes):
    issuer = Issuer(homes())
    yield issuer
    issuer.close()


@pytest.fixture(scope="module")
def trusting(homes, start_bastide, issuer):
    """A Bastide whose operator trusts the issuer, and whose bootstrap client accepts one subject of it."""
    home = homes()
    (home / "data").mkdir(parents=True, mode=0o700)
    (home / "data" / "bastide.toml").write_text(f"[[trusted-issuers]]\nissuer = '{issuer.url}'\n")
    bastide = start_bastide(home=home, environment={"SSL_CERT_FILE": str(issuer.ca_file)})
    graph.add_federated_credential(bastide, bastide.bootstrap.client_id, issuer.url, SUBJECT, AUDIENCE)
    return bastide


@pytest.fixture
def login(trusting, tmp_path):
    """Logs in with a token; returns the az that did and what it said."""

    def with_token(token):
        who = trusting.bootstrap
        az = Az(tmp_path, trusting).register_cloud()
        return az, az.run(
            "login", "--service-principal", "-u", who.client_id, "--tenant", who.tenant_id, "--federated-token", token
        )  # fmt: skip

    return with_token


def test_a_token_of_a_trusted_issuer_logs_in(login, issuer, trusting):
    az, result = login(issuer.token(SUBJECT))
    assert result.code == 0, result
    assert [account["id"] for account in result.json] == [trusting.bootstrap.subscription_id]
    assert isinstance(az.ok("group", "list"), list)


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": "repo:example/castle:ref:refs/heads/other"},
        {"sub": SUBJECT.upper()},
        {"aud": "https://management.azure.com"},
        {"aud": None},
        {"iss": "https://localhost:1/ci"},
        {"exp": int(time.time()) - 3600},
        {"exp": None},
    ],
    ids=["another subject", "another case", "another audience", "no audience", "another issuer", "expired", "no end"],
)
def test_a_token_that_says_something_else_is_refused(login, issuer, changes):
    az, result = login(issuer.token(SUBJECT, **changes))
    assert result.code == 1, result
    assert "AADSTS" in result.stderr and "Traceback" not in result.stderr
    assert az.run("account", "show").code == 1


def test_a_token_signed_by_somebody_else_is_refused(login, issuer):
    _, result = login(issuer.token(SUBJECT, key=rsa.generate_private_key(public_exponent=65537, key_size=2048)))
    assert result.code == 1, result
    assert "AADSTS" in result.stderr


def test_an_issuer_nobody_trusts_is_never_asked(login, trusting, tmp_path_factory):
    """Otherwise anybody could make Bastide call an address of their choice."""
    stranger = Issuer(tmp_path_factory.mktemp("stranger"))
    try:
        _, result = login(stranger.token(SUBJECT))
        assert result.code == 1, result
        assert stranger.requests == []
    finally:
        stranger.close()


def test_a_managed_identity_is_proved_by_a_token_of_its_federated_credential(trusting, issuer, tmp_path):
    owner = Az(tmp_path / "owner", trusting).register_cloud().login()
    owner.ok("group", "create", "-n", "robots", "-l", "westus")
    where = ["-g", "robots"]
    identity = owner.ok("identity", "create", *where, "-n", "robot")
    owner.ok("identity", "federated-credential", "create", *where, "--identity-name", "robot", "-n", "ci",
             "--issuer", issuer.url, "--subject", "job:build", "--audiences", AUDIENCE)  # fmt: skip
    owner.ok("role", "assignment", "create", "--assignee-object-id", identity["principalId"],
             "--assignee-principal-type", "ServicePrincipal", "--role", "Reader",
             "--scope", f"/subscriptions/{trusting.bootstrap.subscription_id}")  # fmt: skip
    robot = Az(tmp_path / "robot", trusting).register_cloud()

    def login(subject):
        return robot.run("login", "--service-principal", "-u", identity["clientId"],
                         "--tenant", trusting.bootstrap.tenant_id, "--federated-token", issuer.token(subject))  # fmt: skip

    assert login("job:other").code == 1
    result = login("job:build")
    assert result.code == 0, result
    assert robot.ok("identity", "show", *where, "-n", "robot")["id"] == identity["id"]
    owner.ok("identity", "federated-credential", "delete", *where, "--identity-name", "robot", "-n", "ci", "--yes")
    robot.run("account", "clear")
    assert login("job:build").code == 1, "the trust is over"
