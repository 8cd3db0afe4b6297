"""Ports meet the world here: databases, chains, key files, time-stamp authorities. Imported only by ``bootstrap``."""
