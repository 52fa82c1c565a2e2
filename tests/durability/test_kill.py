"""Nothing acknowledged is ever lost.

Several clients write; the server is killed with SIGKILL at a random moment and started again on the same directory.
Afterwards every acknowledged write is there, nothing that was being written is there by half, the revision has grown
by at least the number of acknowledged writes, and the audit chain is whole.

`BASTIDE_KILL_ROUNDS` shortens or lengthens the test, `BASTIDE_KILL_SEED` repeats one.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import sqlite3
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
from support import graph, login
from support.secrets import suite_dir
from support.server import Bastide

ROUNDS = int(os.environ.get("BASTIDE_KILL_ROUNDS", "100"))
SEED = int(os.environ.get("BASTIDE_KILL_SEED", str(time.time_ns())))
WRITERS = 4
KIND = "providers/Microsoft.ManagedIdentity/userAssignedIdentities"
VERSIONS = {"group": "2024-11-01", "identity": "2025-05-31-preview"}
# A resource that is not there, as a value like any other.
ABSENT = 0


@dataclass
class Subject:
    """One resource as its only writer knows it: what was acknowledged last, and what may have happened since."""

    path: str
    version: str
    acknowledged: int = ABSENT
    in_flight: int | None = None
    principal: str | None = None

    def possible(self) -> set[int]:
        return {self.acknowledged} | ({self.in_flight} if self.in_flight is not None else set())


@dataclass
class Client:
    """A connection to the server that is told when the server goes away, and never repeats a request."""

    server: Bastide
    token: str
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self):
        self.session.verify = self.server.ca_file
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {self.token}"

    def send(self, method: str, path: str, version: str, body: dict | None = None) -> requests.Response:
        url = f"{self.server.endpoint}{path}?api-version={version}"
        return self.session.request(method, url, json=body, timeout=10)


class Writer(threading.Thread):
    """Creates, changes and deletes resources of its own as fast as it can, until the server is gone."""

    def __init__(self, number: int, round_: int, client: Client, start: threading.Barrier, chance: random.Random):
        super().__init__(daemon=True)
        self.client, self.barrier, self.chance = client, start, chance
        scope = f"{client.server.subscription}/resourceGroups/writer-{number}-{round_}"
        self.group = Subject(scope, VERSIONS["group"])
        self.subjects = [self.group]
        self.acknowledged = 0
        self.interrupted = False
        self.complaint: str | None = None

    def run(self):
        # The handshake is done before the clock runs.
        self.client.send("GET", self.client.server.subscription, VERSIONS["group"])
        self.barrier.wait()
        try:
            self.write(self.group, 1)
            while self.complaint is None:
                self.write(*self.choose())
        except requests.RequestException:
            self.interrupted = True

    def choose(self) -> tuple[Subject, int]:
        """Mostly something new, often a change, sometimes a deletion."""
        living = [subject for subject in self.subjects[1:] if subject.acknowledged != ABSENT]
        dice = self.chance.random()
        if living and dice < 0.3:
            subject = self.chance.choice(living)
            return subject, subject.acknowledged + 1
        if living and dice < 0.4:
            return self.chance.choice(living), ABSENT
        subject = Subject(f"{self.group.path}/{KIND}/id-{len(self.subjects):05}", VERSIONS["identity"])
        self.subjects.append(subject)
        return subject, 1

    def write(self, subject: Subject, value: int):
        subject.in_flight = value
        if value == ABSENT:
            answer = self.client.send("DELETE", subject.path, subject.version)
        else:
            answer = self.client.send("PUT", subject.path, subject.version, body_of(subject, value))
        if answer.status_code not in (200, 201):
            self.complaint = f"{answer.request.method} {subject.path}: {answer.status_code} {answer.text[:300]}"
            return
        if value != ABSENT:
            subject.principal = answer.json()["properties"].get("principalId")
        subject.acknowledged, subject.in_flight = value, None
        self.acknowledged += 1


def body_of(subject: Subject, value: int) -> dict:
    """A body whose parts belong together: half of it would be seen."""
    return {"location": "westus", "tags": {"value": str(value), "seal": seal(subject, value), "padding": "x" * 200}}


def seal(subject: Subject, value: int) -> str:
    return hashlib.sha256(f"{subject.path}={value}".encode()).hexdigest()


def observe(subject: Subject, client: Client) -> dict | None:
    """Reads a resource back and compares it with what its writer knows; returns its whole body."""
    answer = client.send("GET", subject.path, subject.version)
    assert answer.status_code in (200, 404), f"GET {subject.path}: {answer.status_code} {answer.text[:300]}"
    body = answer.json() if answer.status_code == 200 else None
    value = ABSENT if body is None else int(body["tags"]["value"])
    assert value in subject.possible(), f"{subject.path} is {value}; acknowledged and in flight: {subject}"
    if body is not None:
        assert body["tags"] == body_of(subject, value)["tags"], f"{subject.path} is half written: {body}"
        assert body["id"] == subject.path and body["location"] == "westus", body
        if subject.version == VERSIONS["identity"]:
            assert body["properties"]["principalId"] and body["properties"]["clientId"], body
            # Created again after a deletion it would be somebody else; no writer here does that.
            assert subject.principal in (None, body["properties"]["principalId"]), f"{subject.path} changed who it is"
            subject.principal = body["properties"]["principalId"]
    subject.acknowledged, subject.in_flight = value, None
    return body


class Database:
    """The embedded database as the dead server left it, looked at in a copy so that nobody helps it recover."""

    def __init__(self, data_dir: Path):
        self.data_dir = data_dir

    def query(self, *statements: str) -> list[list[tuple]]:
        with tempfile.TemporaryDirectory() as folder:
            (main,) = self.data_dir.glob("*.db")
            for file in self.data_dir.glob(f"{main.name}*"):
                if not file.name.endswith("-shm"):
                    shutil.copy(file, folder)
            connection = sqlite3.connect(Path(folder) / main.name)
            try:
                return [connection.execute(statement).fetchall() for statement in statements]
            finally:
                connection.close()

    def revision(self) -> int:
        [[(revision,)]] = self.query("SELECT revision FROM meta")
        return revision

    def check_whole(self) -> None:
        """SQLite's own check, no revision given out twice, no row ahead of the revision."""
        check, revision, newest, rows, orphans = self.query(
            "PRAGMA quick_check",
            "SELECT revision FROM meta",
            "SELECT coalesce(max(revision), 0) FROM resources",
            "SELECT count(*), count(DISTINCT revision) FROM resources",
            "SELECT count(*) FROM resource_tags WHERE key NOT IN (SELECT key FROM resources)",
        )
        assert check == [("ok",)]
        assert newest[0][0] <= revision[0][0]
        assert rows[0][0] >= rows[0][1] > 0
        assert orphans == [(0,)]

    def check_audit_chain(self) -> int:
        """Walks the hash chain by the definition in its documentation, independently of the server's own code."""
        entries, head = self.query(
            "SELECT seq, at, prev_hash, hash, record FROM audit ORDER BY seq", "SELECT audit_seq, audit_hash FROM meta"
        )
        before = ""
        for number, (seq, at, prev_hash, hash_, record) in enumerate(entries, 1):
            assert (seq, prev_hash) == (number, before), f"audit entry {number} is missing or out of place"
            text = hashlib.sha256()
            for part in (prev_hash.encode(), seq.to_bytes(8, "big"), at.to_bytes(8, "big"), record.encode()):
                text.update(len(part).to_bytes(8, "big") + part)
            assert text.hexdigest() == hash_, f"audit entry {seq} was changed"
            before = hash_
        assert head == [(len(entries), before)]
        return len(entries)


