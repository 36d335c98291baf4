"""Reads hourly readings of weather stations, and makes daily means of them."""
