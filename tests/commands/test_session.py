"""What a training stores and prints is what the definitions say, computed again by hand."""

import gzip
import hashlib
import itertools
import json
import lzma
import math
import re
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gptspec import session
from gptspec.evaluation.likelihood import token_nlls
from gptspec.evaluation.ngrams import NGram
from gptspec.generation.decoding import Decoding
from gptspec.generation.streaming import stream
from gptspec.gpt.model import GPT, GPTConfig
from gptspec.plots import GRAY, TEAL
from gptspec.sampling.batches import Windows, batch
from gptspec.sampling.stories import stories
from gptspec.tokenization import bpe
from gptspec.training import checkpoint, loop
from strategies import single_precision
from terminal import SMALL, train

STEPS, EVERY, CONTEXT, SEED = 6, 3, 16, 5
# A high learning rate, so that six steps make a model that prefers some tokens to others.
OPTIONS = (*SMALL, "--dropout", "0.1", "--learning-rate", "0.1", "--seed", str(SEED))


def held_back(document):
    """A document's own content decides its side, the first tenth of all hashes."""
    digest = hashlib.sha256(document.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < 0.1


@pytest.fixture(scope="module")
def documents():
    return stories(80, seed=3)


class ByHand:
    """The training of the test, made without a session."""

    def __init__(self, documents):
        self.sides = [
            [document for document in documents if held_back(document) is held]
            for held in (False, True)
        ]
        self.tokenizer = bpe.train(self.sides[0], 300)
        end = self.tokenizer.end_of_text
        self.ids = [
            [id for document in side for id in [*self.tokenizer.encode(document), end]]
            for side in self.sides
        ]
        torch.manual_seed(SEED)
        shape = GPTConfig(
            vocab_size=self.tokenizer.vocab_size, context_length=CONTEXT, d_model=8, n_layers=1,
            n_heads=2, bias=False, dropout=0.1,
        )  # fmt: skip
        self.model = GPT(shape)
        config = loop.TrainConfig(
            steps=STEPS, batch_size=2, warmup=1, floor=1e-4, learning_rate=0.1, seed=SEED
        )
        self.run = loop.Run(self.model, config)
        windows = Windows(torch.tensor(self.ids[0]), CONTEXT, 8)
        self.losses, self.nats, self.bits, self.texts = [], {}, {}, {}
        for record in loop.train(self.run, windows):
            self.losses.append(record.loss)
            if record.step % EVERY == 0:
                self.look(record.step)

    def look(self, step):
        ids = torch.tensor(self.ids[1])
        starts = range(0, len(ids) - CONTEXT, CONTEXT)  # of all windows; at most 64 are looked at
        starts = starts[:: max(len(starts) // 64, 1)]
        rows = [ids[start : start + CONTEXT + 1] for start in starts]
        inputs, targets = torch.stack(rows)[:, :-1], torch.stack(rows)[:, 1:]
        self.model.eval()
        with torch.no_grad():
            self.nats[step] = F.cross_entropy(
                self.model(inputs).flatten(0, 1), targets.flatten()
            ).item()
        end = self.tokenizer.end_of_text
        n_bytes = sum(
            len(self.tokenizer.token_bytes(id)) for id in targets.flatten().tolist() if id != end
        )
        self.bits[step] = self.nats[step] * targets.numel() / math.log(2) / n_bytes
        decoding = Decoding(temperature=0.8, top_p=0.95)
        pieces = stream(self.model, self.tokenizer, "", 60, decoding, seed=step)
        self.texts[step] = "".join(pieces)


@pytest.fixture(scope="module")
def by_hand(documents):
    with single_precision():
        return ByHand(documents)


@pytest.fixture(scope="module")
def texts(documents, tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    for number, document in enumerate(documents):
        (folder / f"{number:03}.txt").write_text(document, encoding="utf-8")
    return folder


def ticking():
    """A clock that ticks at each look."""
    ticks = itertools.count()
    return SimpleNamespace(perf_counter=lambda: float(next(ticks)))


@pytest.fixture(scope="module")
def told(texts, tmp_path_factory):
    """A training by the command line: its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("told") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "time", ticking())
        return folder, train("train", texts, "--out", folder, *OPTIONS)


def rows(out):
    """The table of the comparison."""
    lines = out[out.index("as told by") :].splitlines()[2:]
    found = [re.fullmatch(r" *(\S.*?) {2,}(\d+\.\d{3}) *", line) for line in lines]
    return [(match[1], float(match[2])) for match in found if match]


def test_everything_stored_and_told_is_as_defined(told, documents, by_hand):
    folder, out = told
    tokenizer = by_hand.tokenizer

    # What is stored: the vocabulary of the training side alone, both sides encoded, the weights.
    assert bpe.BPE.load(folder / "tokenizer.json") == tokenizer
    for name, ids in zip(("train", "validation"), by_hand.ids, strict=True):
        assert np.load(folder / f"{name}.npy").tolist() == ids
    history = json.loads((folder / "history.json").read_text())
    assert history["losses"] == by_hand.losses
    assert history["validation"].keys() == {"3", "6"}
    for step, nats in by_hand.nats.items():
        assert math.isclose(history["validation"][str(step)], nats, rel_tol=1e-5)
    stored = GPT.load(checkpoint.latest(folder))
    for weight, own in zip(stored.parameters(), by_hand.model.parameters(), strict=True):
        assert torch.equal(weight, own)

    # What is told while it trains.
    size = sum(len(document.encode()) for document in documents)
    n_tokens = sum(map(len, by_hand.ids))
    assert (
        f"80 documents, {size:,} bytes, {n_tokens:,} tokens of a vocabulary of 300 "
        "learned in 1.0 s" in out
    )
    n_parameters = sum(weight.numel() for weight in by_hand.model.parameters())
    assert f"a GPT of {n_parameters:,} parameters, 6 steps of 2 × 16 tokens" in out
    for step, nats in by_hand.nats.items():
        assert nats != by_hand.losses[step - 1]
        told = f"step {step:5}  loss {by_hand.losses[step - 1]:.3f}  validation "
        assert f"{told}{by_hand.bits[step]:.3f} bits per byte" in out
        assert " ".join(by_hand.texts[step].split())[:200] in out
    assert "step 6/6" in out
    assert f"loss {by_hand.losses[-1]:.3f}  32 tokens/s" in out  # a second for each step


def test_the_comparison_is_as_defined(told, by_hand):
    folder, out = told
    before, text = by_hand.sides
    n_bytes = sum(len(document.encode()) for document in text)
    n_before = sum(len(document.encode()) for document in before)
    assert f"on {n_bytes:,} of {n_bytes:,} bytes of validation text" in out
    assert f"after {n_before:,} of {n_before:,} bytes of training text" in out
    first, second = (b"".join(d.encode() + b"\0" for d in side) for side in (before, text))

    def xz(content):
        return len(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))

    ids = torch.tensor([by_hand.tokenizer.end_of_text, *by_hand.ids[1]])
    nats = token_nlls(by_hand.model, ids, stride=CONTEXT // 2).sum().item()
    expected = {
        "this GPT": nats / math.log(2) / n_bytes,
        "gzip -9": 8 * len(gzip.compress(second, 9, mtime=0)) / n_bytes,
        "xz -9e": 8 * xz(second) / n_bytes,
        "xz -9e, after the training text": 8 * (xz(first + second) - xz(first)) / n_bytes,
        "6-grams of bytes": NGram(before, order=6).bits_per_byte(text),
    }
    shown = rows(out)
    assert dict(shown).keys() == expected.keys()
    for name, bits in shown:
        assert abs(bits - expected[name]) < 0.00051
    assert [bits for _, bits in shown] == sorted(bits for _, bits in shown)
    assert f"loss curve in {folder / 'loss.svg'}" in out


def curve(picture, colour):
    """The points of a line in an SVG."""
    [path] = re.findall(
        rf'<path d="([^"]*)" clip-path="[^"]*" style="[^"]*stroke: {colour}', picture
    )
    return [tuple(map(float, point)) for point in re.findall(r"[ML] (\S+) (\S+)", path)]


def test_the_learning_curve_is_of_the_losses(told, by_hand):
    folder, _ = told
    picture = (folder / "loss.svg").read_text()
    assert picture.startswith("<svg")
    assert 'xmlns="http://www.w3.org/2000/svg"' in picture
    points = curve(picture, GRAY) + curve(picture, TEAL)
    measured = [*enumerate(by_hand.losses, 1), *by_hand.nats.items()]
    assert len(points) == len(measured)
    for axis in (0, 1):  # one scale for both lines
        drawn, values = ([pair[axis] for pair in pairs] for pairs in (points, measured))
        scale = (drawn[5] - drawn[0]) / (values[5] - values[0])
        assert (scale > 0) == (axis == 0)  # a picture's y grows downwards
        for place, value in zip(drawn, values, strict=True):
            assert abs(place - drawn[0] - scale * (value - values[0])) < 0.01
    for word in ("step", "nats per token", "training, each step", "validation"):
        assert f">{word}</text>" in picture


def test_a_long_text_is_compared_in_part(told, gptspec, tmp_path, monkeypatch):
    folder = shutil.copytree(told[0], tmp_path / "run")
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(session, "COMPARED", 300)
    monkeypatch.setattr(session, "BEFORE", 1000)
    code, out, error = gptspec("train", "--resume", "--out", folder)
    assert code == 0, error
    [sizes] = re.findall(r"on ([\d,]+) of ([\d,]+) bytes .* after ([\d,]+) of ([\d,]+) bytes", out)
    text, whole, before, whole_before = (int(size.replace(",", "")) for size in sizes)
    assert 290 <= text <= 300 < whole
    assert 990 <= before <= 1000 < whole_before


def test_a_part_of_a_text_is_its_beginning(by_hand):
    half = session.TrainingSession(
        Path(), by_hand.tokenizer, *map(torch.tensor, by_hand.ids), by_hand.run, [], {}, 1
    )
    for ids, side in zip((half.train_ids, half.validation_ids), by_hand.sides, strict=True):
        n_bytes = sum(len(document.encode()) for document in side)
        assert half.documents(ids, n_bytes) == side
        assert half.documents(ids, n_bytes + 100) == side
        for least in (1, 10, 500):
            part = "".join(half.documents(ids, least))
            assert "".join(side).startswith(part)
            assert least - 20 < len(part.encode()) <= least
    assert half.documents(torch.tensor([195, 169, 195, 169, 299]), 3) == ["é"]


def test_a_resumed_training_measures_its_own_speed(told, gptspec, texts, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "time", ticking())
    monkeypatch.setenv("COLUMNS", "400")
    stopped = tmp_path / "stopped"
    usual, taken = loop._advance, []

    def interrupt(run, windows):
        if run.step == 3 and not taken:
            taken.append(3)
            signal.raise_signal(signal.SIGINT)
        return usual(run, windows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_advance", interrupt)
        code, out, _ = gptspec("train", texts, "--out", stopped, *OPTIONS)
    assert code == 130
    assert "stopped at step 4; go on with: " in out
    history = json.loads((stopped / "history.json").read_text())
    history["losses"].append(9.0)  # as if killed between the two files of a later save
    history["validation"]["5"] = 9.0
    (stopped / "history.json").write_text(json.dumps(history))
    code, out, error = gptspec("train", "--resume", "--out", stopped)
    assert code == 0, error
    assert "2 steps of 2 × 16 tokens" in out
    assert "32 tokens/s" in out
    assert "step     6" in out  # evaluates as often as before
    for name in ("history.json", "train.npy", "validation.npy", "tokenizer.json", "loss.svg"):
        assert (stopped / name).read_bytes() == (told[0] / name).read_bytes()


@pytest.mark.parametrize("n_documents", [1, 2, 3, 49])
def test_few_documents_each_give_their_last_tenth(n_documents):
    documents = ["".join(stories(5, seed=seed)) for seed in range(n_documents)]
    train, validation = session.split(documents)
    assert [one + other for one, other in zip(train, validation, strict=True)] == documents
    for one, document in zip(validation, documents, strict=True):
        assert len(one) == len(document) // 10


def test_windows_overlap_to_train_on_and_are_spread_to_look_at(by_hand):
    ids = torch.arange(2000) % 300
    half = session.TrainingSession(Path(), by_hand.tokenizer, ids, ids, by_hand.run, [], {}, 1)
    assert len(half.windows) == (2000 - 1 - CONTEXT) // 8 + 1
    assert torch.equal(half.windows[1][0], ids[8:24])
    assert len(half.check_windows) == 124  # of all 124: below twice 64
    half.validation_ids = torch.arange(20_000) % 300
    looked = half.check_windows
    n_all = (20_000 - 1) // CONTEXT
    assert len(looked) == math.ceil(n_all / (n_all // 64))
    assert torch.equal(looked[1][0], half.validation_ids[(n_all // 64) * CONTEXT :][:CONTEXT])
    assert torch.equal(batch(half.windows, 0, batch_size=1, seed=0)[1][0, :-1],
                       batch(half.windows, 0, batch_size=1, seed=0)[0][0, 1:])  # fmt: skip
