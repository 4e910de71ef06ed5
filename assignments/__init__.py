"""A course for nbgrader, and what releases and grades it."""
