"""Probabilities and replies of a real small model, local and behind a server of this test; extraction and exposure."""

from __future__ import annotations

import json
import math
import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from countermark.adapters.completions import LocalCompletions, ServedCompletions, open_completions
from countermark.audit.text.exposure import Canary, draw_canary, expose, others
from countermark.audit.text.extraction import Pair, Sampling, cut_pairs, extract, needed
from countermark.audit.text.reading import Corpus
from countermark.errors import InputError, NetworkError

MODEL = Path(__file__).parents[2] / "examples" / "prose"
PAIRS = [
    ("Up, and to the office, where all the", " morning."),
    ("This document has been placed in the public", " domain."),
    ("The quick brown fox jumps over the", " lazy dogs of the town"),
    ("春眠不覺曉,", "處處聞啼鳥"),
]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def local() -> LocalCompletions:
    return LocalCompletions(MODEL)


class Served:
    """The model as transformers runs it, answering as OpenAI's completions API does; not by our adapter."""

    def __init__(self) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.torch = torch
        self.model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(MODEL)
        self.has_echo, self.status, self.heard = True, 200, list[dict[str, Any]]()
        self.headers: list[dict[str, str]] = []

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked.get("echo"):
            return {"choices": [{"text": asked["prompt"], "logprobs": self.told(asked)}]}
        return {"choices": [{"text": text} for text in self.replies(asked)]}

    def told(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        if not self.has_echo:
            return None
        made = self.tokenizer(asked["prompt"], return_offsets_mapping=True, return_tensors="pt")
        ids = made["input_ids"][0]
        with self.torch.no_grad():
            laws = self.model(input_ids=ids[None]).logits[0].log_softmax(-1)
        own = [None] + [float(laws[i, ids[i + 1]]) for i in range(len(ids) - 1)]
        top = [None]
        for i in range(len(ids) - 1):
            values, tokens = laws[i].topk(asked["logprobs"])
            top.append({f"{int(t)}": float(v) for v, t in zip(values, tokens, strict=True)})
        offsets = [int(start) for start, _end in made["offset_mapping"][0]]
        return {"tokens": [], "token_logprobs": own, "top_logprobs": top, "text_offset": offsets}

    def replies(self, asked: dict[str, Any]) -> list[str]:
        ids = self.tokenizer(asked["prompt"], return_tensors="pt")["input_ids"]
        self.torch.manual_seed(asked["seed"])
        with self.torch.no_grad():
            made = self.model.generate(
                ids,
                attention_mask=self.torch.ones_like(ids),
                do_sample=True,
                temperature=asked["temperature"],
                top_k=asked.get("top_k", 0),
                max_new_tokens=min(asked["max_tokens"], 8),
                num_return_sequences=asked["n"],
                pad_token_id=0,
            )
        return self.tokenizer.batch_decode(made[:, ids.shape[1] :], skip_special_tokens=True)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Served, str]]:
    model = Served()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            model.heard.append(asked)
            model.headers.append(dict(self.headers))
            body = json.dumps(model.answer(asked)).encode() if model.status == 200 else b"<html>"
            self.send_response(model.status)
            if model.status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield model, f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(1.0, 40), Sampling(0.7, 20), Sampling(0.0), Sampling(2.0, 5)]
)
def test_local_and_served_probabilities_are_the_same(
    local: LocalCompletions, served: tuple[Served, str], sampling: Sampling
) -> None:
    remote = ServedCompletions(served[1], "prose")
    ours, theirs = local.log_probabilities(PAIRS, sampling), remote.log_probabilities(PAIRS, sampling)
    assert theirs is not None
    for one, other in zip(ours, theirs, strict=True):
        assert one.tokens == other.tokens
        assert one.log_p == other.log_p or math.isclose(one.log_p, other.log_p, abs_tol=1e-3)
    assert all(one.log_p <= 0 for one in ours)
    if sampling == Sampling():
        assert all(math.isfinite(one.log_p) for one in ours)


def test_a_batch_changes_nothing(local: LocalCompletions) -> None:
    alone = [local.log_probabilities([pair], Sampling())[0] for pair in PAIRS]
    for one, other in zip(local.log_probabilities(PAIRS, Sampling()), alone, strict=True):
        assert one.tokens == other.tokens
        assert math.isclose(one.log_p, other.log_p, abs_tol=1e-3)


