"""Who loses the right to be in a compute is put out at once, whatever the way in (security.md 1; ASVS 8.3.2)."""

from __future__ import annotations

import subprocess
import time

import pytest
from support.compute import Colleague, make


@pytest.fixture(scope="module")
def colleague(hub):
    """Somebody whose own the instance is: an assignment alone would not let them in."""
    stub = make(hub, "ci-theirs-stub")
    colleague = Colleague(stub)
    where = ["--user-object-id", colleague.object_id, "--user-tenant-id", hub.bootstrap.tenant_id]
    colleague.compute = make(hub, "ci-theirs", *where)
    return colleague


def test_a_role_that_is_taken_back_ends_the_session_within_seconds(colleague):
    colleague.assign()
    command = colleague.command("exec", "--", "sh", "-c", "echo ready; exec sleep 300")
    running = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=colleague.environment()
    )
    assert running.stdout.readline() == b"ready\n", running.stderr.read()
    colleague.revoke()
    began = time.monotonic()
    _, said = running.communicate(timeout=10)
    assert running.returncode == 255 and time.monotonic() - began < 3
    assert b"does not have authorization" in said, said


def test_whoever_made_it_for_somebody_else_stays_out(colleague):
    refused = colleague.compute.exec("true")
    assert refused.returncode == 1 and b"somebody else" in refused.stderr, refused.stderr
