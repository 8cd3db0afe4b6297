"""Whether a model stores what it was trained on: a decision with an error rate.

The path of an audit::

    data ──► reading ──► store ──► index ─┐
    model ─► draws ───────────────────────┼─► scores ─► p-values ─► decisions ─► document ─► report, bundle
    held-out data ─► the same index ──────┘   (examine)             (decisions)   (result)

``images`` and ``text`` measure how near an output comes to the training data; ``decisions`` says what that proves, and
knows neither pictures nor models; ``models`` are small generators to try it on.
"""
