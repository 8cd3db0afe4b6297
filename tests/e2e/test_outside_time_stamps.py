"""An office whose checkpoints an outside authority stamps, over HTTP."""

import base64
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from countermark.adapters.timestamp import LocalTsa
from countermark.bootstrap import create_office, open_office
from countermark.errors import InputError, NetworkError, TimestampInvalid
from countermark.evidence.timestamp import verify_timestamp
from countermark.workflows.anchor import anchor_log
from countermark.workflows.keys import export_trust

PASSPHRASE = "a passphrase for tests"


@pytest.fixture
def outside():
    """A time-stamp authority of somebody else, as (authority, address)."""
    authority = LocalTsa.create("Elsewhere", lambda: datetime.now(UTC))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            answer = authority.respond(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield authority, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_stamps_of_an_outside_authority_are_used_and_its_root_is_in_the_trust_file(tmp_path, outside):
    authority, url = outside
    create_office(tmp_path / "ws", PASSPHRASE, name="Stamped", authority=(url, authority.root_pem.decode()))
    with open_office(tmp_path / "ws", PASSPHRASE) as office:
        anchor = anchor_log(office)
        trust = export_trust(office)
    stamp = base64.b64decode(anchor["timestamp"])
    assert authority.root_pem.decode() in trust.timestamp_roots
    verify_timestamp(stamp, anchor["checkpoint"].encode(), [authority.root_pem])


def test_a_stamp_under_another_root_is_not_anchored(tmp_path, outside):
    _, url = outside
    other = LocalTsa.create("Another", lambda: datetime.now(UTC))
    create_office(tmp_path / "ws", PASSPHRASE, name="Stamped", authority=(url, other.root_pem.decode()))
    with open_office(tmp_path / "ws", PASSPHRASE) as office:
        with pytest.raises(TimestampInvalid):
            anchor_log(office)
        assert office.ledger.events("Anchored") == []


def test_an_authority_out_of_reach_anchors_nothing(tmp_path):
    other = LocalTsa.create("Another", lambda: datetime.now(UTC))
    create_office(tmp_path / "ws", PASSPHRASE, name="S", authority=("http://127.0.0.1:9/", other.root_pem.decode()))
    with open_office(tmp_path / "ws", PASSPHRASE) as office, pytest.raises(NetworkError):
        anchor_log(office)


@pytest.mark.parametrize("authority", [("ftp://x", "PEM"), ("https://x", "not a certificate")])
def test_what_is_no_authority_is_refused(tmp_path, authority):
    with pytest.raises(InputError):
        create_office(tmp_path / "ws", PASSPHRASE, name="S", authority=authority)
