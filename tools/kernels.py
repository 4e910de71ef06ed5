"""How the kernels that we start are reached: through files, and not through ports."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from traitlets.config import Config


@contextlib.contextmanager
def private_kernels() -> Iterator[Config]:
    """Settings of Jupyter for kernels that nobody else can reach, nor get in the way of.

    Jupyter chooses a kernel's ports before it starts the kernel. Until the kernel listens, seconds
    later, the next program may get one of them, or the client's own attempts to connect do, and the
    kernel fails. A socket in a folder of our own stays ours. Windows has none: ports there.
    """
    if os.name == "nt":
        yield Config(KernelManager={"transport_encryption": "auto"})  # or kernels warn
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Config(KernelManager={"transport": "ipc", "ip": str(Path(folder) / "kernel")})
