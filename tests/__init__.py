"""The same folders again, and what belongs to the whole repository."""
