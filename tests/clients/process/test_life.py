"""The process: start, readiness, stop, restart. Scripts rely on what the operating contract says."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import tempfile
import time

import pytest
import requests
from support import login
from support.server import Bastide, binary, environment
from support.wire import Wire, connect, read_answer


@pytest.fixture
def own(homes):
    """A Bastide that one test starts and stops as it likes."""
    own = Bastide(homes())
    yield own
    own.close()


@pytest.fixture
def public_binary():
    """The binary where a user without rights can run it."""
    with tempfile.TemporaryDirectory(prefix="bastide-binary-") as folder:
        os.chmod(folder, 0o755)
        yield shutil.copy(binary(), folder)


def refuses_to_start(own, *arguments, timeout=20):
    """Starts it in vain; returns what it said."""
    done = subprocess.run(
        [*own.command(), *arguments], env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=timeout, check=False,
    )  # fmt: skip
    assert done.returncode == 1, f"exit {done.returncode}: {done.stderr}"
    assert "panicked" not in done.stderr
    return done.stderr


def test_the_first_start_writes_the_bootstrap_file(own):
    own.start()
    file = own.data_dir / "bootstrap.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    document = json.loads(file.read_text())
    assert set(document) >= {
        "endpoint", "caFile", "tenantId", "subscriptionId", "clientId", "clientSecret", "portalUrl", "adminUser",
        "adminPassword",
    }  # fmt: skip
    assert stat.S_IMODE(own.data_dir.stat().st_mode) == 0o700
    for path in own.data_dir.rglob("*"):
        if path.is_file() and path.stat().st_mode & 0o077:
            text = path.read_text()
            assert "BEGIN CERTIFICATE" in text and "PRIVATE" not in text, f"{path} can be read by others"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly(own, number):
    own.start()
    own.process.send_signal(number)
    assert own.process.wait(10) == 0


def test_sigint_stops_it_even_when_the_shell_ignored_it(own):
    """A shell starts background jobs with SIGINT ignored; scripts send it all the same."""
    with own.log.open("ab") as log:
        own.process = subprocess.Popen(
            own.command(), env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        )  # fmt: skip
    own._wait_ready(time.monotonic() + 20)
    own.process.send_signal(signal.SIGINT)
    assert own.process.wait(10) == 0


def test_it_says_when_it_is_ready_on_a_descriptor(own):
    reader, writer = os.pipe()
    with own.log.open("ab") as log:
        own.process = subprocess.Popen(
            [*own.command(), "--ready-fd", str(writer)], env=environment(), stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, pass_fds=[writer],
        )  # fmt: skip
    os.close(writer)
    with os.fdopen(reader) as told:
        assert told.read() == "READY=1\n"
    bootstrap = json.loads((own.data_dir / "bootstrap.json").read_text())
    assert requests.get(f"{bootstrap['endpoint']}/healthz", verify=bootstrap["caFile"], timeout=5).status_code == 200


def test_a_restart_keeps_who_it_is_and_what_it_holds(own):
    own.start()
    before = own.bootstrap
    token = login.access_token(own)
    group = f"{own.subscription}/resourceGroups/kept"
    assert Wire(own, token).put(group, {"location": "westus"}).status_code == 201
    assert own.stop() == 0
    own.start()
    assert own.bootstrap == before
    assert Wire(own, token).get(group).status_code == 200, "a token given before the restart is good after it"
    assert Wire(own, login.access_token(own)).get(group).status_code == 200


def test_a_request_under_way_is_answered_before_it_stops(own):
    """Half a body is sent, the stop asked for, the rest sent: the write is acknowledged and kept."""
    own.start()
    token = login.access_token(own)
    body = b'{"location": "westus"}'
    path = f"{own.subscription}/resourceGroups/under-way"
    with connect(own) as stream:
        stream.sendall(
            f"PUT {path}?api-version=2024-11-01 HTTP/1.1\r\nHost: {own.endpoint[8:]}\r\n"
            f"Authorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body[:5]
        )
        time.sleep(0.3)
        own.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        stream.sendall(body[5:])
        assert read_answer(stream, "PUT").status_code == 201
    assert own.process.wait(15) == 0
    own.start()
    assert Wire(own, login.access_token(own)).get(path).status_code == 200


def test_idle_connections_do_not_hold_up_the_stop(own):
    own.start()
    streams = [connect(own) for _ in range(10)]
    began = time.monotonic()
    assert own.stop() == 0
    assert time.monotonic() - began < 5
    for stream in streams:
        stream.close()


def test_a_data_directory_has_one_owner(own):
    own.start()
    message = refuses_to_start(own)
    assert str(own.data_dir) in message and "another Bastide" in message
    assert requests.get(f"{own.endpoint}/healthz", verify=own.ca_file, timeout=5).status_code == 200


def test_a_port_in_use_is_said_to_be(own):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", own.port))
        taken.listen()
        assert str(own.port) in refuses_to_start(own)


def test_a_database_of_a_newer_version_is_refused_and_left_alone(own):
    own.start()
    own.stop()
    (database,) = own.data_dir.glob("*.db")
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE meta SET schema_version = 999")
    connection.close()
    message = refuses_to_start(own)
    assert "999" in message and "newer" in message
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT schema_version FROM meta").fetchone() == (999,)


def test_without_the_sealing_key_an_old_database_is_refused(own):
    """A new key would make every sealed secret unreadable, for ever and silently."""
    own.start()
    own.stop()
    key = own.data_dir / "sealing.key"
    key.rename(key.with_suffix(".away"))
    message = refuses_to_start(own)
    assert "sealing.key" in message
    assert not key.exists()


def test_a_key_that_others_can_read_is_refused(own):
    own.start()
    own.stop()
    key = own.data_dir / "sealing.key"
    key.chmod(0o644)
    assert "sealing.key" in refuses_to_start(own)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--listen", "nonsense"], "HOST:PORT"),
        (["--tls-cert", "/nowhere.pem"], "--tls-key"),
        (["--database", "mysql://root:hunter2-hunter2@host/db"], "postgres://"),
        (["--public-origin", "http://hub.example.org"], "https://"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_with_a_sentence(own, arguments, word):
    command = own.command()
    for flag in arguments[::2]:
        if flag in command:
            at = command.index(flag)
            del command[at : at + 2]
    done = subprocess.run(
        [*command, *arguments], env=environment(), capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode != 0
    assert word in done.stderr and "hunter2" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_without_privileges_the_kernel_mode_is_refused(own, public_binary):
    """Nothing fails open: who cannot enforce says what is missing and does not start."""
    command = [word if word != "simulated" else "kernel" for word in own.command()]
    command[0] = str(public_binary)
    done = subprocess.run(
        command, env={"HOME": "/tmp", "PATH": "/usr/bin:/bin"}, user=65534, group=65534, extra_groups=[],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "CAP_NET_ADMIN" in done.stderr and "--network simulated" in done.stderr


def test_the_version_is_one_line():
    done = subprocess.run([str(binary()), "version"], capture_output=True, text=True, timeout=10, check=True)
    assert done.stdout.startswith("bastide ") and done.stdout.count("\n") == 1


def test_doctor_says_what_this_host_can_do_as_data():
    done = subprocess.run(
        [str(binary()), "doctor", "-o", "json"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode in (0, 1)
    assert json.loads(done.stdout)
