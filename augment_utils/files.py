"""Files that are written whole or not at all, whatever stops the writing."""

import contextlib
import json
import os
import tempfile
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
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        raise OSError(f"{path} {_not_written(error)}") from error
    finally:
        with contextlib.suppress(OSError):  # on a read-only disk there is none to remove
            partial.unlink(missing_ok=True)


def write_file(path: str | os.PathLike, content: bytes) -> None:
    """Write bytes, whole or not at all."""
    with whole_file(path) as file:
        file.write(content)


def write_json(path: str | os.PathLike, content: object) -> None:
    """Write JSON that can be read and compared line by line, whole or not at all."""
    write_file(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def make_writable(folder: str | os.PathLike) -> None:
    """Make a folder if there is none, and try that it can be written in: before hours of work.

    Raises
    ------
    OSError
        It cannot.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=Path(folder)).close()
    except OSError as error:
        raise OSError(f"{folder} {_not_written(error)}") from error


def _not_written(error):
    return (
        f"could not be written: {error.strerror or error}; expected a folder that can be written "
        "and room on its disk: mend that, or choose another folder (--help says how)"
    )
