"""What the folders beside augment_utils share; and where the repository is."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
