"""Remembers every secret the suites use, so that the last test can look for them where they must not be."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from urllib.parse import quote_plus

# Shorter values would be found by chance.
SHORTEST = 12


class Secrets:
    """A set of secrets, mirrored to a file when the runner asks for it (`BASTIDE_SUITE_DIR`).

    Test workers are processes of their own; each appends to a file of its own, and the secrecy suite reads them all.
    """

    def __init__(self, folder: Path | None):
        self._known: set[str] = set()
        self._file = None
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = folder / f"{os.getpid()}.txt"

    def add(self, *values: str | None) -> None:
        for value in values:
            if not value or len(value) < SHORTEST or value in self._known:
                continue
            self._known.add(value)
            if self._file is not None:
                with self._file.open("a") as file:
                    file.write(value + "\n")

    def add_jwt(self, token: str) -> None:
        """A token is a secret as a whole; its signature alone is what makes it one."""
        self.add(token)
        if token.count(".") == 2:
            self.add(token.rsplit(".", 1)[1])

    def found_in(self, text: str) -> list[str]:
        """Which secrets stand in a text, shortened so that the report does not leak them again."""
        return [value[:4] + "..." for value in self._known if value in text]

    def __iter__(self):
        return iter(sorted(self._known))


def spellings(secret: str) -> set[bytes]:
    """A secret as it is, as a form field, and as base64: the ways it could end up in a log."""
    raw = secret.encode()
    return {
        raw,
        quote_plus(secret).encode(),
        base64.b64encode(raw).rstrip(b"="),
        base64.urlsafe_b64encode(raw).rstrip(b"="),
    }


def suite_dir() -> Path | None:
    """Where the runner keeps what must outlive one pytest run; unset when pytest is started by hand."""
    value = os.environ.get("BASTIDE_SUITE_DIR")
    return Path(value) if value else None


SECRETS = Secrets(suite_dir() / "secrets" if suite_dir() else None)
