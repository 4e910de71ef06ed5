"""Files that are written whole or not at all, whatever stops the writing."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[IO[bytes]]:
    """A file open for bytes, which gets the name `path` when the block ends without an error.

    Two processes that write the same file do not meet: the last one's stays.

    Raises
    ------
    OSError
        It cannot be written. What stood there before still does.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_file(path: str | os.PathLike, content: bytes) -> None:
    """Write bytes, whole or not at all."""
    with whole_file(path) as file:
        file.write(content)


def write_json(path: str | os.PathLike, content: object) -> None:
    """Write JSON that can be read and compared line by line, whole or not at all."""
    write_file(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
