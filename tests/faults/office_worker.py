"""Child process of test_kill_office: does one act after another and says so on stdout once each is acknowledged.

Usage: python office_worker.py WORKSPACE SEED. Reads the act to begin with from stdin (an act that was interrupted), one
JSON line or "null"; prints "ready", then "begin <act>" and "done <act> <result>" lines for ever.
"""

import json
import random
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from countermark.bootstrap import open_office
from countermark.errors import AlreadyRegistered
from countermark.workflows.anchor import anchor_log
from countermark.workflows.license import grant_to_held
from countermark.workflows.mark import mark_images
from countermark.workflows.register import register_model


def write_model(directory: Path, seed: int) -> Path:
    """Write a one-tensor safetensors model whose bytes follow from the seed."""
    values = np.random.default_rng(seed).normal(size=64).astype("<f4").tobytes()
    header = json.dumps({"w": {"dtype": "F32", "shape": [64], "data_offsets": [0, 256]}}).encode()
    directory.mkdir(exist_ok=True)
    (directory / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + values)
    return directory


def write_image(path: Path, seed: int) -> Path:
    """Write a smooth noise picture that follows from the seed."""
    coarse = np.random.default_rng(seed).integers(0, 255, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((256, 256), Image.Resampling.BICUBIC).save(path)
    return path


def perform(office, folder: Path, act: dict) -> dict:
    kind, seed = act["kind"], act["seed"]
    if kind == "register":
        try:
            title = register_model(office, write_model(folder / f"model-{seed}", seed), "owner")
        except AlreadyRegistered as error:  # acknowledged just before the kill, repeated by the test
            return {"title": error.params["title"]}
        return {"title": title.id}
    if kind == "grant":
        return {"grant": grant_to_held(office, 1, "licensee").id}
    if kind == "mark":
        out = folder / "marked"
        (marked,) = mark_images(office, 1, [write_image(folder / f"image-{seed}.png", seed)], out)
        return {"path": str(marked.path), "content": marked.output.content_digest}
    return {"size": anchor_log(office)["size"]}


def main() -> None:
    workspace, seed = Path(sys.argv[1]), int(sys.argv[2])
    chance = random.Random(seed)
    first = json.loads(sys.stdin.readline())
    with open_office(workspace, "a passphrase for tests") as office:
        print("ready", flush=True)
        while True:
            fresh = {
                "kind": chance.choice(["register", "grant", "mark", "anchor"]),
                "seed": chance.randrange(2**31),
            }
            act, first = first or fresh, None
            print(f"begin {json.dumps(act)}", flush=True)
            result = perform(office, workspace.parent, act)
            print(f"done {json.dumps(act)} {json.dumps(result)}", flush=True)


if __name__ == "__main__":
    main()
