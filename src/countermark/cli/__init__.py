"""The command line: one module per noun, imported when it is named.

``main`` is the program. A command reads its arguments, calls one workflow and prints one answer; it decides nothing.
"""

from countermark.cli.root import root as main

__all__ = ["main"]
