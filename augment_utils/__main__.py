"""`python -m augment_utils COMMAND`."""

from augment_utils.cli import main

main(prog_name="python -m augment_utils")
