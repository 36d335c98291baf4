"""Writes invoices as a double-entry ledger."""
