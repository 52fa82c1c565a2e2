"""`DefaultAzureCredential()` of azure-identity, unchanged: every source of tokens a Bastide can be."""

import subprocess
import sys
from pathlib import Path

import pytest
from support import forge, graph, identity
from support.az import executable
from support.certificates import self_signed
from support.issuer import AUDIENCE, Issuer
from support.secrets import SECRETS
from support.wire import Wire

PROGRAM = """
import sys
from azure.identity import DefaultAzureCredential
print(DefaultAzureCredential().get_token(sys.argv[1]).token)
"""


@pytest.fixture
def token_by(tmp_path):
    """Gets a token in a process that knows nothing but some variables; fails with what azure-identity said."""

    def get(bastide, **variables):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, f"{bastide.endpoint}/.default"],
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "NO_PROXY": "*",
                 "REQUESTS_CA_BUNDLE": bastide.ca_file, **variables},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        token = done.stdout.strip()
        SECRETS.add_jwt(token)
        assert Wire(bastide, token).get("/subscriptions").status_code == 200
        return forge.read(token)[1]

    return get


@pytest.fixture(scope="module")
def machine(wire, shared_group, unique):
    return identity.announce(wire, shared_group, unique("machine"))


def test_the_app_service_pair(bastide, machine, token_by):
    claims = token_by(bastide, IDENTITY_ENDPOINT=machine.endpoint, IDENTITY_HEADER=machine.header)
    assert claims["oid"] == machine.principal_id


def test_the_machine_learning_pair(bastide, machine, token_by):
    claims = token_by(bastide, MSI_ENDPOINT=machine.endpoint, MSI_SECRET=machine.header)
    assert claims["oid"] == machine.principal_id


def test_a_managed_identity_chosen_by_its_client_id(bastide, machine, token_by):
    claims = token_by(
        bastide, IDENTITY_ENDPOINT=machine.endpoint, IDENTITY_HEADER=machine.header, AZURE_CLIENT_ID=machine.client_id
    )
    assert claims["oid"] == machine.principal_id


def test_a_secret_in_the_environment(bastide, token_by):
    """The tenant is "adfs": with a real one azure-identity first asks Microsoft whether it knows the host."""
    who = bastide.bootstrap
    claims = token_by(
        bastide, AZURE_AUTHORITY_HOST=bastide.endpoint, AZURE_TENANT_ID="adfs", AZURE_CLIENT_ID=who.client_id,
        AZURE_CLIENT_SECRET=who.client_secret,
    )  # fmt: skip
    assert claims["tid"] == who.tenant_id


def test_a_certificate_in_the_environment(bastide, token_by, tmp_path):
    certificate = self_signed("sdk-client")
    graph.add_certificate(bastide, bastide.bootstrap.client_id, certificate)
    file = tmp_path / "client.pem"
    file.write_text(certificate.key_pem + certificate.certificate_pem)
    token_by(
        bastide, AZURE_AUTHORITY_HOST=bastide.endpoint, AZURE_TENANT_ID="adfs",
        AZURE_CLIENT_ID=bastide.bootstrap.client_id, AZURE_CLIENT_CERTIFICATE_PATH=str(file),
    )  # fmt: skip


def test_the_login_of_an_az_on_the_path(bastide, az, token_by):
    folder = Path(executable()).parent
    claims = token_by(bastide, AZURE_CONFIG_DIR=str(az.config_dir), PATH=f"{folder}:/usr/bin:/bin")
    assert claims["tid"] == bastide.bootstrap.tenant_id


def test_a_workload_with_a_token_of_its_own_cluster(homes, start_bastide, token_by, tmp_path):
    """What a pod has: a file with a token of the cluster's issuer, and no secret at all. Best for servers."""
    issuer = Issuer(homes())
    home = homes()
    (home / "data").mkdir(parents=True, mode=0o700)
    (home / "data" / "bastide.toml").write_text(f"[[trusted-issuers]]\nissuer = '{issuer.url}'\n")
    bastide = start_bastide(home=home, environment={"SSL_CERT_FILE": str(issuer.ca_file)})
    subject = "system:serviceaccount:default:trainer"
    graph.add_federated_credential(bastide, bastide.bootstrap.client_id, issuer.url, subject, AUDIENCE)
    (tmp_path / "token").write_text(issuer.token(subject))
    try:
        token_by(
            bastide, AZURE_AUTHORITY_HOST=bastide.endpoint, AZURE_TENANT_ID=bastide.bootstrap.tenant_id,
            AZURE_CLIENT_ID=bastide.bootstrap.client_id, AZURE_FEDERATED_TOKEN_FILE=str(tmp_path / "token"),
        )  # fmt: skip
    finally:
        issuer.close()