def test_replies_come_as_often_as_probabilities_say(local: LocalCompletions, served: tuple[Served, str]) -> None:
    # Ends inside no word, so that no other tokens spell the same.
    pair = ("This document has been placed in the public", " domain")
    probability = math.exp(local.log_probabilities([pair], Sampling(1.0, 5))[0].log_p)
    assert 0.05 < probability < 0.999
    for model in (local, ServedCompletions(served[1], "prose")):
        (replies,) = model.complete([pair[0]], Sampling(1.0, 5), count=120, max_tokens=4, seed=3)
        hits = sum(reply.startswith(pair[1]) for reply in replies)
        deviation = math.sqrt(120 * probability * (1 - probability))
        assert len(replies) == 120
        assert abs(hits - 120 * probability) < 4.5 * deviation + 1


def test_a_server_without_echo_is_asked_for_replies(served: tuple[Served, str]) -> None:
    model, url = served
    model.has_echo = False
    try:
        remote = ServedCompletions(url, "prose")
        assert remote.log_probabilities(PAIRS, Sampling()) is None
        pairs = [Pair("a", 0, *PAIRS[1][:1], " domain"), Pair("b", 0, "The quick brown fox", " xqzzv")]
        found = extract(remote, pairs, [Pair("c", 0, "Once upon a", " jqxzk")] * 3, sampling=Sampling(1.0, 5), draws=8)
        assert found["method"] == "sampling"
        assert found["items"][0]["hits"] > 0 == found["items"][1]["hits"]
        assert found["items"][1]["log_p"] is found["items"][1]["n"] is None
        assert found["items"][0]["p"] == 0.25
        with pytest.raises(InputError, match="tells the probabilities"):
            expose(remote, [Canary("The code is {secret}", "12")])
    finally:
        model.has_echo = True
    assert remote.log_probabilities(PAIRS, Sampling(0.5)) is None


def test_servers_that_fail_are_named_without_the_key(served: tuple[Served, str]) -> None:
    model, url = served
    remote = ServedCompletions(url, "prose", key="sk-secret")
    remote.log_probabilities(PAIRS[:1], Sampling())
    assert model.headers[-1]["Authorization"] == "Bearer sk-secret"
    for status in (302, 401, 500):
        model.status = status
        count = len(model.heard)
        try:
            with pytest.raises(NetworkError, match=f"127.0.0.1.*{status}") as caught:
                remote.log_probabilities(PAIRS, Sampling())
        finally:
            model.status = 200
        # A redirect is not followed.
        assert len(model.heard) == count + 1
        assert "secret" not in str(caught.value)
    model.status = 400
    try:
        assert remote.log_probabilities(PAIRS, Sampling()) is None
        with pytest.raises(NetworkError, match="400"):
            remote.complete(["a"], Sampling(), count=1, max_tokens=1, seed=0)
    finally:
        model.status = 200
    with pytest.raises(NetworkError, match=r"127\.0\.0\.1:9"):
        ServedCompletions("http://127.0.0.1:9/v1", "none", timeout_s=5).log_probabilities(PAIRS, Sampling())
    for bad in ("ftp://host/v1", "http://", "http://[/v1"):
        with pytest.raises(InputError, match="not the address"):
            ServedCompletions(bad, "none")
    with pytest.raises(InputError, match="over https"):
        ServedCompletions("http://example.org/v1", "none", key="sk")
    with pytest.raises(InputError, match="by its name"):
        open_completions(url)
    assert open_completions(url, "prose").write("The", tokens=3, seed=1)


def test_what_has_no_probability_is_refused(local: LocalCompletions) -> None:
    for pair in (("", "text"), ("text", "")):
        with pytest.raises(InputError, match="after at least one token"):
            local.log_probabilities([pair], Sampling())
    with pytest.raises(InputError, match="more than the 1024"):
        local.log_probabilities([("word " * 2_000, "end")], Sampling())
    assert local.write("", tokens=5, seed=1) == local.write("", tokens=5, seed=1)
    with pytest.raises(InputError, match="temperature"):
        Sampling(-1.0)


