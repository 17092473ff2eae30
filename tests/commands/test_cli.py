"""The command line: a training from text to talk, and one clear line for whatever goes wrong."""

import dataclasses
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gptspec import options
from gptspec.generation.decoding import Decoding
from gptspec.gpt.config import GPTConfig
from gptspec.sampling.stories import stories
from gptspec.tokenization.bpe import BPE
from gptspec.training import checkpoint
from gptspec.training.loop import TrainConfig
from terminal import SMALL, refused


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


def test_tokens_are_shown_with_their_ids(gptspec, trained):
    assert gptspec("tokenize", "hé")[1].splitlines() == [
        "   104  'h'",
        r"   195  b'\xc3'",
        r"   169  b'\xa9'",
    ]
    code, _, error = gptspec("tokenize", "the the", "--folder", trained[0])
    assert code == 0
    assert "tokens, 7 bytes" in error


def test_a_corpus_is_described_and_written(gptspec, text, tmp_path):
    code, out, _ = gptspec("corpus", text, "--out", tmp_path / "out.txt")
    assert code == 0
    assert "1 documents" in out
    assert (tmp_path / "out.txt").read_bytes() == text.read_bytes()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["corpus must be", "own.txt"]),
        (b"", ["own.txt", "is empty"]),
        (b" \n", ["no text", "own.txt"]),
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
        ("--minutes", 1, ["--minutes", "--steps"]),
        ("--minutes", "nan", ["minutes", "nan"]),
        ("--batch-size", 100000, ["batch_size", "100000"]),
        ("--seed", "much", ["--seed", "much"]),
        ("--seed", 2**63, ["seed", str(2**63)]),
        ("--norm", "group", ["--norm", "group"]),
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
    BPE(()).save(trained[0] / "tokenizer.json")
    refused(gptspec("sample", trained[0]), "257", "300")


def test_a_folder_without_a_training_is_one_line(gptspec, tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        refused(gptspec("sample", folder), "there is no training in", str(folder))
        refused(gptspec("train", "--resume", "--out", folder), "no training to resume", str(folder))
        refused(gptspec("tokenize", "a", "--folder", folder), "there is no training in")
    assert not (tmp_path / "nowhere").exists()


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


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--tokens", "many"], ["--tokens", "many"]),
        (["--tokens", "0"], ["tokens", "0"]),
        (["--tokens", "-3"], ["tokens", "-3"]),
        (["--seed", "x"], ["--seed", "x"]),
        (["--seed", "-1"], ["seed", "-1"]),
        (["--seed", str(2**63)], ["seed", str(2**63)]),
        (["--temperature", "-1"], ["temperature", "-1"]),
    ],
)
def test_nonsense_for_sample_is_one_line(gptspec, options, words):
    refused(gptspec("sample", *options), *words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--steps", "9"], ["--steps"]),
        (["--steps=6"], ["--steps"]),
        (["--fresh"], ["--fresh"]),
        (["stories"], ["stories"]),
        (["--batch_size", "3", "--seed", "4"], ["--batch-size", "--seed"]),
    ],
)
def test_what_cannot_take_effect_on_resume_is_refused(gptspec, trained, options, words):
    folder, _ = trained
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    refused(gptspec("train", "--resume", "--out", folder, *options), *words, "cannot take effect")
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


