"""The command line: a training from text to talk, and one clear line for whatever goes wrong."""

import json
import sys

import pytest
import torch

from gptspec import cli
from gptspec.sampling.stories import stories
from gptspec.training import checkpoint, loop

SMALL = (
    *("--vocab-size", "300", "--context-length", "16", "--d-model", "8", "--n-layers", "1"),
    *("--n-heads", "2", "--steps", "6", "--batch-size", "2", "--warmup", "1"),
    *("--evaluate-every", "3"),
)


@pytest.fixture(autouse=True)
def _as_a_user_has_it(monkeypatch):
    monkeypatch.setattr(cli, "device", torch.get_default_device)
    torch.set_default_dtype(torch.float32)
    yield
    torch.set_default_dtype(torch.float64)


@pytest.fixture
def gptspec(monkeypatch, capfd):
    """Run the command line; return exit code, output and errors."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["gptspec", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, *capfd.readouterr()

    return run


@pytest.fixture
def text(tmp_path):
    file = tmp_path / "stories.txt"
    file.write_text("\n".join(stories(60, seed=0)), encoding="utf-8")
    return file


@pytest.fixture
def trained(gptspec, text, tmp_path):
    folder = tmp_path / "run"
    code, out, error = gptspec("train", text, "--out", folder, *SMALL)
    assert code == 0, error
    return folder, out


def test_a_training_shows_its_way_and_ends_with_a_model_that_talks(gptspec, trained):
    folder, out = trained
    for shown in ("step     3", "step     6", "bits per byte", "gzip -9", "6-grams", "talk to it"):
        assert shown in out
    code, out, _ = gptspec("sample", folder, "--prompt", "One day", "--tokens", 20, "--seed", 1)
    assert code == 0
    assert out.startswith("One day")
    assert gptspec("sample", folder, "--prompt", "One day", "--tokens", 20, "--seed", 1)[1] == out


def test_the_loss_curve_is_a_figure_that_stands_alone(trained):
    curve = (trained[0] / "loss.svg").read_text()
    assert curve.startswith("<svg")
    assert 'xmlns="http://www.w3.org/2000/svg"' in curve


def test_a_stopped_training_goes_on_to_the_same_weights(
    gptspec, trained, text, tmp_path, monkeypatch
):
    whole, _ = trained
    folder = tmp_path / "stopped"
    advance, stopped = loop._advance, []

    def interrupted(run, windows):
        if run.step == 4 and not stopped:
            stopped.append(True)
            raise KeyboardInterrupt
        return advance(run, windows)

    monkeypatch.setattr(loop, "_advance", interrupted)
    code, out, _ = gptspec("train", text, "--out", folder, *SMALL)
    assert code == 130
    assert "stopped at step 4" in out
    code, out, error = gptspec("train", "--resume", "--out", folder, "--evaluate-every", 3)
    assert code == 0, error
    weights = [
        (checkpoint.latest(run) / "model.safetensors").read_bytes() for run in (folder, whole)
    ]
    assert weights[0] == weights[1]
    losses = [json.loads((run / "history.json").read_text())["losses"] for run in (folder, whole)]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 6


def test_tokens_are_shown_with_their_ids(gptspec, trained):
    assert gptspec("tokenize", "hé")[1].splitlines() == [
        "   104  'h'",
        r"   195  '\\xc3'",
        r"   169  '\\xa9'",
    ]
    code, _, error = gptspec("tokenize", "the the", "--folder", trained[0])
    assert code == 0
    assert "tokens, 7 bytes" in error


def test_a_corpus_is_described_and_written(gptspec, text, tmp_path):
    code, out, _ = gptspec("corpus", text, "--out", tmp_path / "out.txt")
    assert code == 0
    assert "1 documents" in out
    assert (tmp_path / "out.txt").read_bytes() == text.read_bytes()


def refused(result, *words):
    code, _, error = result
    lines = error.strip().splitlines()
    assert code not in (0, None)
    assert len(lines) == 1, error
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["corpus must be", "own.txt"]),
        (b"", ["no text", "own.txt"]),
        (b"\xff\xfe\x00", ["own.txt", "UTF-8"]),
        (b"text\x00text" * 100, ["own.txt", "zero bytes"]),
        (b"too short", ["context_length 16", "tokens"]),
    ],
)
def test_a_bad_text_is_one_line_and_leaves_nothing(gptspec, tmp_path, content, words):
    file = tmp_path / "own.txt"
    if content is not None:
        file.write_bytes(content)
    refused(gptspec("train", file, "--out", tmp_path / "run", *SMALL), *words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--vocab-size", 200, ["vocab_size", "257", "200"]),
        ("--context-length", 100000, ["context_length", "100000"]),
        ("--n-heads", 3, ["d_model", "n_heads", "3"]),
        ("--steps", 0, ["steps", "0"]),
        ("--evaluate-every", 0, ["evaluate_every", "0"]),
        ("--batch-size", 100000, ["batch_size", "100000"]),
    ],
)
def test_a_bad_setting_is_one_line(gptspec, text, tmp_path, option, value, words):
    refused(gptspec("train", text, "--out", tmp_path / "run", *SMALL, option, value), *words)


def test_a_training_is_never_replaced_unasked(gptspec, trained, text):
    folder, _ = trained
    before = (checkpoint.latest(folder) / "model.safetensors").read_bytes()
    refused(gptspec("train", text, "--out", folder, *SMALL), "--resume", "--fresh")
    assert (checkpoint.latest(folder) / "model.safetensors").read_bytes() == before
    (folder / "notes.txt").write_text("mine")
    assert gptspec("train", text, "--out", folder, *SMALL, "--fresh", "--seed", 1)[0] == 0
    assert (checkpoint.latest(folder) / "model.safetensors").read_bytes() != before
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "foreign", "absent"])
def test_a_damaged_checkpoint_is_one_line(gptspec, trained, file, damage):
    path = checkpoint.latest(trained[0]) / file
    content = path.read_bytes()
    path.unlink()
    if damage != "absent":
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b'{"a": 1}')
    refused(gptspec("sample", trained[0]), file)
    refused(gptspec("train", "--resume", "--out", trained[0]), file)


def test_a_checkpoint_from_the_future_is_one_line(gptspec, trained):
    path = checkpoint.latest(trained[0]) / "config.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 99'))
    refused(gptspec("sample", trained[0]), "99", "upgrade")


def test_a_tokenizer_of_another_model_is_one_line(gptspec, trained):
    cli.BPE(()).save(trained[0] / "tokenizer.json")
    refused(gptspec("sample", trained[0]), "257", "300")


def test_a_folder_without_a_training_is_one_line(gptspec, tmp_path):
    refused(gptspec("sample", tmp_path), "tokenizer.json")
    refused(gptspec("train", "--resume", "--out", tmp_path), "checkpoint")


def test_a_full_disk_is_one_line_and_keeps_what_was_saved(gptspec, trained, monkeypatch):
    folder, _ = trained
    saved = checkpoint.latest(folder)
    before = (saved / "model.safetensors").read_bytes()
    settings = (saved / "training.json").read_text()
    (saved / "training.json").write_text(settings.replace('"steps": 6', '"steps": 9'))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    refused(gptspec("train", "--resume", "--out", folder), "No space left")
    assert (checkpoint.latest(folder) / "model.safetensors").read_bytes() == before
    assert gptspec("sample", folder, "--tokens", 1)[0] == 0