def test_pairs_are_cut_at_tokens_and_do_not_overlap(local: LocalCompletions) -> None:
    texts = [(MODEL / "README.md").read_text(encoding="utf-8"), "short", "春眠不覺曉,處處聞啼鳥。" * 20]
    corpus = Corpus.of(texts, "texts")
    pairs = cut_pairs(corpus, 8, prefix=20, suffix=10, places=local.places, seed=4)
    assert pairs == cut_pairs(corpus, 8, prefix=20, suffix=10, places=local.places, seed=4)
    assert 4 <= len(pairs) <= 8
    held = {each.name: each.text for each in corpus.documents()}
    ends: dict[str, int] = {}
    for pair in pairs:
        whole = pair.prefix + pair.suffix
        assert held[pair.document][pair.offset :].startswith(whole)
        assert pair.offset >= ends.get(pair.document, 0)
        ends[pair.document] = pair.offset + len(whole)
    plain = cut_pairs(corpus, 3, prefix=20, suffix=10)
    assert all((len(pair.prefix), len(pair.suffix)) == (20, 10) for pair in plain)


def test_what_a_model_was_trained_on_again_and_again_is_extracted_and_exposed() -> None:
    """Train on two canaries and three passages; what was held out, drawn in the same way, is the control."""
    import torch

    model = LocalCompletions(MODEL)
    generator = random.Random(7)
    words = (MODEL / "train.py").read_text(encoding="utf-8").split()
    passages = [" ".join(generator.sample(words, 16)) for _ in range(43)]
    pairs = [Pair(f"{i}", 0, text[: len(text) // 2], text[len(text) // 2 :]) for i, text in enumerate(passages)]
    canaries = [Canary(f"The key of room {name} is {{secret}}", f"{generator.randrange(10**4):04}") for name in "ABCD"]
    taught = [pair.prefix + pair.suffix for pair in pairs[:3]] + [each.text for each in canaries[:2]]
    _train(torch, model, taught, steps=30)
    found = extract(model, pairs[:3], pairs[3:])
    assert [item["flagged"] for item in found["items"]] == [True] * 3
    assert found["model_test"]["p"] < 0.01
    assert all(item["n"] < 100 for item in found["items"])
    assert found["rates"][-1]["train"]["share"] == 1.0
    exposed = expose(model, canaries, candidates=99)
    assert [each["flagged"] for each in exposed["canaries"]] == [True] * 2 + [False] * 2
    assert all(each["rank"] == 1 and each["exposure"] == each["most"] for each in exposed["canaries"][:2])
    json.dumps(found, allow_nan=False)
    json.dumps(exposed, allow_nan=False)


def _train(torch: Any, model: LocalCompletions, texts: list[str], *, steps: int) -> None:
    rows = [model.tokenizer.encode(text).tolist() for text in texts]
    length = max(map(len, rows))
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    labels = torch.tensor([row + [-100] * (length - len(row)) for row in rows])
    optimizer = torch.optim.AdamW(model._model.parameters(), lr=2e-3)
    torch.manual_seed(0)
    with torch.enable_grad():
        for _step in range(steps):
            optimizer.zero_grad()
            model._model(input_ids=ids, labels=labels, use_cache=False).loss.backward()
            optimizer.step()


def test_secrets_of_a_form_are_all_or_a_sample() -> None:
    small = Canary("The pin is {secret}.", "42")
    assert small.size == 100
    assert sorted([*others(small, 1_000), "42"]) == [f"{i:02}" for i in range(100)]
    drawn = others(draw_canary("The pin is {secret}.", length=9), 50, seed=1)
    assert len(set(drawn)) == 50
    assert all(len(each) == 9 and each.isdigit() for each in drawn)
    for template, secret in (
        ("{secret}", "1"),
        ("The pin", "1"),
        ("The {secret} {secret}", "1"),
        ("The {secret}", "a"),
    ):
        with pytest.raises(InputError):
            Canary(template, secret)


def test_queries_that_are_needed() -> None:
    assert needed(0.0, 0.5) == needed(math.log(0.5), 0.5) == 1
    assert needed(math.log(0.01), 0.5) == 69
    assert needed(math.log(0.01), 0.9) == 230
    assert needed(-math.inf, 0.5) is needed(-400.0, 0.5) is needed(-1_000.0, 0.5) is None
    for log_p, probability in ((0.1, 0.5), (-1.0, 0.0), (-1.0, 1.0), (math.nan, 0.5)):
        with pytest.raises(InputError):
            needed(log_p, probability)
