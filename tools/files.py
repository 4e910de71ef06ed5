"""Files that are written whole or not at all, whatever stops the writing.

Click's atomic files would not do: after an error they are put in place all the same.
"""

import json
import os
import tempfile
from pathlib import Path

from augment_utils.datasets import not_written, whole_file


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
        raise OSError(not_written(folder, error)) from error
