"""Evidence: the log, its checkpoints and time stamps, bundles and the trust a verifier brings along."""
