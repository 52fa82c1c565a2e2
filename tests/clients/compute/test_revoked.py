"""Who loses the right to be in a compute is put out at once, whatever the way in (security.md 1; ASVS 8.3.2)."""

from __future__ import annotations

import signal
import subprocess
import time
from dataclasses import dataclass

import pytest
import websocket
from support.compute import Colleague, Pages, make, ssh_home

# A second or a few; the bound is for a busy machine.
SOON = 30

SESSION = "echo ready; exec sleep 300"


@pytest.fixture(scope="module")
def colleague(hub):
    """Somebody whose own the instance is: an assignment alone would not let them in."""
    stub = make(hub, "ci-theirs-stub")
    colleague = Colleague(stub)
    where = ["--user-object-id", colleague.object_id, "--user-tenant-id", hub.bootstrap.tenant_id]
    colleague.compute = make(hub, "ci-theirs", *where)
    return colleague


@pytest.fixture
def assigned(colleague):
    colleague.assign()
    yield colleague
    colleague.revoke()


@dataclass
class Inside:
    """A colleague in an instance by every way there is."""

    shells: dict[str, subprocess.Popen]
    page: websocket.WebSocket

    @classmethod
    def enter(cls, colleague: Colleague, home) -> Inside:
        commands = {
            "exec": colleague.command("exec", "--", "sh", "-c", SESSION),
            "ssh": colleague.command("connect-ssh", "--", SESSION),
        }
        variables = {**ssh_home(home), **colleague.environment()}
        shells = {
            way: subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=variables
            )
            for way, command in commands.items()
        }
        for way, shell in shells.items():
            assert shell.stdout.readline() == b"ready\n", (way, shell.stderr.read())
        pages = Pages(colleague.compute, colleague.token)
        kernel = pages.request("POST", "/api/kernels", json={"name": "python3"})
        assert kernel.status_code == 201, kernel.text
        headers = [f"Authorization: Bearer {colleague.token}"]
        return cls(shells, pages.socket(f"/api/kernels/{kernel.json()['id']}/channels", headers))

    def is_put_out(self) -> dict[str, bytes]:
        """What each shell says at its end."""
        deadline = time.monotonic() + SOON
        said = {}
        for way, shell in self.shells.items():
            said[way] = shell.communicate(timeout=SOON)[1]
            # What a stop ends by a signal is told as a shell tells it.
            assert shell.returncode in (255, 128 + signal.SIGTERM, 128 + signal.SIGKILL), (way, said[way])
        self.page.settimeout(SOON)
        with pytest.raises((websocket.WebSocketConnectionClosedException, OSError)):
            while self.page.recv():
                assert time.monotonic() < deadline, "the page is still open"
            raise OSError("closed")
        return said


def test_a_role_that_is_taken_back_ends_everything(colleague, tmp_path):
    colleague.assign()
    inside = Inside.enter(colleague, tmp_path)
    colleague.revoke()
    for way, said in inside.is_put_out().items():
        assert b"does not have authorization" in said, (way, said)
    assert Pages(colleague.compute, colleague.token).request("GET", "/api/status").status_code == 403


def test_a_stop_ends_everything_and_says_so(assigned, tmp_path):
    inside = Inside.enter(assigned, tmp_path)
    assert assigned.compute.run("stop").returncode == 0
    inside.is_put_out()
    refused = subprocess.run(
        assigned.command("exec", "--", "true"), capture_output=True, env=assigned.environment(), timeout=60, check=False
    )
    assert refused.returncode == 1 and b"az ml compute start" in refused.stderr, refused.stderr
    assert Pages(assigned.compute, assigned.token).request("GET", "/api/status").status_code == 409
    assert assigned.compute.run("start").returncode == 0


def test_single_sign_on_that_is_switched_off_closes_the_pages_and_leaves_the_shells(assigned, tmp_path):
    inside = Inside.enter(assigned, tmp_path)
    assert assigned.compute.run("enable-sso", "--disable").returncode == 0
    shells, inside.shells = inside.shells, {}
    inside.is_put_out()
    refused = Pages(assigned.compute, assigned.token).request("GET", "/api/status")
    assert refused.status_code == 403 and "enable-sso" in refused.text
    assert all(shell.poll() is None for shell in shells.values())
    # Whom the instance is for switches it on again, and not who administers it.
    refused = assigned.compute.run("enable-sso")
    assert refused.returncode == 1 and b"assigned to" in refused.stderr, refused.stderr
    subprocess.run(assigned.command("enable-sso"), check=True, env=assigned.environment(), timeout=60)
    assert Pages(assigned.compute, assigned.token).request("GET", "/api/status").status_code == 200
    for shell in shells.values():
        shell.kill()
        shell.wait()


def test_whoever_made_it_for_somebody_else_stays_out(colleague):
    refused = colleague.compute.exec("true")
    assert refused.returncode == 1 and b"somebody else" in refused.stderr, refused.stderr


def test_a_deletion_ends_everything(hub, colleague, tmp_path):
    """The last one: the colleague's instance is gone afterwards."""
    colleague.assign()
    inside = Inside.enter(colleague, tmp_path)
    assert colleague.compute.run("delete", "--yes").returncode == 0
    inside.is_put_out()
