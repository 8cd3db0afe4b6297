"""Pictures are born marked, each with a record and a log entry, and traced to the generation that made them."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from skimage import data

from countermark.adapters.diffusion import DiffusersPipelines
from countermark.bootstrap import create_office, open_office
from countermark.cli.root import root
from countermark.core.canonical import show_digest
from countermark.core.dsse import read_unverified
from countermark.core.keys import SigningKey
from countermark.errors import (
    ConflictError,
    HostileFile,
    InputError,
    ManifestMismatch,
    NotFoundError,
    ProofInvalid,
    SignatureInvalid,
    VerificationError,
)
from countermark.evidence import log
from countermark.evidence.bundle import Bundle, pack, unpack
from countermark.evidence.policy import Demand
from countermark.evidence.verification import verify
from countermark.licensing import Terms
from countermark.marking.image import noise_ledger
from countermark.marking.image.files import content_digest
from countermark.marking.reading import recompute
from countermark.workflows import bundle, check, generate, keys, license, register, trace
from countermark.workflows.generate import generate_pictures, request_generation
from countermark.workflows.office import Office, sign
from countermark.workflows.pipelines import Order

from .conftest import PASSPHRASE, TERMS, write_model
from .painters import GridPainter, GridPainters

ROOT = Path(__file__).parents[2]


def write_pipeline(directory: Path, seed: int) -> Path:
    """Write something of the layout of a diffusers pipeline; the stand-in never looks into it."""
    directory.mkdir()
    write_model(directory / "unet", seed)
    (directory / "unet" / "model.safetensors").rename(directory / "unet" / "diffusion_pytorch_model.safetensors")
    (directory / "unet" / "config.json").write_text("{}")
    (directory / "model_index.json").write_text('{"_class_name": "DDIMPipeline", "unet": ["diffusers", "UNet2DModel"]}')
    return directory


@dataclass
class Studio:
    """An office with a title, a grant for each of two licensees, and a painter."""

    office: Office
    painter: GridPainter
    folder: Path

    def generate(self, grant: int = 1, **options: Any) -> list[Any]:
        order = Order(**{"count": 2, **options.pop("order", {})})
        if "request" in options:
            return generate_pictures(self.office, grant, self.folder / "out", **options)
        return generate_pictures(self.office, grant, self.folder / "out", order=order, **options)

    def request(self, grant: int = 1, **order: Any) -> dict[str, Any]:
        with self.office.store.transaction() as transaction:
            (licensee,) = transaction.find("party", {1: "North", 2: "South"}[grant])
        key = SigningKey(self.office.keys.secret(f"party/{licensee['id']}/signing"))
        return request_generation(grant, self.office.id, Order(**order), key, clock=self.office.clock)

    def kept(self, epoch: int = 0) -> list[int]:
        return [int(name) for name in self.office.noise.of(1, epoch, self.painter.size).read().names]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and an office that has registered and licensed it; to be copied."""
    folder = tmp_path_factory.mktemp("studio")
    create_office(folder / "office", PASSPHRASE, name="Test office")
    with open_office(folder / "office", PASSPHRASE) as office:
        register.add_party(office, "Atelier", ["owner"])
        title = register.register_model(office, write_pipeline(folder / "model", 1), "Atelier")
        terms = {name: value for name, value in TERMS.items() if name != "legal_text"}
        offer = license.offer_terms(office, title.id, Terms.from_json(terms))
        for name in ("North", "South"):
            register.add_party(office, name, ["licensee"])
            license.grant_to_held(office, offer.id, name)
    return folder


@pytest.fixture
def studio(prepared: Path, tmp_path: Path) -> Iterator[Studio]:
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    with open_office(tmp_path / "office", PASSPHRASE) as office:
        with office.store.transaction() as transaction:
            transaction.put("model", "1", {"title": 1, "directory": str(tmp_path / "model")})
        painter = GridPainter()
        yield Studio(replace(office, pipelines=GridPainters(painter)), painter, tmp_path)


