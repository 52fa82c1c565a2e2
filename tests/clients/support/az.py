"""The stock azure-cli as a subprocess, with a configuration directory of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.secrets import SECRETS
from support.server import Bastide

CLOUD = "Bastide"


@dataclass(frozen=True)
class Result:
    """What one az command did. az exits 0 for success, 3 for a 404, 1 for other failures, 2 for a usage error."""

    command: str
    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    def failed(self, code: str, exit_code: int = 1) -> str:
        """Asserts that az printed `(code) sentence` with the exit code, and returns the sentence."""
        assert self.code == exit_code, f"az {self.command}: exit {self.code}, wanted {exit_code}\n{self}"
        prefix = f"ERROR: ({code}) "
        line = next((line for line in self.stderr.splitlines() if line.startswith(prefix)), None)
        assert line is not None, f"az {self.command}: no '{prefix}' in\n{self.stderr}"
        sentence = line.removeprefix(prefix)
        assert len(sentence) > 20, f"az {self.command}: says too little: {sentence!r}"
        return sentence

    def __str__(self) -> str:
        return f"exit {self.code}\nstdout: {self.stdout[-2000:]}\nstderr: {self.stderr[-2000:]}"


class Az:
    """One user's az: a fresh `AZURE_CONFIG_DIR`, trusting the CA of one Bastide."""

    def __init__(self, config_dir: Path, server: Bastide, **environment: str):
        self.config_dir = config_dir
        self.server = server
        self.environment = environment
        config_dir.mkdir(parents=True, exist_ok=True)

    def run(self, *arguments: str, timeout: float = 120, env: dict[str, str] | None = None) -> Result:
        """Runs one az command to its end, whatever the end is."""
        done = subprocess.run(
            [executable(), *arguments],
            env={**self.env(), **(env or {})},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        return Result(" ".join(arguments), done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: str, timeout: float = 120, env: dict[str, str] | None = None) -> Any:
        """Runs a command that must succeed; returns its JSON output, or None when it printed nothing."""
        result = self.run(*arguments, timeout=timeout, env=env)
        assert result.code == 0, f"az {result.command}\n{result}"
        return result.json if result.stdout.strip() else None

    def rest_with(self, bearer: str, url: str) -> Result:
        """`az rest` with a token of our choice: az itself looks for a subscription it knows in the URL first."""
        return self.run(
            "rest", "--method", "get", "--skip-authorization-header", "--headers", f"Authorization=Bearer {bearer}",
            "--url", self.server.endpoint + url,
        )  # fmt: skip

    def token(self) -> str:
        """An access token out of az's own login."""
        token = self.ok("account", "get-access-token")["accessToken"]
        SECRETS.add_jwt(token)
        return token

    def start(self, *arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen:
        """Starts a command that waits for somebody (a login), with its stderr readable line by line."""
        return subprocess.Popen(
            [executable(), *arguments],
            env={**self.env(), **(env or {})},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def env(self) -> dict[str, str]:
        """Nothing of the developer's own az, proxies or Azure variables reaches the command."""
        return {
            "PATH": f"{Path(executable()).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.config_dir),
            "LANG": "C.UTF-8",
            "AZURE_CONFIG_DIR": str(self.config_dir),
            "AZURE_CORE_COLLECT_TELEMETRY": "false",
            "REQUESTS_CA_BUNDLE": self.server.ca_file,
            "NO_PROXY": "*",
            **self.environment,
        }

    # The recipe a user pastes ---------------------------------------------------------------------------------

    def register_cloud(self) -> Az:
        endpoint = self.server.endpoint
        self.ok(
            "cloud", "register", "-n", CLOUD,
            "--endpoint-resource-manager", endpoint, "--endpoint-active-directory", f"{endpoint}/adfs",
        )  # fmt: skip
        self.ok("cloud", "set", "-n", CLOUD)
        return self

    def login(self) -> Az:
        """Logs in as the bootstrap client, the Owner of the subscription."""
        who = self.server.bootstrap
        self.ok("login", "--service-principal", "-u", who.client_id, "-p", who.client_secret, "--tenant", who.tenant_id)
        self.ok("account", "set", "-s", who.subscription_id)
        return self

    def remember_tokens(self) -> None:
        """Adds every token az cached to the secrets the suite must never see again."""
        cache = self.config_dir / "msal_token_cache.json"
        if not cache.exists():
            return
        for kind in json.loads(cache.read_text()).values():
            for entry in kind.values():
                if "secret" in entry:
                    SECRETS.add_jwt(entry["secret"])


def executable() -> str:
    """The az next to the Python that runs the suite, unless `$AZ` names another."""
    path = os.environ.get("AZ") or str(Path(sys.executable).parent / "az")
    assert Path(path).is_file(), f"no az at {path}: run tests/clients/prepare.sh"
    return path
