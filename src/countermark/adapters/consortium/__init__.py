"""Everything that starts a chain of several organizations: files for Hyperledger Besu (QBFT) and FISCO BCOS (PBFT).

Key names and formats follow the projects' own documentation and parsers, as of Besu 26.9 and FISCO BCOS 3.16.4; neither
program runs in our tests.
"""

from __future__ import annotations

from countermark.adapters.consortium.besu import besu_files, extra_data
from countermark.adapters.consortium.files import NewFile, write_tree
from countermark.adapters.consortium.fisco import fisco_files
from countermark.adapters.consortium.plan import MAX_VALIDATORS, ChainKey, Plan, Validator, read_plan

__all__ = [
    "MAX_VALIDATORS",
    "ChainKey",
    "NewFile",
    "Plan",
    "Validator",
    "besu_files",
    "extra_data",
    "fisco_files",
    "read_plan",
    "write_tree",
]
