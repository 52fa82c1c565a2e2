"""The last suite: nothing the others used as a secret stands in a log or in a data directory.

The runner keeps the servers' folders and the list of secrets for it (`BASTIDE_SUITE_DIR`).
"""

import json
import os
from pathlib import Path

import pytest
from support.secrets import spellings, suite_dir

# Handed to the operator on purpose: the credentials of the first start.
ON_PURPOSE = {"bootstrap.json"}

# What people write in computes is theirs, and a sparse file of 32 GB.
DISK = "disk.img"


@pytest.fixture(scope="module")
def folder() -> Path:
    folder = suite_dir()
    if folder is None:
        pytest.fail("needs BASTIDE_SUITE_DIR, the folder of the suites that ran before: use tests/clients/run.sh")
    return folder


@pytest.fixture(scope="module")
def secrets(folder) -> set[str]:
    found = {line for file in (folder / "secrets").glob("*.txt") for line in file.read_text().splitlines()}
    assert len(found) > 50, "the suites before this one used hardly any secret; did they run?"
    for file in bootstraps(folder):
        document = json.loads(file.read_text())
        found |= {document["clientSecret"], document["adminPassword"]}
    return found


@pytest.fixture(scope="module")
def artefacts(folder) -> dict[Path, bytes]:
    """Every file a server wrote: logs, databases, journals, whatever else."""
    files = [path for path in (folder / "servers").rglob("*") if path.is_file() and path.name not in {*ON_PURPOSE, DISK}]
    assert any(path.name == "bastide.log" for path in files), "no logs to look at"
    return {path: path.read_bytes() for path in files}


def test_no_secret_is_in_any_log_or_database(secrets, artefacts, folder):
    needles = {spelling: secret for secret in secrets for spelling in spellings(secret)}
    hits = [
        f"{secret[:4]}... in {path.relative_to(folder)}"
        for path, content in artefacts.items()
        for spelling, secret in needles.items()
        if spelling in content
    ]
    assert not hits, "\n".join(hits)


def test_the_search_would_find_one(secrets, folder):
    """A search that can find nothing proves nothing: it finds the client secrets where they are meant to be."""
    for file in bootstraps(folder):
        content = file.read_bytes()
        assert any(spelling in content for secret in secrets for spelling in spellings(secret)), file


def bootstraps(folder: Path) -> list[Path]:
    return sorted((folder / "servers").rglob("bootstrap.json"))


def test_no_private_key_is_in_a_database(artefacts):
    for path, content in artefacts.items():
        if path.suffix in (".pem", ".key") or os.access(path, os.X_OK):
            continue
        assert b"PRIVATE KEY" not in content, path


def test_nobody_wrote_control_characters_into_a_log(artefacts):
    """The suites send newlines and escape sequences in names; a log line that was forged would have come through."""
    for path, content in artefacts.items():
        if path.name == "bastide.log":
            assert not [byte for byte in content if byte < 32 and byte != 10], path


def test_the_logs_say_something_at_all(artefacts):
    logs = [content for path, content in artefacts.items() if path.name == "bastide.log"]
    assert any(b"request" in log for log in logs), "empty logs hide nothing and help nobody"