def test_every_picture_has_a_record_a_log_entry_and_its_signs_in_the_noise_ledger(studio: Studio) -> None:
    made = studio.generate(order={"count": 10})  # more than one batch
    assert [each.output.generation["counter"] for each in made] == list(range(10)) == studio.kept()
    for each in made:
        assert show_digest(content_digest(each.path)) == each.output.content_digest
        with studio.office.store.transaction() as transaction:
            entry = json.loads(log.entry(transaction.tiles, each.output.log_index))
        assert (entry["content"], entry["pattern"]) == (each.output.content_digest, each.output.generation["pattern"])
    assert not list((studio.folder / "out").glob(".*"))
    check.check_office(studio.office)


def test_a_picture_is_traced_to_its_generation_and_a_stranger_verifies_it(studio: Studio) -> None:
    north, south = studio.generate(1)[1], studio.generate(2)[0]
    leak = studio.folder / "leak.jpg"
    Image.open(south.path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(leak, quality=60)
    found = trace.trace_files(studio.office, [north.path, leak], use=trace.Use(scope="publish", territory="CN"))
    assert [(each.verdict, each.read, each.grant, each.generation) for each in found] == [
        ("attributed", "recorded", 1, 1), ("attributed", "recorded", 2, 2),
    ]  # fmt: skip
    assert found[1].output is not None
    assert found[1].output["content"] == south.output.content_digest
    assert not found[1].output["is_identical"]
    trust = keys.export_trust(studio.office)
    evidence = bundle.make_bundle(studio.office, found[1].id, case="case 7", audience="court")
    demand = Demand(trust=trust, suspect=show_digest(content_digest(leak)), case="case 7", audience="court")
    verified = verify(evidence, demand)
    assert verified.outcome == "verified"
    assert "output-linked-by-likeness" not in verified.caveats
    assert verified.statement["grant"] == 2
    refuse_other_signs(studio, evidence, demand)


def refuse_other_signs(studio: Studio, evidence: bytes, demand: Demand) -> None:
    """Signs made up afterwards, with statement and all signed anew, are not those that the log was told of."""
    part = json.loads(unpack(evidence).members["detection.json"])
    part["observations"]["signs"] = fitting(part["observations"]["levels"])
    p_ours = min(1.0, part["keys_tried"] * recompute(part["method"], part["observations"]).p_value)
    with pytest.raises(ProofInvalid, match="not that of the logged output"):
        verify(resigned(studio, evidence, part, p_ours=p_ours), demand)


def fitting(levels: str) -> str:
    """Return signs that fit a latent perfectly."""
    values = np.frombuffer(base64.b64decode(levels), dtype=np.int8)
    signs = np.where(values < 0, -1, 1).astype(np.int8)[None]
    return base64.b64encode(noise_ledger.pack(signs).astype("<u8").tobytes()).decode()


def test_what_was_never_generated_is_not_found(studio: Studio) -> None:
    studio.generate()
    stranger = studio.folder / "stranger.png"
    Image.fromarray(data.chelsea()[:64, :64]).save(stranger)
    (found,) = trace.trace_files(studio.office, [stranger])
    assert found.verdict == "nothing-found"
    assert found.p_ours is not None
    assert found.p_ours["corrected_for"]["keys"] >= 2


def test_large_pictures_carry_the_lattice_too_and_a_crop_is_straightened_by_it(studio: Studio) -> None:
    studio.painter.square = 6
    (made,) = studio.generate(order={"count": 1})
    assert made.output.generation["lattice"]
    assert 30 < made.output.psnr_db < 60
    leak = studio.folder / "leak.jpg"
    with Image.open(made.path) as picture:
        picture.crop((45, 30, 365, 350)).resize((288, 288), Image.Resampling.LANCZOS).save(leak, quality=85)
    (found,) = trace.trace_files(studio.office, [leak])
    assert (found.verdict, found.read, found.grant, found.generation) == ("attributed", "recorded", 1, 0)
    assert found.geometry["scale"] == pytest.approx(0.9, abs=0.01)


def test_a_signed_request_is_carried_out_once(studio: Studio) -> None:
    request = studio.request(count=3)
    assert len(studio.generate(request=request)) == 3
    with pytest.raises(ConflictError, match="before"):
        studio.generate(request=request)
    assert studio.kept() == [0, 1, 2]


def test_a_request_for_something_else_is_refused(studio: Studio) -> None:
    for request in (studio.request(2), {**studio.request(), "payload": studio.request(2)["payload"]}):
        with pytest.raises(SignatureInvalid):
            studio.generate(1, request=request)
    source = studio.folder / "source.png"
    Image.fromarray(data.chelsea()[:64, :64]).save(source)
    signed = studio.request(source=show_digest(bytes(32)), strength=0.5)
    with pytest.raises(SignatureInvalid):
        studio.generate(request=signed, source=source)
    with pytest.raises(InputError):
        studio.generate(request=signed)
    assert studio.painter.drawn == 0


@pytest.mark.parametrize(
    "order",
    [{"count": 0}, {"count": 10_001}, {"count": True}, {"steps": 0}, {"seed": -1}, {"strength": 0.5}, {"prompt": 5},
     {"source": "sha256:00"}, {"source": "x", "strength": 2.0}],
)  # fmt: skip
def test_a_malformed_order_is_refused(order: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Order(**order)


def test_an_interrupted_run_goes_on_with_new_counters_and_publishes_what_was_recorded(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, publish = studio.request(count=4), generate.publish
    names: list[str] = []

    def stop_at_second(temporary: Path, target: Path) -> None:
        names.append(target.name)
        if len(names) == 2:
            raise KeyboardInterrupt
        publish(temporary, target)

    monkeypatch.setattr(generate, "publish", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        studio.generate(request=request)
    monkeypatch.setattr(generate, "publish", publish)
    rest = studio.generate(request=request)
    assert [each.output.generation["counter"] for each in rest] == [1, 4, 5]
    assert sorted(path.name for path in (studio.folder / "out").iterdir()) == [
        f"grant-1-0-00000{number}.png" for number in (0, 1, 4, 5)
    ]
    assert studio.kept() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ConflictError):
        studio.generate(request=request)
    check.check_office(studio.office)


def test_nothing_is_drawn_before_its_signs_are_kept(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(studio.painter, "paint", fail)
    with pytest.raises(KeyboardInterrupt):
        studio.generate()
    assert studio.kept() == [0, 1]
    monkeypatch.undo()
    assert [each.output.generation["counter"] for each in studio.generate()] == [2, 3]


def test_epochs_have_counters_and_keys_of_their_own_and_old_ones_stay_readable(studio: Studio) -> None:
    (old, _), title = studio.generate(), register.rotate_epoch(studio.office, 1)
    assert title.methods[0] == title.methods[1]
    assert len(title.methods[1]) == 2
    (new, _) = studio.generate()
    assert (new.output.generation["epoch"], new.output.generation["counter"]) == (1, 0)
    assert new.output.key_id != old.output.key_id
    found = trace.trace_files(studio.office, [old.path, new.path])
    assert [(each.epoch, each.generation) for each in found] == [(0, 0), (1, 0)]
    trust = keys.export_trust(studio.office)
    for each, made in zip(found, (old, new), strict=True):
        evidence = bundle.make_bundle(studio.office, each.id, case="c", audience="a")
        demand = Demand(trust=trust, suspect=made.output.content_digest, case="c", audience="a")
        assert verify(evidence, demand).outcome == "verified"
    disclosed = [keys.disclose_key(studio.office, 1, 0, method=name) for name in ("lattice", "noise")]
    assert disclosed[0]["key"] != disclosed[1]["key"]


def test_a_key_that_the_epoch_did_not_commit_to_is_refused(studio: Studio) -> None:
    (made, _) = studio.generate()
    (found,) = trace.trace_files(studio.office, [made.path])
    evidence = bundle.make_bundle(studio.office, found.id, case="c", audience="a")
    part = json.loads(unpack(evidence).members["detection.json"])
    assert len(part["commitments"]) == 2
    for commitments in (part["commitments"][::-1], part["commitments"][1:], part["commitments"][:1], []):
        changed = resigned(studio, evidence, {**part, "commitments": commitments})
        with pytest.raises((ProofInvalid, VerificationError)):
            verify(changed, Demand(trust=keys.export_trust(studio.office)))


def resigned(studio: Studio, evidence: bytes, part: dict[str, Any], p_ours: float | None = None) -> bytes:
    """Change the detection of a bundle and sign its statement again, as only a dishonest office could."""
    members = dict(unpack(evidence).members)
    members["detection.json"] = json.dumps(part).encode()
    statement = dict(read_unverified(json.loads(members.pop("statement.json"))))
    del statement["format"]
    statement["members"] = Bundle(members).digests()
    if p_ours is not None:
        statement["p_ours"]["value"] = p_ours
    members["statement.json"] = json.dumps(sign(studio.office.platform_key, "statement", statement)).encode()
    return pack(members)


def test_titles_of_an_epoch_with_one_method_still_read(studio: Studio) -> None:
    with studio.office.store.transaction() as transaction:
        body = transaction.get("title", "1")
        assert body is not None
        lattice = body["methods"][0][0]
        transaction.put("title", "1", {**body, "methods": [lattice]}, index=(body["weights_root"],))
    with pytest.raises(ConflictError, match="another method"):
        studio.generate()
    assert register.rotate_epoch(studio.office, 1).methods == [[lattice], body["methods"][0]]
    assert len(studio.generate()) == 2


def test_the_model_must_hold_the_registered_weights(studio: Studio) -> None:
    other = write_pipeline(studio.folder / "other", 2)
    with pytest.raises(ManifestMismatch):
        studio.generate(model=other)
    moved = (studio.folder / "model").rename(studio.folder / "moved")
    with pytest.raises(NotFoundError, match="registered from"):
        studio.generate()
    (made, _) = studio.generate(model=moved)
    (found,) = trace.trace_files(studio.office, [made.path])
    assert found.verdict in ("nothing-found", "not-examined")
    (found,) = trace.trace_files(studio.office, [made.path], models=[moved])
    assert found.read == "recorded"
    with pytest.raises(NotFoundError, match="no title"):
        trace.trace_files(studio.office, [made.path], models=[other])


def test_pictures_of_an_account_are_pooled_by_their_words_alone(studio: Studio) -> None:
    made = studio.generate()
    found = trace.trace_pool(studio.office, [each.path for each in made])
    assert (found.verdict, found.read, found.grant, found.generation) == ("attributed", "exact", 1, None)


@pytest.mark.parametrize("part", [["my_code", "Net"], ["os", "system"]])
def test_a_pipeline_that_names_code_of_its_own_is_not_loaded(tmp_path: Path, part: list[str]) -> None:
    index = {"_class_name": "DDIMPipeline", "unet": part}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(HostileFile):
        DiffusersPipelines().open(tmp_path)


@pytest.mark.parametrize("index", ["", "[]", "{}", '{"_class_name": 5}', '{"_class_name": "DDIMPipeline"}'])
def test_what_is_no_pipeline_is_not_loaded(tmp_path: Path, index: str) -> None:
    (tmp_path / "model_index.json").write_text(index)
    with pytest.raises(InputError):
        DiffusersPipelines().open(tmp_path)


def test_a_real_pipeline_from_the_command_line(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples" / "fashion-mnist", tmp_path / "model")
    (tmp_path / "terms.yaml").write_text(json.dumps({k: v for k, v in TERMS.items() if k != "legal_text"}))

    def run(*arguments: str, status: int = 0) -> dict[str, Any]:
        with contextlib.chdir(tmp_path):
            result = CliRunner().invoke(root, [*arguments, "--json"], env={"COUNTERMARK_PASSPHRASE": PASSPHRASE})
        assert result.exit_code == status, result.output
        answer: dict[str, Any] = json.loads(result.stdout)
        return answer

    run("init")
    run("party", "add", "Atelier", "--role", "owner")
    run("party", "add", "North", "--role", "licensee")
    run("register", "model", "--owner", "Atelier")
    run("license", "offer", "1", "--terms", "terms.yaml")
    run("license", "grant", "1", "--to", "North")
    outputs = run("generate", "1", "--n", "4", "--steps", "6", "--seed", "5", "--out", "pictures")["outputs"]
    assert [each["counter"] for each in outputs] == [0, 1, 2, 3]
    found = run("trace", *(each["path"] for each in outputs))["traces"]
    recognized = [each for each in found if each["verdict"] == "attributed"]
    # This model clips its pictures, so some noise is lost; of 96 such pictures, 3 were not recognized.
    assert len(recognized) >= 2
    assert all(each["file"] == f"grant-1-0-{each['generation']:06d}.png" for each in recognized)
    refused = run("generate", "1", "--prompt", "a cat", "--out", "pictures", status=2)
    assert refused["message"] == "this model takes no prompt"
