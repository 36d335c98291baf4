"""Reads products and invoices of a shop, with exact amounts."""
