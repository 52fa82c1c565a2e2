"""A Bastide that programs the kernel, a hub behind it, a leg in the hub, and an internet made of one namespace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.server import Bastide, network
from support.wall import ELSEWHERE, NET, RESOLVER, SITE, make_hub, run

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session", autouse=True)
def kernel():
    if network() != "kernel":
        pytest.skip("SKIP: the wall is not tested: this user may not program the kernel")


@pytest.fixture(scope="session")
def internet(tmp_path_factory, kernel):
    """A namespace with two sites, a resolver that also lies, and whatever else an attacker would like to reach."""
    folder = tmp_path_factory.mktemp("internet")
    name, outer, inner = f"bwi{os.getpid()}", f"bwo{os.getpid() % 100000}", f"bwn{os.getpid() % 100000}"
    run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
        run("ip", "addr", "add", f"{NET}.1/24", "dev", outer)
        run("ip", "link", "set", outer, "up")
        for address in (f"{NET}.2", SITE, ELSEWHERE, RESOLVER):
            run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", inner)
        for device in (inner, "lo"):
            run("ip", "-n", name, "link", "set", device, "up")
        run("ip", "-n", name, "route", "add", "default", "via", f"{NET}.1")
        server = subprocess.Popen(
            ["ip", "netns", "exec", name, sys.executable, str(HERE / "internet.py"), SITE, ELSEWHERE, RESOLVER, str(folder)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert server.stdout.readline() == "ready\n"
        yield folder
        server.kill()
        server.wait()
    finally:
        run("ip", "netns", "del", name, check=False)
        run("ip", "link", "del", outer, check=False)


@pytest.fixture(scope="module")
def server(internet, homes):
    server = Bastide(homes(), "--upstream-dns", f"{RESOLVER}:53")
    yield server.start()
    server.close()


@pytest.fixture(scope="module")
def hub(server, internet):
    yield from make_hub(server, internet)
