"""azure-ai-ml as its users have it: pointed at a Bastide by what `bastide env python` prints, and by nothing else."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import env
from support.server import Bastide


def variables(server: Bastide) -> dict[str, str]:
    """The variables that set the Python SDKs up for a Bastide."""
    return env.exports(server.run("env", "python"))


@contextlib.contextmanager
def exported(server: Bastide) -> Iterator[None]:
    """This process as a shell that evaluated `bastide env python`."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables(server).items():
            patch.setenv(name, value)
        yield


def run(server: Bastide, program: str, home: Path, **extra: str) -> subprocess.CompletedProcess:
    """Runs a program in a Python that knows the exported variables and nothing of the developer's."""
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**variables(server), "PATH": "/usr/bin:/bin", "HOME": str(home), "NO_PROXY": "*", **extra},
        cwd=home, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def ml_client(server: Bastide, group: str, workspace: str | None = None) -> Any:
    """The documents' own line: `MLClient(DefaultAzureCredential(), subscription_id, resource_group)`."""
    # Some seconds to import: only for the suites that want it.
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    name = group.rsplit("/", 1)[1]
    return MLClient(DefaultAzureCredential(), os.environ["AZURE_SUBSCRIPTION_ID"], name, workspace)
