"""The valuation record of a title: an input for booking it as an asset, and no opinion on its value.

``lines`` holds what it earned, by the ledger's events; ``costs`` what its owner declares that it cost; ``method`` says
what the record is, and is not.
"""
