"""What the memorization audit claims, part by part, beside what a user would take instead, in one run.

    python -m benchmarks.memorization --json OUT [--data NPZ] [--develop NPZ] [--text DIR] [--parts search,decisions,…]

Parts: ``search`` (exact and approximate search beside the source's loop and faiss), ``decisions`` (planted copies,
false flags and the stated false discovery rate beside fixed cut-offs), ``models`` (memorizing against honest models of
one recipe), ``text`` (longest matches, planted passages). Without ``--data`` each uses the sample of Fashion-MNIST in
``examples/memorization``, which is too small for a claim and enough to see it run. Nothing was chosen on these data:
constants come from MNIST (``--develop`` shows that side too).
"""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import Any

from benchmarks.report import arguments, write_report

PARTS = ("search", "decisions", "models", "text")
SAMPLE = Path(__file__).parent.parent / "examples" / "memorization" / "images.npz"


def main() -> None:
    parser = arguments((__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=SAMPLE, metavar="NPZ", help="x_train, y_train, x_test, y_test")
    parser.add_argument("--develop", type=Path, metavar="NPZ", help="other images, on which constants were chosen")
    parser.add_argument("--text", type=Path, metavar="DIR", help="folder of texts for the text part")
    parser.add_argument("--samples", type=Path, metavar="DIR", help="drawn samples (*.npz) instead of training models")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, to see it run")
    parser.add_argument("--parts", default=",".join(PARTS))
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    for part in options.parts.split(","):
        started = time.monotonic()
        found, said = importlib.import_module(f"benchmarks.memorization_{part}").measure(options)
        rows += found
        summary[part] = {**said, "seconds": round(time.monotonic() - started, 1)}
    write_report("memorization", rows, summary, options.json)


if __name__ == "__main__":
    main()
