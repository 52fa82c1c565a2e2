"""The host's own ssh reaches a compute of which no port is open (mission.md S4; compute.md 2)."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support import login
from support.compute import Colleague, make, ssh_home
from support.server import free_port

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return ssh_home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def config(compute, home, tmp_path_factory):
    """The lines for ssh's configuration, and the host's name in them."""
    done = compute.run("connect-ssh", "--print-config", env=home)
    assert done.returncode == 0, done.stderr
    path = tmp_path_factory.mktemp("ssh") / "config"
    path.write_bytes(done.stdout)
    return str(path), done.stdout.decode().split()[1]


def test_connect_ssh_runs_a_command_with_its_status(compute, home):
    done = compute.run("connect-ssh", "--", "id -un; exit 6", env=home)
    assert (done.stdout, done.returncode) == (b"azureuser\n", 6), done.stderr


def test_plain_ssh_works_with_the_printed_configuration(config, home):
    path, host = config
    began = time.monotonic()
    done = subprocess.run(["ssh", "-F", path, host, "hostname; echo err >&2"], capture_output=True, env=home, timeout=30)
    assert (done.stdout, done.stderr) == (b"ci-ssh\n", b"err\n")
    assert time.monotonic() - began < 5


def test_sessions_have_the_variables_of_the_compute(compute, config, home):
    path, host = config
    inside = compute.exec("sh", "-c", "echo $PATH").stdout
    done = subprocess.run(["ssh", "-F", path, host, "echo $PATH"], capture_output=True, env=home, timeout=30)
    assert done.stdout == inside and inside.strip()


def test_scp_and_sftp_carry_files_both_ways(config, home, tmp_path):
    path, host = config
    (tmp_path / "sent").write_bytes(os.urandom(2 * MEGABYTE))
    for program in (["scp", "-F", path], ["scp", "-s", "-F", path]):
        subprocess.run([*program, str(tmp_path / "sent"), f"{host}:received"], check=True, env=home, timeout=60)
        subprocess.run([*program, f"{host}:received", str(tmp_path / "back")], check=True, env=home, timeout=60)
        assert (tmp_path / "back").read_bytes() == (tmp_path / "sent").read_bytes()


def test_rsync_carries_a_tree_and_what_has_changed_of_it(config, home, tmp_path):
    path, host = config
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    (tree / "below" / "file").write_bytes(os.urandom(MEGABYTE))
    command = ["rsync", "-a", "--itemize-changes", "-e", f"ssh -F {path}", f"{tree}/", f"{host}:tree/"]
    first = subprocess.run(command, check=True, capture_output=True, env=home, timeout=60)
    assert b"below/file" in first.stdout
    assert subprocess.run(command, check=True, capture_output=True, env=home, timeout=60).stdout == b""


def test_files_that_come_by_ssh_are_as_all_others(compute, config, home, tmp_path):
    path, host = config
    (tmp_path / "sent").write_bytes(b"x")
    subprocess.run(["scp", "-F", path, str(tmp_path / "sent"), f"{host}:by-scp"], check=True, env=home, timeout=60)
    subprocess.run(["ssh", "-F", path, host, "touch by-ssh"], check=True, env=home, timeout=60)
    compute.exec("touch", "by-exec")
    modes = compute.exec("stat", "--format", "%a", "by-scp", "by-ssh", "by-exec").stdout.split()
    assert modes == [b"644"] * 3
    # What it keeps for itself is nobody else's.
    assert compute.exec("sh", "-c", "stat --format %a .bastide .bastide/ssh/host_key").stdout.split() == [b"700", b"600"]


def test_one_connection_carries_many_sessions(config, home, tmp_path):
    path, host = config
    shared = ["ssh", "-F", path, "-o", f"ControlPath={tmp_path}/c", host]
    subprocess.run([*shared[:-1], "-o", "ControlMaster=yes", "-fN", host], check=True, env=home, timeout=60)
    try:
        held = [subprocess.Popen([*shared, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=home) for _ in range(20)]
        said = [one.communicate(b"here", timeout=60)[0] for one in held]
        assert said == [b"here"] * 20
    finally:
        subprocess.run([*shared[:-1], "-O", "exit", host], check=False, capture_output=True, env=home, timeout=30)


def test_an_image_without_sshd_says_so(hub, home):
    bare = make(hub, "ci-bare")
    assert bare.exec("mv", "/usr/sbin/sshd", "/usr/sbin/away", options=["--user", "root"]).returncode == 0
    done = bare.run("connect-ssh", "--", "true", env=home)
    assert done.returncode == 255 and b"no sshd in this compute's image: install openssh-server" in done.stderr, done.stderr


def serves(port: int) -> bool:
    """Whether a page answers on a port of this host."""
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as stream:
            stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return stream.recv(100).startswith(b"HTTP/1.0 200")
    except OSError:
        return False


def test_a_port_inside_is_reached_by_forwarding_it(compute, config, home):
    path, host = config
    page = "import http.server as h; h.HTTPServer(('127.0.0.1', 8704), h.SimpleHTTPRequestHandler).serve_forever()"
    inside = subprocess.Popen(compute.command("exec", "--", "python3", "-c", page), stdin=subprocess.DEVNULL)
    port = free_port()
    tunnel = subprocess.Popen(
        ["ssh", "-F", path, "-N", "-o", "ExitOnForwardFailure=yes", "-L", f"{port}:127.0.0.1:8704", host], env=home
    )
    try:
        deadline = time.monotonic() + 15
        while not serves(port):
            assert time.monotonic() < deadline, "nothing answers behind the forwarded port"
            time.sleep(0.2)
    finally:
        tunnel.terminate()
        tunnel.wait()
        inside.terminate()
        inside.wait()


def test_the_host_key_stays_when_the_compute_is_restarted(compute, config, home):
    path, host = config
    assert compute.run("restart").returncode == 0
    strict = ["ssh", "-F", path, "-o", "StrictHostKeyChecking=yes", host, "true"]
    assert subprocess.run(strict, env=home, timeout=30).returncode == 0


def test_a_key_that_nobody_knows_does_not_get_in(compute, config, home, tmp_path):
    """The way is authorised by a token; the login inside takes a key all the same."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (tmp_path / "key.pub").unlink()
    done = compute.run("connect-ssh", "-f", str(key), "--", "true", env=home)
    assert done.returncode == 255 and b"Permission denied" in done.stderr, done.stderr