@pytest.fixture
def home(tmp_path) -> Path:
    """Kept for the secrecy suite when the runner asks for it."""
    return suite_dir() / "servers" / f"{os.getpid()}-durability" if suite_dir() else tmp_path


@pytest.mark.slow
def test_every_acknowledged_write_survives_a_hundred_kills(home, capsys):
    chance = random.Random(SEED)
    server = Bastide(home).start()
    database = Database(server.data_dir)
    everything: list[Subject] = []
    revision, interrupted, acknowledged = 0, 0, 0
    began = time.monotonic()
    try:
        for round_ in range(ROUNDS):
            writers = run_round(server, round_, chance)
            server.kill()
            for writer in writers:
                writer.join(15)
                assert not writer.is_alive(), "a client waits for a server that is dead"
                assert writer.complaint is None, writer.complaint
            written = sum(writer.acknowledged for writer in writers)
            after = database.revision()
            assert after >= revision + written, f"revision {revision} grew to {after} over {written} writes"
            revision, acknowledged = after, acknowledged + written
            interrupted += sum(writer.interrupted for writer in writers)
            if round_ % 10 == 0:
                database.check_whole()

            server.start(timeout=15)
            client = Client(server, login.access_token(server))
            touched = [subject for writer in writers for subject in writer.subjects]
            for subject in touched:
                observe(subject, client)
            everything += touched

        check_everything(server, everything)
        assert server.stop() == 0, "after all that it still stops cleanly"
        database.check_whole()
        entries = database.check_audit_chain()
        assert entries >= acknowledged, "every acknowledged write is in the audit chain"
    except BaseException:
        print(f"BASTIDE_KILL_SEED={SEED} repeats this run")
        raise
    finally:
        server.close()
    # The test is worth nothing when the kills hit an idle server.
    assert interrupted >= ROUNDS * WRITERS * 0.9, f"only {interrupted} of {ROUNDS * WRITERS} writers were cut off"
    assert acknowledged >= ROUNDS * 10, f"only {acknowledged} writes in {ROUNDS} rounds"
    with capsys.disabled():
        seconds = time.monotonic() - began
        print(f"\n{ROUNDS} kills, {acknowledged} acknowledged writes, none lost, {seconds:.0f} s (seed {SEED})")


