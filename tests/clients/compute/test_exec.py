"""A command runs in a compute as if it ran here: with its exit status, its three streams, and a terminal when it wants
one; and whoever loses the right to be there is put out (compute.md 2; mission.md C6)."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import signal
import struct
import subprocess
import termios
import time
from fcntl import ioctl

import pytest
import websocket

from support import login
from support.compute import VERSION, Colleague, make
from support.wire import Wire

MEGABYTE = 1 << 20


@pytest.mark.parametrize("status", [0, 1, 7, 255])
def test_the_exit_status_is_the_commands(compute, status):
    assert compute.exec("sh", "-c", f"exit {status}").returncode == status


def test_a_signal_that_ends_it_is_told_as_a_shell_tells_it(compute):
    assert compute.exec("sh", "-c", "kill -KILL $$").returncode == 128 + signal.SIGKILL


def test_the_streams_stay_apart(compute):
    done = compute.exec("sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 0)


def test_any_bytes_pass_in_both_directions(compute):
    sent = os.urandom(MEGABYTE)
    done = compute.exec("cat", input=sent)
    assert done.returncode == 0 and done.stdout == sent
    done = compute.exec("sh", "-c", "cat >/dev/null; head -c 1048576 /dev/zero >&2")
    assert len(done.stderr) == MEGABYTE


def test_what_is_read_ends_where_the_input_ends(compute):
    done = compute.exec("sha256sum", input=b"hello")
    assert done.stdout.split()[0].decode() == hashlib.sha256(b"hello").hexdigest()


def test_a_process_that_reads_nothing_does_not_wait_for_its_input(compute):
    assert compute.exec("true", input=os.urandom(MEGABYTE), timeout=20).returncode == 0


def test_what_is_said_before_the_end_arrives(compute):
    done = compute.exec("sh", "-c", "seq 100000; exit 3")
    assert done.returncode == 3 and done.stdout.splitlines()[-1] == b"100000"


def test_a_child_left_behind_does_not_keep_the_command(compute):
    began = time.monotonic()
    done = compute.exec("sh", "-c", "sleep 60 & echo done")
    assert done.stdout == b"done\n" and time.monotonic() - began < 5


def test_the_user_the_directory_and_the_variables_are_the_asked_ones(compute):
    done = compute.exec("sh", "-c", "id -un; pwd; echo $WORD")
    assert done.stdout.split(b"\n")[:2] == [b"azureuser", b"/home/azureuser"]
    done = compute.exec("sh", "-c", "id -u; pwd; echo $WORD", options=["--user", "root", "--directory", "/tmp", "--env", "WORD=a b"])
    assert done.stdout == b"0\n/tmp\na b\n"


@pytest.mark.parametrize(
    ("program", "options", "status", "words"),
    [
        ("no-such-program", [], 127, b"no program 'no-such-program' in the compute: its PATH is /opt/python/bin:"),
        ("./nothing", [], 127, b"no program './nothing' in the compute"),
        ("/etc/passwd", [], 126, b"'/etc/passwd' cannot be run"),
        ("true", ["--directory", "/nowhere"], 126, b"no directory '/nowhere' in the compute"),
    ],
)
def test_what_cannot_be_run_has_the_status_of_a_shell(compute, program, options, status, words):
    done = compute.exec(program, options=options)
    assert done.returncode == status and words in done.stderr, done
    # Nothing of it stays behind and counts among the processes of the compute.
    assert b"defunct" not in compute.exec("ps", "-e").stdout


@pytest.fixture(scope="module")
def small(hub):
    """One core and a gibibyte."""
    return make(hub, "ci-small", "--size", "Standard_B1s")


def test_who_runs_out_of_memory_is_told_so(small):
    done = small.exec("python3", "-c", "bytearray(3 << 30)", timeout=300)
    assert done.returncode == 128 + signal.SIGKILL
    assert b"ran out of its 1024 MiB of memory" in done.stderr and b"resize" in done.stderr, done.stderr
    # Also who is not the one that was ended; and nobody else, later.
    done = small.exec("sh", "-c", "python3 -c 'bytearray(3 << 30)'; exit 5", timeout=300)
    assert done.returncode == 5 and b"ran out of its 1024 MiB of memory" in done.stderr, done
    done = small.exec("true")
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(os.cpu_count() == 1, reason="a host with one core has no more than that")
def test_programs_are_told_of_the_cores_they_have(small):
    assert small.exec("nproc").stdout == b"1\n"
    assert small.exec("sh", "-c", "echo $OMP_NUM_THREADS $LOKY_MAX_CPU_COUNT $PYTHON_CPU_COUNT").stdout == b"1 1 1\n"


def test_times_are_told_in_any_zone(compute):
    assert compute.exec("date", "-d", "2026-07-01 12:00 UTC", "+%H %Z", options=["--env", "TZ=Asia/Tokyo"]).stdout == b"21 JST\n"


def test_who_reads_no_more_ends_the_command_without_a_word(compute):
    running = subprocess.Popen(compute.command("exec", "--", "yes"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout.readline() == b"y\n"
    running.stdout.close()
    assert running.stderr.read() == b""
    assert running.wait(30) == 128 + signal.SIGPIPE


def test_a_compute_that_is_not_there_is_told_as_az_tells_it(compute):
    compute = type(compute)(compute.server, "nobody")
    done = compute.exec("true")
    assert done.returncode == 3 and b"nobody" in done.stderr


def test_a_terminal_has_the_size_of_the_one_it_stands_for(compute):
    child, terminal = pty.fork()
    if child == 0:
        os.execv(compute.command("exec")[0], compute.command("exec", "--", "sh"))
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 97, 0, 0))
    says = Terminal(terminal)
    os.write(terminal, b"stty size; tty\n")
    assert b"31 97" in says.until(b"/dev/pts/"), says.text
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    os.kill(child, signal.SIGWINCH)
    time.sleep(0.3)
    os.write(terminal, b"stty size\n")
    says.until(b"40 120")
    # Ctrl-C goes to what runs inside and leaves the session.
    os.write(terminal, b"sleep 60\n")
    time.sleep(0.3)
    os.write(terminal, b"\x03")
    os.write(terminal, b"echo still $((40 + 2))\n")
    says.until(b"still 42")
    os.write(terminal, b"exit 5\n")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5


def test_a_signal_to_the_command_reaches_the_process(compute):
    script = "trap 'echo got it; exit 4' INT; echo ready; while :; do sleep 0.1; done"
    command = compute.command("exec", "--", "sh", "-c", script)
    running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
    assert running.stdout.readline() == b"ready\n"
    running.send_signal(signal.SIGINT)
    assert running.communicate(timeout=10)[0] == b"got it\n"
    assert running.returncode == 4


def test_a_signal_overtakes_input_that_waits(compute):
    script = "trap 'echo got it; exit 4' INT; echo ready; while :; do head -c 1000000 >/dev/null; done"
    with open("/dev/zero", "rb") as endless:
        command = compute.command("exec", "--", "sh", "-c", script)
        running = subprocess.Popen(command, stdin=endless, stdout=subprocess.PIPE, start_new_session=True)
    assert running.stdout.readline() == b"ready\n"
    # By now all buffers on the way are full.
    time.sleep(1)
    running.send_signal(signal.SIGINT)
    assert running.communicate(timeout=60)[0] == b"got it\n"
    assert running.returncode == 4


def test_the_second_signal_ends_a_command_whose_process_hears_none(compute):
    with open("/dev/zero", "rb") as endless:
        command = compute.command("exec", "--", "sh", "-c", "echo ready; exec sleep 4343")
        running = subprocess.Popen(command, stdin=endless, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    assert running.stdout.readline() == b"ready\n"
    time.sleep(1)
    for _ in range(2):
        running.send_signal(signal.SIGTERM)
        time.sleep(0.5)
    assert b"interrupted" in running.communicate(timeout=30)[1]
    wait_until_gone(compute, b"4343", 120)


def test_a_process_ends_with_the_connection_that_asked_for_it(compute):
    command = compute.command("exec", "--", "sh", "-c", "echo ready; exec sleep 4242")
    running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert running.stdout.readline() == b"ready\n"
    running.kill()
    running.wait()
    wait_until_gone(compute, b"4242", 10)


def wait_until_gone(compute, mark: bytes, patience: float) -> None:
    """Until no process of the compute has a word in its command line."""
    deadline = time.monotonic() + patience
    while mark in compute.exec("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | sed s/cat.*//").stdout:
        assert time.monotonic() < deadline, "it still runs"
        time.sleep(0.2)


def open_socket(compute, token: str | None, **options) -> websocket.WebSocket:
    url = f"wss{compute.server.endpoint.removeprefix('https')}{compute.path}/bastide/exec?api-version={VERSION}"
    header = [f"Authorization: Bearer {token}"] if token else []
    return websocket.create_connection(url, header=header, sslopt={"ca_certs": compute.server.ca_file}, timeout=20, **options)


def test_the_frames_are_as_documented(compute):
    socket = open_socket(compute, login.access_token(compute.server))
    socket.send(json.dumps({"command": ["sh", "-c", "cat; echo done >&2; exit 9"]}))
    socket.send_binary(b"\x00hello")
    socket.send_binary(b'\x03{"type":"eof"}')
    frames = []
    while not frames or frames[-1][0] != 4:
        frames.append(socket.recv())
    assert b"\x01hello" in frames and b"\x02done\n" in frames
    assert json.loads(frames[-1][1:]) == {"type": "status", "status": 9}


def test_a_page_may_bring_its_token_among_the_sub_protocols(compute):
    token = login.access_token(compute.server)
    socket = open_socket(compute, None, subprotocols=["bastide.v1", f"bastide.bearer.{token}"])
    assert socket.getsubprotocol() == "bastide.v1"
    socket.send(json.dumps({"command": ["true"]}))
    assert socket.recv()[:1] == b"\x04"


@pytest.mark.parametrize("first", ["", "[]", '{"command": "id"}', '{"command": ["id"], "cwd": "/"}'])
def test_an_order_that_is_none_is_answered_with_a_sentence(compute, first):
    socket = open_socket(compute, login.access_token(compute.server))
    socket.send(first)
    frame = socket.recv()
    assert frame[0] == 4 and json.loads(frame[1:])["code"] == "InvalidOrder", frame


def test_nobody_gets_in_without_a_token_or_a_role(compute):
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        open_socket(compute, None)
    assert refused.value.status_code == 401
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        open_socket(compute, Colleague(compute).token)
    assert refused.value.status_code == 403


def test_a_role_is_not_enough_for_somebody_elses_instance(compute):
    colleague = Colleague(compute)
    colleague.assign()
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        open_socket(compute, colleague.token)
    assert refused.value.status_code == 403


def test_a_request_that_is_no_websocket_is_told_what_to_do(compute):
    answer = Wire(compute.server, login.access_token(compute.server)).get(f"{compute.path}/bastide/exec", VERSION)
    assert answer.status_code == 426 and "WebSocket" in answer.json()["error"]["message"]


def test_stopping_the_instance_ends_what_runs_in_it(compute):
    command = compute.command("exec", "--", "sh", "-c", "echo ready; exec sleep 300")
    running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout.readline() == b"ready\n"
    assert compute.run("stop").returncode == 0
    assert running.wait(10) != 0
    refused = compute.exec("true")
    assert refused.returncode == 1 and b"az ml compute start" in refused.stderr, "what is stopped runs nothing"
    assert compute.run("start").returncode == 0
    assert compute.exec("true").returncode == 0


class Terminal:
    """What a terminal has said so far."""

    def __init__(self, descriptor: int):
        self.descriptor, self.text = descriptor, b""

    def until(self, word: bytes, seconds: float = 10) -> bytes:
        deadline = time.monotonic() + seconds
        while word not in self.text:
            assert time.monotonic() < deadline, self.text
            self.text += os.read(self.descriptor, 4096)
        said, self.text = self.text, b""
        return said