def test_a_key_of_the_instance_gets_in(hub, home, tmp_path):
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    compute = make(hub, "ci-keyed", "--ssh-key-value", (tmp_path / "key.pub").read_text().strip())
    (tmp_path / "key.pub").unlink()
    assert compute.run("connect-ssh", "-f", str(key), "--", "true", env=home).returncode == 0


def test_many_sessions_at_once(config, home):
    path, host = config
    done: list[bytes] = []

    def session(number: int) -> None:
        command = ["ssh", "-F", path, host, f"echo {number}"]
        done.append(subprocess.run(command, capture_output=True, env=home, timeout=60).stdout.strip())

    threads = [threading.Thread(target=session, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [str(number).encode() for number in range(8)]


class Azures:
    """ssh through the tunnel as Azure's own connector opens it: nothing of Bastide runs at this end."""

    def __init__(self, hub, folder):
        self.key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)
        public = (folder / "key.pub").read_text().strip()
        self.compute = make(hub, "ci-azures", "--ssh-public-access-enabled", "true", "--ssh-key-value", public)
        self.token = folder / "token"
        self.known_hosts = folder / "known_hosts"
        self.sign_in(login.access_token(hub))

    def sign_in(self, token: str) -> None:
        self.token.write_text(token)

    def options(self) -> list[str]:
        endpoint = f"wss{self.compute.jupyter.removeprefix('https')}"
        proxy = [sys.executable, "-m", "support.ws_tcp", endpoint, str(self.token), self.compute.server.ca_file]
        pairs = {
            "ProxyCommand": shlex.join(proxy), "IdentityFile": self.key, "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "accept-new", "UserKnownHostsFile": self.known_hosts,
        }  # fmt: skip
        return [word for name, value in pairs.items() for word in ("-o", f"{name}={value}")]

    def run(self, *words: str, timeout: float = 60) -> subprocess.CompletedProcess:
        """`ssh` or `scp` and what follows; the options go between the two."""
        command = [words[0], *self.options(), *words[1:]]
        return subprocess.run(command, capture_output=True, env=self.environment(), timeout=timeout, check=False)

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


@pytest.fixture(scope="module")
def azures(hub, tmp_path_factory):
    return Azures(hub, tmp_path_factory.mktemp("azures"))


def test_the_way_of_azures_clients_gives_a_session(azures):
    done = azures.run("ssh", "azureuser@ci", "hostname; exit 4")
    assert (done.stdout, done.returncode) == (b"ci-azures\n", 4), done.stderr


def test_the_way_of_azures_clients_carries_files(azures, tmp_path):
    (tmp_path / "sent").write_bytes(os.urandom(3 * MEGABYTE))
    for source, target in [(tmp_path / "sent", "azureuser@ci:received"), ("azureuser@ci:received", tmp_path / "back")]:
        done = azures.run("scp", str(source), str(target))
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "back").read_bytes() == (tmp_path / "sent").read_bytes()


def test_the_way_of_azures_clients_forwards_ports(azures):
    """What VS Code does with its ports 8704 to 8710."""
    page = "import http.server as h; h.HTTPServer(('127.0.0.1', 8704), h.SimpleHTTPRequestHandler).serve_forever()"
    session = [*azures.options(), "-o", "ExitOnForwardFailure=yes", "-L", f"{(port := free_port())}:127.0.0.1:8704"]
    command = ["ssh", *session, "azureuser@ci", shlex.join(["exec", "python3", "-c", page])]
    tunnel = subprocess.Popen(command, env=azures.environment(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while not serves(port):
            assert tunnel.poll() is None, tunnel.stderr.read()
            assert time.monotonic() < deadline, "nothing answers behind the forwarded port"
            time.sleep(0.2)
    finally:
        tunnel.terminate()
        tunnel.communicate()


def test_the_way_of_azures_clients_wants_a_token_that_may(azures):
    azures.sign_in("nonsense")
    refused = azures.run("ssh", "azureuser@ci", "true")
    assert refused.returncode == 255 and b"refused: 401" in refused.stderr, refused.stderr
    azures.sign_in(Colleague(azures.compute).token)
    refused = azures.run("ssh", "azureuser@ci", "true")
    assert refused.returncode == 255 and b"refused: 403" in refused.stderr, refused.stderr
    azures.sign_in(login.access_token(azures.compute.server))
    assert azures.run("ssh", "azureuser@ci", "true").returncode == 0
