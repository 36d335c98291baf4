"""Reads orders from a CSV file, only the changed ones after the first time."""
