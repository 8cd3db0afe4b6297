"""A mark copied onto a foreign picture: the p-values do not see it, the pattern and the logged output do."""

import numpy as np
from PIL import Image
from skimage import data

from countermark.bootstrap import open_office
from countermark.marking.adversaries import copy_forgery
from countermark.marking.attacks import apply
from countermark.workflows import mark, trace

PASSPHRASE = "a passphrase for tests"


def test_a_copied_mark_names_the_output_that_it_was_copied_from(case_office, tmp_path):
    copy, original = case_office.copy_workspace(tmp_path / "office"), case_office.workspace.parent / "astronaut.png"
    Image.fromarray(data.coffee()).save(tmp_path / "coffee.png")
    with open_office(copy, PASSPHRASE) as office:
        first, second = mark.mark_images(office, 1, [original, tmp_path / "coffee.png"], tmp_path / "out")
        assert first.output.pattern != second.output.pattern
        forged, genuine = tmp_path / "forged.png", tmp_path / "genuine.png"
        marked = np.asarray(Image.open(first.path))
        Image.fromarray(copy_forgery(marked, data.rocket(), psnr_db=36)).save(forged)
        Image.fromarray(apply("crop(0.8)", marked)).save(genuine)
        accused, leaked = trace.trace_files(office, [forged, genuine])
    assert (accused.verdict, leaked.verdict) == ("attributed", "attributed")
    assert accused.output is None
    assert accused.copied_from["log_index"] == first.output.log_index
    assert leaked.output["log_index"] == first.output.log_index
    assert leaked.copied_from is None
