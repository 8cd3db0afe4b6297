"""Watermarks that others ship, read with p-values that hold: each text counts what it repeats once."""
