"""The life of a compute: what is asked for happens whoever is killed meanwhile, what runs goes on running, and what is
deleted leaves nothing (issue of the computes; compute.md 3.5; mission.md S1, S4)."""

from __future__ import annotations

import base64
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support import login
from support.compute import Compute, hub_path, make, make_hub
from support.server import Bastide, environment
from support.wall import Hub, until
from support.wire import Wire

# How often each process of Bastide is killed.
KILLS = int(os.environ.get("BASTIDE_COMPUTE_KILLS", "3"))

SLOWLY = 30


@pytest.fixture(scope="module")
def house(homes, kernel):
    """A Bastide of its own: here its processes are killed."""
    server = Bastide(homes())
    server.start()
    make_hub(server)
    yield server
    server.close()
    assert left(server) == [], "a Bastide that has stopped leaves nothing running"


@pytest.fixture(scope="module")
def worker(house):
    """A compute with a process that counts, on its disk, ten times a second."""
    return make(house, "worker")


def ids(server: Bastide) -> list[str]:
    """The instances that the agent remembers."""
    return sorted(path.name for path in (server.data_dir / "agent/instances").iterdir())


def groups(name: str) -> list[Path]:
    root = Path("/sys/fs/cgroup")
    return [group for group in (*root.glob(f"bastide-{name}"), *root.glob(f"*/bastide-{name}")) if group.is_dir()]


def processes(name: str) -> set[int]:
    """The processes of an instance, in its order of control groups."""
    found = set()
    for group in groups(name):
        for procs in group.rglob("cgroup.procs"):
            try:
                found.update(int(line) for line in procs.read_text().split())
            except OSError:
                continue
    return found


def command_line(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""  # it has gone meanwhile


def lasting(name: str) -> set[int]:
    """The first process of an instance, and those that count."""
    found = processes(name)
    counts = {process for process in found if b"count.new" in command_line(process)}
    assert counts, "nobody counts"
    return {min(found), *counts}


def left(server: Bastide) -> list[str]:
    """What this host has of the instances of a Bastide, beside their disks."""
    disks = [
        text for file in Path("/sys/block").glob("loop*/loop/backing_file")
        if str(server.data_dir) in (text := file.read_text())
    ]  # fmt: skip
    known = server.data_dir / "agent/computes/instances"
    names = {path.name for path in known.iterdir()} | set(ids(server))
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(server.data_dir) in line]
    running = [str(group) for name in names for group in groups(name)]
    spaces = [name for name in names if Path(f"/run/netns/bas-c-{name.replace('-', '')[-12:]}").exists()]
    return disks + mounts + running + spaces


def count(compute: Compute) -> None:
    """Starts to count."""
    script = "n=0; while :; do n=$((n+1)); echo $n >~/count.new; mv ~/count.new ~/count; sleep 0.1; done"
    done = compute.exec("sh", "-c", f"nohup setsid sh -c '{script}' >/dev/null 2>&1 </dev/null & echo begun")
    assert done.stdout == b"begun\n", done.stderr
    until(lambda: counted(compute) > 1)


def counted(compute: Compute) -> int:
    done = compute.exec("cat", "count")
    return int(done.stdout or 0) if done.returncode == 0 else 0


def answers(compute: Compute) -> bool:
    return compute.exec("true").returncode == 0


def kill_one(server: Bastide, word: str) -> None:
    """Kills a process of this Bastide as nothing else could."""
    hub = Hub(server, "", "", Path())
    victims = until(lambda: hub.processes(word))
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    until(lambda: set(hub.processes(word)) - set(victims))


def test_what_is_stopped_keeps_its_disk_and_lets_nobody_in(worker):
    assert worker.exec("sh", "-c", "echo kept > mark; umask").stdout == b"0022\n"
    assert worker.run("stop").returncode == 0
    assert worker.show()["state"] == "Stopped"
    refused = worker.exec("true")
    assert refused.returncode != 0 and b"Start it first" in refused.stderr, refused.stderr
    name = ids(worker.server)[0]
    assert processes(name) == set() and groups(name) == []
    assert worker.run("start").returncode == 0
    assert worker.exec("cat", "mark").stdout == b"kept\n"


def test_a_restart_ends_what_ran(worker):
    count(worker)
    before = lasting(ids(worker.server)[0])
    assert worker.run("restart").returncode == 0
    assert worker.exec("cat", "mark").stdout == b"kept\n"
    assert not before & processes(ids(worker.server)[0])


