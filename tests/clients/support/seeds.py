"""The documents of the mission, and the Python in them as printed.

They are not part of this repository: `$BASTIDE_SEEDS` names their folder, else `../shared/seeds` beside the checkout.
"""

from __future__ import annotations

import os
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.server import REPOSITORY


@dataclass(frozen=True)
class Block:
    """One block of Python: `004-3` is the third one of seed 004."""

    id: str
    text: str

    def without_slips(self, slips: list[tuple[str, str, str, str]]) -> str:
        """The text with what its authors meant where they wrote something else; every slip must be in it."""
        text = self.text
        for block, written, meant, _reason in slips:
            if block == self.id:
                assert written in text, f"{self.id} does not say {written!r}"
                text = text.replace(written, meant)
        return text


def folder() -> Path | None:
    """Where the documents are, or nothing."""
    named = Path(os.environ.get("BASTIDE_SEEDS") or REPOSITORY.parent / "shared/seeds")
    return named if named.is_dir() else None


def needed() -> pytest.MarkDecorator:
    """Skips, and says so, where the documents are absent."""
    return pytest.mark.skipif(folder() is None, reason="no documents: set BASTIDE_SEEDS to the folder of the seeds")


def python_blocks() -> list[Block]:
    """Every block of Python of every document, in order."""
    blocks = []
    for file in sorted(folder().glob("[0-9]*.txt")) if folder() else []:
        fenced = re.findall(r"^( *)```python\n(.*?)^\1```", file.read_text(), re.DOTALL | re.MULTILINE)
        for number, (_, text) in enumerate(fenced, 1):
            blocks.append(Block(f"{file.name[:3]}-{number}", textwrap.dedent(text)))
    return blocks
