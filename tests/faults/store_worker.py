"""Builds a store in a directory and says which shards it reads: ``store_worker.py DIRECTORY SEED``.

A line on its input is passed over; see ``killing.run_and_kill``.
"""

import json
import sys
import time
from pathlib import Path

from countermark.audit.images.reading import open_images
from countermark.audit.images.store import ImageStore

SHARD = 5


class Slow:
    """The images, read one shard in some milliseconds, and told."""

    def __init__(self, path):
        self._source = open_images(path)
        for name in ("shape", "count", "has_labels", "label_names", "name", "origin"):
            setattr(self, name, getattr(self._source, name))

    def batches(self, size=1024, *, start=0):
        for place, batch in enumerate(self._source.batches(size, start=start)):
            print("done", json.dumps(start + place * size), json.dumps(len(batch.images)), flush=True)
            time.sleep(0.02)
            yield batch


def main():
    data, directory = Path(sys.argv[1]) / "data.npz", Path(sys.argv[1]) / "store"
    sys.stdin.readline()
    source = Slow(data)
    print("ready", flush=True)
    ImageStore.build(source, directory, shard_images=SHARD)
    time.sleep(60)


if __name__ == "__main__":
    main()
