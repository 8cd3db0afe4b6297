"""The page of ``countermark audit serve`` as a Hugging Face Space: two models of one recipe, one a copyist.

Run it here with ``python app.py``. Models and data lie beside this file, or in ``../memorization``.
"""

from pathlib import Path

from countermark.web.audit_page import build, launch
from countermark.web.cases import open_case

HERE = Path(__file__).resolve().parent
DATA = HERE if (HERE / "images.npz").is_file() else HERE.parent / "memorization"
IMAGES = DATA / "images.npz"
MODELS = (
    ("copyist: 300 training images", "copyist", f"{IMAGES}:train[:300]"),
    ("honest: 6,000 training images", "honest", f"{IMAGES}:train"),
)

demo = build([open_case(name, str(DATA / model), train, f"{IMAGES}:test") for name, model, train in MODELS])

if __name__ == "__main__":
    launch(demo)