def run_round(server: Bastide, round_: int, chance: random.Random) -> list[Writer]:
    """Starts the writers and returns at the moment at which the server is to die."""
    token = login.access_token(server)
    barrier = threading.Barrier(WRITERS + 1)
    writers = [
        Writer(number, round_, Client(server, token), barrier, random.Random(chance.random()))
        for number in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    barrier.wait()
    # Random enough to hit every phase of a commit.
    time.sleep(chance.uniform(0.02, 0.3))
    return writers


def check_everything(server: Bastide, everything: list[Subject]) -> None:
    """At the end: every write of every round is still there, lists and reads agree, and identities are whole."""
    client = Client(server, login.access_token(server))
    living = {subject.path for subject in everything if subject.acknowledged != ABSENT}
    identities = {
        subject.path: subject for subject in everything if subject.path in living and "/providers/" in subject.path
    }
    listed = listing(client, f"{server.subscription}/{KIND}", VERSIONS["identity"])
    assert set(listed) == set(identities)
    for path, body in listed.items():
        subject = identities[path]
        assert body["tags"] == body_of(subject, subject.acknowledged)["tags"]
        assert body["properties"]["principalId"] == subject.principal
    groups = listing(client, f"{server.subscription}/resourceGroups", VERSIONS["group"])
    assert set(groups) == {path for path in living if "/providers/" not in path}
    resources = listing(client, f"{server.subscription}/resources", VERSIONS["group"])
    assert set(resources) == set(identities)
    for subject in random.Random(SEED).sample(everything, min(len(everything), 500)):
        body = observe(subject, client)
        assert body is None or body == (listed.get(subject.path) or groups[subject.path])
    # An identity is a row in the resources and one in the directory, written together or not at all.
    for subject in list(identities.values())[:: max(1, len(identities) // 50)]:
        assert graph.call(server, "GET", f"/servicePrincipals/{subject.principal}").status_code == 200, subject
    for subject in [s for s in everything if s.acknowledged == ABSENT and s.principal][:20]:
        assert graph.call(server, "GET", f"/servicePrincipals/{subject.principal}").status_code == 404, subject


def listing(client: Client, path: str, version: str) -> dict[str, dict]:
    """Everything in a list, by id, page after page."""
    found, url = {}, f"{client.server.endpoint}{path}?api-version={version}&$top=1000"
    while url:
        answer = client.session.get(url, timeout=30)
        assert answer.status_code == 200, answer.text[:300]
        for body in answer.json()["value"]:
            assert body["id"] not in found, f"{body['id']} is listed twice"
            found[body["id"]] = body
        url = answer.json().get("nextLink")
    return found
