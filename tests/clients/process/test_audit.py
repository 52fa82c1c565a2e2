"""`bastide audit` and `bastide access why`: what an auditor runs, on a server that runs and on one that does not."""

import json
import sqlite3
import subprocess

import pytest
from support import login
from support.server import binary, environment
from support.wire import Wire


@pytest.fixture
def server(start_bastide):
    """A Bastide with some writes behind it."""
    bastide = start_bastide()
    wire = Wire(bastide, login.access_token(bastide))
    for number in range(3):
        assert wire.put(f"{bastide.subscription}/resourceGroups/rg-{number}", {"location": "westus"}).ok
    return bastide


def run(*arguments):
    return subprocess.run([binary(), *arguments], env=environment(), capture_output=True, text=True, check=False)


def verify(server, *more):
    """The exit code and what 'bastide audit verify' says."""
    done = run("audit", "verify", "--data-dir", str(server.data_dir), "-o", "json", *more)
    return done.returncode, json.loads(done.stdout)


def tamper(server, sql):
    with sqlite3.connect(server.data_dir / "bastide.db") as database:
        assert database.execute(sql).rowcount == 1


def test_a_running_server_and_a_stopped_one_are_verified(server):
    code, running = verify(server)
    assert (code, running["intact"]) == (0, True)
    server.stop()
    code, stopped = verify(server)
    assert (code, stopped["intact"], stopped["signedTo"]) == (0, True, stopped["to"]), "signed to the end when it stops"
    assert stopped["to"] >= running["to"]


@pytest.mark.parametrize(
    ("sql", "entry"),
    [
        ("UPDATE audit SET record = replace(record, 'Succeeded', 'Succeedes') WHERE seq = 5", 5),
        ("UPDATE audit SET hash = upper(hash) WHERE seq = 3", 3),
        ("DELETE FROM audit WHERE seq = 2", 2),
        ("DELETE FROM audit WHERE seq = (SELECT MAX(seq) FROM audit)", None),
    ],
    ids=["a changed record", "a changed hash", "a removed record", "a removed tail"],
)  # fmt: skip
def test_what_was_done_behind_its_back_is_named(server, sql, entry):
    server.stop()
    last = verify(server)[1]["to"]
    tamper(server, sql)
    code, found = verify(server)
    assert (code, found["intact"], found["entry"]) == (1, False, entry or last)
    table = run("audit", "verify", "--data-dir", str(server.data_dir))
    assert (table.returncode, f"BROKEN at entry {entry or last}" in table.stdout) == (1, True)


def test_a_shortened_chain_whose_head_was_moved_shows_by_its_checkpoint(server):
    server.stop()
    last = verify(server)[1]["to"]
    tamper(server, f"DELETE FROM audit WHERE seq = {last}")
    tamper(
        server, f"UPDATE meta SET audit_seq = {last - 1}, audit_hash = (SELECT hash FROM audit WHERE seq = {last - 1})"
    )
    assert verify(server)[1]["entry"] == last


def test_an_export_is_verified_elsewhere_with_the_key_alone(server, tmp_path):
    export, key = tmp_path / "audit.jsonl", tmp_path / "audit.pub"
    data_dir = str(server.data_dir)
    assert run("audit", "export", "--data-dir", data_dir, "--file", str(export)).returncode == 0
    key.write_text(run("audit", "key", "--data-dir", data_dir).stdout)
    offline = ["audit", "verify", "--file", str(export), "--public-key"]
    assert run(*offline, str(key)).returncode == 0
    lines = export.read_text().splitlines(keepends=True)
    assert all(json.loads(line) for line in lines)
    export.write_text("".join(lines[:3] + lines[4:]))
    removed = run(*offline, str(key))
    assert (removed.returncode, removed.stdout.startswith("BROKEN")) == (1, True)
    changed = bytearray("".join(lines).encode())
    changed[len(changed) // 2] ^= 1
    export.write_bytes(changed)
    assert run(*offline, str(key)).returncode == 1
    export.write_text("".join(lines))
    other = key.read_text().replace("bastide/", "bastide-")
    assert run(*offline, other).returncode == 1, "a key that is none"


def test_a_lost_key_is_not_replaced_in_silence(server):
    server.stop()
    (server.data_dir / "audit.key").unlink()
    started = run(*server.command()[1:])
    assert started.returncode != 0 and "audit key" in started.stderr


def test_access_is_asked_for_listed_and_given(server):
    at = ["--data-dir", str(server.data_dir), "--scope", server.subscription]
    asked = run("access", "ask", "--role", "Reader", "--because", "to look", *at, "-o", "json")
    assert asked.returncode == 0, asked
    name = json.loads(asked.stdout)["name"]
    listed = run("access", "requests", *at)
    assert name in listed.stdout and "Pending" in listed.stdout and "to look" in listed.stdout, listed
    approved = run("access", "approve", name, *at)
    assert approved.returncode == 0 and approved.stdout.startswith("Approved: Reader at "), approved
    users = json.loads(run("access", "users", *at, "-o", "json").stdout)["value"]
    roles = {access["roleName"] for user in users for access in user["access"]}
    assert {"Owner", "Reader"} <= roles
    again = run("access", "deny", name, *at)
    assert again.returncode == 1 and "AccessRequestDecided" in again.stderr, again
    nowhere = run("access", "users", "--data-dir", str(server.data_dir), "--scope", "rg")
    assert nowhere.returncode == 2 and "begins with '/'" in nowhere.stderr, nowhere


def test_why_tells_which_assignment(server):
    why = ["access", "why", "--data-dir", str(server.data_dir), "--scope", server.subscription]
    action = ["--action", "Microsoft.Resources/subscriptions/resourceGroups/write"]
    allowed = run(*why, *action)
    assert allowed.returncode == 0 and allowed.stdout.startswith("ALLOWED"), allowed
    assert "Owner" in allowed.stdout
    by_name = run(*why, *action, "--principal", server.bootstrap.admin_user, "-o", "json")
    assert json.loads(by_name.stdout)["principal"]["name"] == server.bootstrap.admin_user
    denied = run(*why[:-1], "/", *action)
    assert denied.stdout.startswith("DENIED") and server.bootstrap.admin_user in denied.stdout
