"""A long-running operation that was accepted is carried out, whatever happens to the process in between."""

import os
import random
import time

import pytest
from support import login
from support.secrets import suite_dir
from support.server import Bastide
from support.wire import IDENTITIES, Wire

KIND = "providers/Microsoft.ManagedIdentity/userAssignedIdentities"


@pytest.fixture
def server(tmp_path):
    home = suite_dir() / "servers" / f"{os.getpid()}-{tmp_path.name}" if suite_dir() else tmp_path
    server = Bastide(home).start()
    yield server
    server.close()


@pytest.mark.parametrize("delay", [0, 0.001, 0.003, 0.01, 0.03])
def test_a_group_whose_deletion_was_accepted_goes_after_a_crash(server, delay):
    """202, SIGKILL, start: the operation is found unfinished, taken up, and ends; the URL given out still answers."""
    wire = Wire(server, login.access_token(server))
    group = f"{server.subscription}/resourceGroups/doomed"
    assert wire.put(group, {"location": "westus"}).status_code == 201
    names = [f"id-{number:03}" for number in range(100)]
    for name in random.sample(names, len(names)):
        assert wire.put(f"{group}/{KIND}/{name}", {"location": "westus"}, IDENTITIES).status_code == 201
    accepted = wire.delete(group)
    assert accepted.status_code == 202
    time.sleep(delay)
    server.kill()

    server.start()
    wire = Wire(server, login.access_token(server))
    assert wire.put(f"{group}/{KIND}/late", {"location": "westus"}, IDENTITIES).status_code in (404, 409)
    wire.finish(accepted)
    assert wire.head(group).status_code == 404
    left = wire.get(f"{server.subscription}/{KIND}", IDENTITIES, params={"$top": 1000}).json()["value"]
    assert left == [], "the group is gone and something in it is not"
    assert wire.put(group, {"location": "eastus"}).status_code == 201
