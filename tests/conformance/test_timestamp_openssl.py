"""OpenSSL accepts what the local authority issues, and the package accepts what OpenSSL's authority issues."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from countermark.adapters.timestamp import LocalTsa
from countermark.evidence.timestamp import verify_timestamp

pytestmark = pytest.mark.tool("openssl")


def openssl(folder: Path, *args: str, code: int = 0) -> str:
    done = subprocess.run(["openssl", *args], cwd=folder, capture_output=True, text=True, timeout=60)
    assert (done.returncode == 0) == (code == 0), done.stderr
    return done.stdout


@pytest.fixture
def tsa(tmp_path: Path) -> LocalTsa:
    tsa = LocalTsa.create("Trial authority", lambda: datetime.now(UTC))
    (tmp_path / "root.pem").write_bytes(tsa.root_pem)
    (tmp_path / "message").write_bytes(b"checkpoint")
    return tsa


def test_openssl_verifies_our_stamp(tsa: LocalTsa, tmp_path: Path) -> None:
    (tmp_path / "token.tsr").write_bytes(tsa.issue(b"checkpoint"))
    verify = ("ts", "-verify", "-in", "token.tsr", "-CAfile", "root.pem", "-data")
    assert "Verification: OK" in openssl(tmp_path, *verify, "message")
    (tmp_path / "other").write_bytes(b"another")
    openssl(tmp_path, *verify, "other", code=1)


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_openssl_asks_and_checks_nonce_and_imprint(tsa: LocalTsa, tmp_path: Path, algorithm: str) -> None:
    openssl(tmp_path, "ts", "-query", "-data", "message", f"-{algorithm}", "-cert", "-out", "query.tsq")
    answer = tsa.respond((tmp_path / "query.tsq").read_bytes())
    (tmp_path / "answer.tsr").write_bytes(answer)
    verify = ("ts", "-verify", "-queryfile", "query.tsq", "-in", "answer.tsr", "-CAfile", "root.pem")
    assert "Verification: OK" in openssl(tmp_path, *verify)
    assert verify_timestamp(answer, b"checkpoint", [tsa.root_pem]).tzinfo is not None


def test_our_verifier_takes_a_stamp_of_openssls_own_authority(tmp_path: Path) -> None:
    (tmp_path / "message").write_bytes(b"checkpoint")
    _make_authority(tmp_path)
    moment = verify_timestamp(_stamp(tmp_path), b"checkpoint", [(tmp_path / "root.pem").read_bytes()])
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=5)


def _make_authority(folder: Path) -> None:
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    openssl(folder, "req", "-x509", *curve, "-subj", "/CN=Root", "-keyout", "root.key", "-out", "root.pem")
    signed = ("-CA", "root.pem", "-CAkey", "root.key", "-keyout", "tsa.key", "-out", "tsa.pem")
    openssl(
        folder,
        "req",
        "-x509",
        *curve,
        "-subj",
        "/CN=Time",
        *signed,
        "-addext",
        "extendedKeyUsage=critical,timeStamping",
        "-addext",
        "basicConstraints=critical,CA:false",
        "-addext",
        "keyUsage=critical,digitalSignature",
    )
    (folder / "tsa.cnf").write_text(
        "[tsa]\ndefault_tsa=a\n[a]\nserial=serial\nsigner_digest=sha256\ndefault_policy=1.2.3.4.1\n"
        "digests=sha256\nsigner_cert=tsa.pem\nsigner_key=tsa.key\ness_cert_id_alg=sha256\n"
    )


def _stamp(folder: Path) -> bytes:
    openssl(folder, "ts", "-query", "-data", "message", "-sha256", "-cert", "-out", "query.tsq")
    openssl(folder, "ts", "-reply", "-config", "tsa.cnf", "-section", "a", "-queryfile", "query.tsq", "-out", "o.tsr")
    return (folder / "o.tsr").read_bytes()
