"""`bastide env`: one pasted line, and an ordinary client works."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import env
from support.az import executable
from support.secrets import SECRETS
from support.server import binary


def shell(script, home, **variables):
    """Runs a script as a user's shell would, with the suite's az on the path."""
    path = f"{Path(executable()).parent}:/usr/local/bin:/usr/bin:/bin"
    return subprocess.run(
        ["sh", "-euc", script], text=True, capture_output=True, timeout=120, check=False,
        env={"PATH": path, "HOME": str(home), "NO_PROXY": "*", "BASTIDE": str(binary()), **variables},
    )  # fmt: skip


def test_one_line_logs_az_in(bastide, tmp_path):
    done = shell(
        f'eval "$("$BASTIDE" env az --data-dir {bastide.data_dir})"\naz account show -o json',
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["id"] == bastide.bootstrap.subscription_id
    assert not (tmp_path / ".azure").exists(), "the everyday az stays as it was"


def test_the_line_may_be_pasted_twice(bastide, tmp_path):
    line = f'eval "$("$BASTIDE" env az --data-dir {bastide.data_dir})"\n'
    done = shell(line + line + "az group list -o json", tmp_path, AZURE_CONFIG_DIR=str(tmp_path / "mine"))
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), list)
    assert (tmp_path / "mine" / "clouds.config").exists()


def test_the_default_credential_of_python_works(bastide, tmp_path):
    """`DefaultAzureCredential()` with no argument, as the documents have it."""
    variables = env.exports(bastide.run("env", "python"))
    program = f"""
import base64, json
from azure.identity import DefaultAzureCredential
from azure.mgmt.resource.resources import ResourceManagementClient
credential = DefaultAzureCredential()
token = credential.get_token("{bastide.endpoint}/.default")
assert token.token.count(".") == 2
client = ResourceManagementClient(
    credential, "{bastide.bootstrap.subscription_id}", base_url="{bastide.endpoint}",
    credential_scopes=["{bastide.endpoint}/.default"],
)
group = client.resource_groups.create_or_update("from-python", {{"location": "westus"}})
assert group.id.endswith("/resourceGroups/from-python")
client.resource_groups.begin_delete("from-python").result()
print(client.resource_groups.check_existence("from-python"))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], text=True, capture_output=True, timeout=120, check=False,
        env={**variables, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "NO_PROXY": "*"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "False"


def test_a_shell_has_what_curl_needs(bastide, tmp_path):
    if not any((Path(folder) / "curl").exists() for folder in ("/usr/bin", "/usr/local/bin", "/bin")):
        pytest.fail("curl is missing: apt-get install curl")
    script = bastide.run("env", "shell")
    SECRETS.add_jwt(env.exports(script)["BASTIDE_TOKEN"])
    done = shell(
        script + 'curl -sS --fail --cacert "$BASTIDE_CA_FILE" -H "Authorization: Bearer $BASTIDE_TOKEN" '
        '"$BASTIDE_ENDPOINT/subscriptions/$BASTIDE_SUBSCRIPTION?api-version=2022-12-01"',
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["subscriptionId"] == bastide.bootstrap.subscription_id


def test_a_token_is_printed_alone_on_a_line(bastide):
    printed = bastide.run("token")
    SECRETS.add_jwt(printed.strip())
    assert printed.count("\n") == 1 and printed.count(".") == 2


def test_terraform_is_told_where_to_look(bastide):
    variables = env.exports(bastide.run("env", "terraform"))
    assert variables["ARM_METADATA_HOSTNAME"] == bastide.endpoint.removeprefix("https://")
    assert variables["ARM_CLIENT_SECRET"] == bastide.bootstrap.client_secret
    assert os.path.isfile(variables["SSL_CERT_FILE"])


def test_the_bootstrap_file_is_for_its_owner_alone(bastide):
    file = bastide.data_dir / "bootstrap.json"
    assert file.stat().st_mode & 0o077 == 0
    for key in bastide.data_dir.rglob("*.key"):
        assert key.stat().st_mode & 0o077 == 0, key
