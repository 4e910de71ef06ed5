"""The runs behind the tables of "does it help?", and the tables."""
