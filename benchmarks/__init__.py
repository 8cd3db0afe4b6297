"""One runnable module per claim: each prints a table and, as its last line, the same as JSON."""
