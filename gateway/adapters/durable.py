"""Files of which a kill or a power cut leaves the old text or the new one, whole."""

from __future__ import annotations

import os
from pathlib import Path


def write_durably(file: Path, text: str) -> None:
    """A line at the end is added. Durable when it returns. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.parent / f".{file.name}.new"
    with new.open("w") as opened:
        opened.write(f"{text}\n")
        opened.flush()
        os.fsync(opened.fileno())
    new.replace(file)
    # The rename itself is durable only when the directory is (man 2 fsync).
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
