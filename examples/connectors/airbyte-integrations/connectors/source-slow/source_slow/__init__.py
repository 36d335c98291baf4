"""Reads from an API that first has to prepare an export, and waits for it."""