def test_few_texts_are_split_by_their_ends(gptspec, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    folder = tmp_path / "texts"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.txt").write_text(" ".join(stories(40, seed=ord(name))))
    code, out, error = gptspec("train", folder, "--out", tmp_path / "run", *SMALL)
    assert code == 0, error
    assert "3 documents" in out
    assert "last tenth" in out


def test_lines_to_paste_are_whole_and_quoted(gptspec, text, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    folder = tmp_path / "a long name, with spaces and [brackets]"
    code, out, error = gptspec("train", text, "--out", folder, *SMALL)
    assert code == 0, error
    [line] = [line for line in out.splitlines() if line.startswith("talk to it: ")]
    words = ["gptspec", "sample", str(folder), "--prompt"]
    assert shlex.split(line.removeprefix("talk to it: "))[:4] == words
    assert "step 6/6" in out  # also where there is little room


@pytest.mark.parametrize("argv0", ["gptspec/__main__.py", "gptspec/cli.py"])
def test_lines_to_paste_run_the_module_where_it_was_run(monkeypatch, argv0):
    from gptspec import session

    monkeypatch.setattr(sys, "argv", [argv0])
    line = shlex.split(session.command("sample", "a b"))
    assert line[1:] == ["-m", "gptspec", "sample", "a b"]
    assert Path(shutil.which(line[0])).absolute() == Path(sys.executable).absolute()


def test_an_error_of_the_system_is_told_without_its_number(gptspec, text, tmp_path, monkeypatch):
    def full(path, *_):
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr("gptspec.files.write", full)
    result = gptspec("train", text, "--out", tmp_path / "run", *SMALL)
    refused(result, "tokenizer.json: read-only file system")


def test_options_are_the_settings(gptspec):
    pairs = [
        (options.ShapeOptions, GPTConfig),
        (options.TrainingOptions, TrainConfig),
        (options.DecodingOptions, Decoding),
    ]
    for one, settings in pairs:
        names = [
            {field.name: field.type for field in dataclasses.fields(c)} for c in (one, settings)
        ]
        assert names[0] == names[1]
        settings(**dataclasses.asdict(one()))


def test_a_recipe_yields_to_options(gptspec, text, tmp_path, monkeypatch):
    seen = []

    def begin(corpus, out, shape, training, **_):
        seen.append({**dataclasses.asdict(shape), **dataclasses.asdict(training)})
        raise ValueError("seen enough")

    monkeypatch.setattr("gptspec.session.TrainingSession.begin", begin)
    for words in ([], ["--recipe", "gpt2"], ["--recipe=gpt2", "--floor=0.0", "--norm", "rms"]):
        refused(gptspec("train", text, "--out", tmp_path / "run", *words), "enough")
    modern, plain, mixed = seen
    assert {name: plain[name] for name in options.GPT2} == options.GPT2
    assert {name: mixed[name] for name in options.GPT2} == options.GPT2 | {
        "floor": 0.0,
        "norm": "rms",
    }
    other = {name for name in modern if modern[name] != plain[name]}
    assert other == options.GPT2.keys()


def test_minutes_are_a_number_of_steps_and_leave_no_trace(gptspec, text, tmp_path):
    """A training for so long is the training of so many steps, to the last bit."""
    at = SMALL.index("--steps")
    others = (*SMALL[:at], *SMALL[at + 2 :], "--dropout", "0.5")

    def end(name, *length):
        folder = tmp_path / name
        assert gptspec("train", text, "--out", folder, *others, *length)[0] == 0
        losses = json.loads((folder / "history.json").read_text())["losses"]
        return losses, (checkpoint.latest(folder) / "model.safetensors").read_bytes()

    timed = end("timed", "--minutes", 0.003)
    assert len(timed[0]) >= 2
    assert timed == end("counted", "--steps", len(timed[0]))


HELP = """
import sys
from gptspec import cli
for words in ([], ["train"], ["sample"], ["tokenize"], ["corpus"]):
    sys.argv = ["gptspec", *words, "--help"]
    try:
        cli.main()
    except SystemExit as end:
        assert not end.code
slow = {"torch", "numpy", "matplotlib", "rich.console", "jaxtyping"} & set(sys.modules)
assert slow <= {"rich.console"}, slow
"""


def test_help_needs_nothing_slow():
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--learning-rate" in done.stdout
    assert "See `" not in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal of POSIX")
@pytest.mark.parametrize("plain", [True, False])
def test_help_has_colours_unless_they_are_refused(plain):
    reading, terminal = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1" if plain else ""}
    subprocess.run(
        [sys.executable, "-m", "gptspec", "--help"], stdout=terminal, env=environment, check=True
    )
    os.close(terminal)
    shown = os.read(reading, 100_000)
    assert b"tokenize" in shown
    assert (b"\x1b[" in shown) is not plain
