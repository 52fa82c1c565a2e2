"""A private Bastide: the release binary on a free loopback port with a data directory of its own."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import requests

from support.secrets import SECRETS

REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Bootstrap:
    """What the first start writes to `bootstrap.json` (the operating contract in the design)."""

    endpoint: str
    ca_file: str
    tenant_id: str
    subscription_id: str
    client_id: str
    client_secret: str
    portal_url: str
    admin_user: str
    admin_password: str

    @classmethod
    def read(cls, path: Path) -> Bootstrap:
        document = json.loads(path.read_text())
        return cls(
            endpoint=document["endpoint"].rstrip("/"),
            ca_file=document["caFile"],
            tenant_id=document["tenantId"],
            subscription_id=document["subscriptionId"],
            client_id=document["clientId"],
            client_secret=document["clientSecret"],
            portal_url=document["portalUrl"],
            admin_user=document["adminUser"],
            admin_password=document["adminPassword"],
        )


class Bastide:
    """One Bastide process group. `start` waits until `/healthz` answers 200."""

    def __init__(self, home: Path, *extra_arguments: str, environment: dict[str, str] | None = None):
        self.home = home
        self.data_dir = home / "data"
        self.log = home / "bastide.log"
        self.port = free_port()
        self.extra_arguments = extra_arguments
        self.environment = environment or {}
        self.process: subprocess.Popen | None = None
        self.bootstrap: Bootstrap | None = None
        home.mkdir(parents=True, exist_ok=True)

    # Life and death -------------------------------------------------------------------------------------------

    def start(self, timeout: float = 30) -> Bastide:
        """Starts the binary and returns once it is ready; raises with the end of its log if it is not."""
        with self.log.open("ab") as log:
            # A session of its own makes the whole process group killable without touching pytest's.
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**environment(), **self.environment},
                start_new_session=True,
            )
        self._wait_ready(time.monotonic() + timeout)
        return self

    def stop(self, timeout: float = 15) -> int:
        """SIGTERM, as a service manager would; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self) -> None:
        """SIGKILL to the whole process group: nobody gets to say goodbye."""
        os.killpg(self.process.pid, signal.SIGKILL)
        code = self.process.wait(10)
        assert code == -signal.SIGKILL, f"the server was to die of SIGKILL, but it exited by itself with {code}"

    def close(self) -> None:
        """Ends whatever still runs, gently if that works."""
        if self.process is None or self.process.poll() is not None:
            return
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self.kill()

    # What a client needs --------------------------------------------------------------------------------------

    def command(self) -> list[str]:
        return [
            str(binary()), "up",
            "--data-dir", str(self.data_dir),
            "--listen", f"127.0.0.1:{self.port}",
            "--network", network(),
            *self.extra_arguments,
        ]  # fmt: skip

    @property
    def endpoint(self) -> str:
        return self.bootstrap.endpoint

    @property
    def ca_file(self) -> str:
        return self.bootstrap.ca_file

    @property
    def subscription(self) -> str:
        return f"/subscriptions/{self.bootstrap.subscription_id}"

    def run(self, *arguments: str, timeout: float = 30) -> str:
        """Runs a client command of the binary (`env`, `token`, ...) against this data directory; returns stdout."""
        done = subprocess.run(
            [str(binary()), *arguments, "--data-dir", str(self.data_dir)],
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"bastide {' '.join(arguments)} exited {done.returncode}: {done.stderr}"
        return done.stdout

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _wait_ready(self, deadline: float) -> None:
        document = self.data_dir / "bootstrap.json"
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"bastide exited with {self.process.returncode} at start:\n{self.log_tail()}")
            if document.exists() and self._answers(document):
                return
            time.sleep(0.02)
        raise AssertionError(f"bastide was not ready in time:\n{self.log_tail()}")

    def _answers(self, document: Path) -> bool:
        try:
            self.bootstrap = Bootstrap.read(document)
        except json.JSONDecodeError:
            return False  # read between creation and the last byte; the next look sees it whole
        SECRETS.add(self.bootstrap.client_secret, self.bootstrap.admin_password)
        try:
            answer = requests.get(f"{self.endpoint}/healthz", verify=self.ca_file, timeout=2)
        except (requests.exceptions.ConnectionError, requests.exceptions.Timeout, OSError):
            return False
        return answer.status_code == 200


def binary() -> Path:
    """`$BASTIDE_BIN`, else the release binary of this repository."""
    path = Path(os.environ.get("BASTIDE_BIN") or REPOSITORY / "target/release/bastide")
    assert path.is_file(), f"no binary at {path}: run `cargo build --release` first, or set BASTIDE_BIN"
    return path


def environment() -> dict[str, str]:
    """What a server is started with: nothing of a developer's settings, and a log of everything, to be searched."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("BASTIDE_")}
    return {**mine, "BASTIDE_LOG": "trace"}


def network() -> str:
    """`$BASTIDE_NETWORK`, else the kernel where this process may program it."""
    if wanted := os.environ.get("BASTIDE_NETWORK"):
        return wanted
    status = Path("/proc/self/status").read_text()
    effective = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff")), 16)
    # CAP_SETGID, CAP_SETUID, CAP_NET_ADMIN and CAP_SYS_ADMIN, see capabilities(7).
    may = all(effective >> bit & 1 for bit in (6, 7, 12, 21))
    return "kernel" if may else "simulated"


def free_port() -> int:
    """A port that stays free while its server is down: the kernel gives none of these to a connection of somebody's."""
    first_given_away = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, first_given_away)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
