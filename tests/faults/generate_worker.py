"""Child process of test_kill_generate: generates pictures, one signed request after another, until it is killed.

Usage: python generate_worker.py WORKSPACE SEED. Reads from stdin the request to begin with (one that was interrupted),
one JSON line or "null"; prints "ready", then "begin <request>" and "done <request> <paths>" lines for ever.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

from countermark.bootstrap import open_office
from countermark.core.keys import SigningKey
from countermark.errors import ConflictError
from countermark.workflows.generate import generate_pictures, request_generation
from countermark.workflows.pipelines import Order

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))
from painters import GridPainter, GridPainters


def main() -> None:
    workspace = Path(sys.argv[1])
    first = json.loads(sys.stdin.readline())
    with open_office(workspace, "a passphrase for tests") as office:
        office = replace(office, pipelines=GridPainters(GridPainter()))
        with office.store.transaction() as transaction:
            (licensee,) = transaction.find("party", "licensee")
        key = SigningKey(office.keys.secret(f"party/{licensee['id']}/signing"))
        print("ready", flush=True)
        while True:
            request = first or request_generation(1, office.id, Order(count=3), key, clock=office.clock)
            first = None
            print(f"begin {json.dumps(request)}", flush=True)
            try:
                made = [
                    each.path.name for each in generate_pictures(office, 1, workspace.parent / "out", request=request)
                ]
            except ConflictError:  # acknowledged just before the kill, repeated by the test
                made = []
            print(f"done {json.dumps(request)} {json.dumps(made)}", flush=True)


if __name__ == "__main__":
    main()