@pytest.mark.parametrize("victim", ["agent", "serve"])
def test_a_compute_goes_on_while_bastide_is_killed(worker, victim):
    count(worker)
    before = lasting(ids(worker.server)[0])
    for _ in range(KILLS):
        kill_one(worker.server, victim)
        until(lambda: answers(worker), SLOWLY)
        assert before <= processes(ids(worker.server)[0]), "what ran was ended"
        now = counted(worker)
        until(lambda now=now: counted(worker) > now)
    assert worker.show()["state"] == "Running"


def test_a_session_is_cut_when_the_server_dies_and_its_process_ends(worker):
    session = _session(worker)
    kill_one(worker.server, "serve")
    assert session.wait(SLOWLY) != 0
    name = ids(worker.server)[0]
    until(lambda: not any(b"31536000" in command_line(process) for process in processes(name)), SLOWLY)


def _session(compute: Compute):
    session = subprocess.Popen(
        compute.command("exec", "--", "sh", "-c", "echo in; exec sleep 31536000"),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=environment(),
    )  # fmt: skip
    assert session.stdout.readline() == b"in\n"
    return session


def test_the_whole_bastide_may_be_killed_and_finds_its_computes_running(worker):
    count(worker)
    before = lasting(ids(worker.server)[0])
    worker.server.kill()
    time.sleep(0.5)
    assert before <= processes(ids(worker.server)[0]), "what ran was ended"
    worker.server.start()
    until(lambda: answers(worker), SLOWLY)
    now = counted(worker)
    until(lambda: counted(worker) > now)
    assert before <= processes(ids(worker.server)[0]), "what ran was started again"


def test_one_that_ends_by_itself_is_started_again(worker):
    first = min(processes(ids(worker.server)[0]))
    os.kill(first, signal.SIGKILL)
    until(lambda: first not in processes(ids(worker.server)[0]))
    until(lambda: answers(worker), SLOWLY)
    assert worker.exec("cat", "mark").stdout == b"kept\n"


def test_a_stop_of_bastide_leaves_nothing_running_and_a_start_brings_it_back(worker):
    assert worker.server.stop() == 0
    assert left(worker.server) == []
    worker.server.start()
    until(lambda: answers(worker), SLOWLY)
    assert worker.exec("cat", "mark").stdout == b"kept\n"


def test_scripts_run_before_anybody_gets_in(house):
    wire = Wire(house, login.access_token(house))
    compute = Compute(house, "scripted")
    scripts = {
        "creationScript": {"scriptSource": "inline", "scriptData": _base64("echo made >> /var/made"), "timeout": "1m"},
        "startupScript": {"scriptSource": "inline", "scriptData": _base64("id -u >> /var/started"), "timeout": "1m"},
    }
    properties = {"vmSize": "Standard_DS1_v2", "setupScripts": {"scripts": scripts}}
    body = {"location": "local", "properties": {"computeType": "ComputeInstance", "properties": properties}}
    assert wire.put(f"{hub_path(house)}/computes/scripted", body, "2024-10-01-preview").status_code == 201
    until(lambda: compute.show()["state"] == "Running", SLOWLY)
    assert compute.run("restart").returncode == 0
    assert compute.exec("cat", "/var/made", "/var/started").stdout == b"made\n0\n0\n"
    assert compute.run("delete", "--yes").returncode == 0


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_what_is_deleted_leaves_nothing_even_when_the_agent_is_killed_meanwhile(house, worker):
    others = ids(house)
    for round in range(KILLS):
        compute = Compute(house, f"short-{round}th")
        assert compute.run("create", "--type", "ComputeInstance", "--no-wait").returncode == 0
        time.sleep(random.uniform(0, 0.6))
        kill_one(house, "agent")
        until(lambda compute=compute: answers(compute), SLOWLY)
        (name,) = set(ids(house)) - set(others)
        assert compute.run("delete", "--yes", "--no-wait").returncode == 0
        time.sleep(random.uniform(0, 0.3))
        kill_one(house, "agent")
        until(lambda: ids(house) == others, SLOWLY)
        assert groups(name) == [] and not (house.data_dir / "agent/computes/instances" / name).exists()
        assert not any(name in line for line in left(house))
    until(lambda: answers(worker), SLOWLY)
