"""`python -m augment_utils COMMAND`."""

import signal
import sys

from augment_utils.cli import main

# what is stopped by the system stops its kernels and workers, and removes what is half-written
signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
main(prog_name="python -m augment_utils")
