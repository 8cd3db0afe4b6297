"""Texts: the longest match with a corpus, near copies, extraction by probabilities, exposure of canaries."""
