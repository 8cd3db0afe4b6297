"""Pure building blocks: no I/O, no clock, no torch. Each module has vectors or stated laws."""
