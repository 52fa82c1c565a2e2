"""A Bastide that programs the kernel, an approved-only hub, and a compute instance in it."""

from __future__ import annotations

import socket

import pytest
from support.compute import clear, make, make_hub
from support.server import Bastide, network


@pytest.fixture(scope="session", autouse=True)
def kernel():
    if network() != "kernel":
        pytest.skip("SKIP: computes are not tested: this user may not program the kernel")


@pytest.fixture(scope="session")
def server(homes, kernel):
    server = Bastide(homes())
    yield server.start()
    server.close()


@pytest.fixture(scope="session")
def hub(server):
    make_hub(server)
    return server


@pytest.fixture(scope="module", autouse=True)
def gone_afterwards(hub):
    """Computes take of the host's quota: those of a module go with it."""
    yield
    clear(hub)


@pytest.fixture(scope="module")
def compute(hub, request):
    name = request.module.__name__.rsplit("_", 1)[-1]
    return make(hub, f"ci-{name}")


@pytest.fixture(scope="session", autouse=True)
def loopback():
    """Names under localhost are this host (RFC 6761, section 6.3): browsers and curl know it, not every resolver does."""
    ask = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *more, **options: ask(
        "127.0.0.1" if str(host).endswith(".localhost") else host, *more, **options
    )
    yield
    socket.getaddrinfo = ask
