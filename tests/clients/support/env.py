"""Reads the `export` lines that `bastide env` prints, with the shell that a user would paste them into."""

from __future__ import annotations

import subprocess


def exports(script: str) -> dict[str, str]:
    """The variables that a script exports."""
    names = [
        line.split("=", 1)[0].removeprefix("export ") for line in script.splitlines() if line.startswith("export ")
    ]
    assert names, f"no export lines in:\n{script}"
    wanted = " ".join(f'"${{{name}}}"' for name in names)
    lines = "\n".join(line for line in script.splitlines() if line.startswith("export "))
    done = subprocess.run(
        ["sh", "-euc", f"{lines}\nprintf '%s\\0' {wanted}"], capture_output=True, text=True, check=True
    )  # fmt: skip
    return dict(zip(names, done.stdout.split("\0"), strict=False))
