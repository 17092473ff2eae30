"""From a text to a GPT that talks, in the terminal."""

import contextlib
import dataclasses
import functools
import io
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A thread that waits lets others have its core: twice as fast where other programs run as well.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is imported

import torch
import tyro
from jaxtyping import Int
from torch import Tensor
from tyro.conf import OmitArgPrefixes, Positional

from gptspec import display, files
from gptspec.display import console
from gptspec.evaluation.compressors import gzip_bits_per_byte, xz_bits_per_byte
from gptspec.evaluation.likelihood import score
from gptspec.evaluation.ngrams import NGram
from gptspec.generation.decoding import Decoding
from gptspec.generation.streaming import stream
from gptspec.gpt.model import GPT, GPTConfig, parameter_count
from gptspec.sampling import batches
from gptspec.sampling.batches import Windows
from gptspec.sampling.folder import read_folder
from gptspec.sampling.python_docs import python_docs
from gptspec.sampling.split import split_documents
from gptspec.sampling.stories import stories
from gptspec.tokenization import bpe
from gptspec.tokenization.bpe import BPE
from gptspec.training import checkpoint, loop
from gptspec.training.loop import Run, TrainConfig
from gptspec.training.loss import bits_per_byte

SHAPE = GPTConfig(
    vocab_size=2048, context_length=128, d_model=192, n_layers=4, n_heads=4, bias=False
)
TRAINING = TrainConfig(steps=850, batch_size=16, learning_rate=3e-3, warmup=40, floor=1e-4)
N_STORIES = 5000

app = tyro.extras.SubcommandApp()


def command(name: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Add a function to the command line, which then returns it bound to its arguments."""

    def add(function: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(function)
        def bind(*args: Any, **kwargs: Any) -> Callable[[], int]:
            return functools.partial(function, *args, **kwargs)

        app.command(name=name)(bind)
        return function

    return add


@command("train")
def train(
    corpus: Positional[str] = "python-docs",
    *,
    out: Path = Path("build/gpt"),
    shape: OmitArgPrefixes[GPTConfig] = SHAPE,
    training: OmitArgPrefixes[TrainConfig] = TRAINING,
    evaluate_every: int = 100,
    fresh: bool = False,
    resume: bool = False,
) -> int:
    """Train a GPT on a text, show how it goes, and save it.

    Args:
        corpus: python-docs (the documentation that this Python carries), stories (drawn from a
            grammar of known entropy), or a file or folder of your own texts.
        out: The folder that receives tokenizer, checkpoints and loss curve.
        shape: The model; vocab_size may come out smaller if the text is small.
        training: How it is trained.
        evaluate_every: Steps between two looks at the validation text, each saved.
        fresh: Replace a training that stands in the folder.
        resume: Go on with the training in the folder, by the settings it was begun with.
    """
    if evaluate_every < 1:
        raise ValueError(f"evaluate_every must be at least 1, got {evaluate_every}")
    if resume:
        trainee = Trainee.load(out)
    else:
        if (out / "tokenizer.json").exists() and not fresh:
            raise ValueError(f"{out} holds a training: add --resume, --fresh or another --out")
        trainee = Trainee.begin(corpus, out, shape, training, fresh=fresh)
    try:
        trainee.train(evaluate_every)
    except KeyboardInterrupt:
        trainee.save()
        console.print(f"stopped at step {trainee.run.step}; go on with: train --resume --out {out}")
        return 130
    trainee.finish()
    return 0


@command("sample")
def sample(
    folder: Positional[Path] = Path("build/gpt"),
    *,
    prompt: str = "",
    tokens: int = 200,
    seed: int | None = None,
    decoding: OmitArgPrefixes[Decoding] = Decoding(temperature=0.8, top_p=0.95),  # noqa: B008
) -> int:
    """Let a trained GPT continue a text.

    Args:
        folder: Where `train` saved.
        prompt: The text to continue; without one, the model begins a document of its own.
        tokens: How many tokens to write.
        seed: Same seed, same text; without one, another each time.
        decoding: How each token is chosen.
    """
    tokenizer, model = load(folder)
    seed = int.from_bytes(os.urandom(4), "big") if seed is None else seed
    print(prompt, end="", flush=True)
    for piece in stream(model, tokenizer, prompt, tokens, decoding, seed=seed):
        print(piece, end="", flush=True)
    print()
    return 0


@command("tokenize")
def tokenize(text: Positional[str] = "-", *, folder: Path | None = None) -> int:
    """Show the tokens of a text, each with its id.

    Args:
        text: The text; - reads it from standard input.
        folder: Where `train` saved its tokenizer; without it, the tokens are the bytes.
    """
    tokenizer = BPE(()) if folder is None else BPE.load(folder / "tokenizer.json")
    if text == "-":
        text = sys.stdin.read()
    ids = tokenizer.encode(text)
    for id in ids:
        print(f"{id:6}  {tokenizer.token_bytes(id).decode(errors='backslashreplace')!r}")
    print(f"{len(ids)} tokens, {len(text.encode())} bytes", file=sys.stderr)
    return 0


@command("corpus")
def show_corpus(corpus: Positional[str] = "python-docs", *, out: Path | None = None) -> int:
    """Say what is in a corpus, and write it into a file if asked to.

    Args:
        corpus: python-docs, stories, or a file or folder of your own texts.
        out: A text file to write it to, the documents one after the other.
    """
    documents = read_corpus(corpus)
    size = sum(len(document.encode()) for document in documents)
    print(f"{corpus}: {len(documents):,} documents, {size:,} bytes")
    if out is not None:
        files.write(out, "\n\n".join(documents).encode())
        print(f"written to {out}")
    else:
        print(f"the first begins:\n{documents[0][:400]}")
    return 0


def read_corpus(name: str) -> list[str]:
    """Return the documents of a corpus, or of a file or folder.

    Raises:
        ValueError: If there is no such thing, or it holds no text.
    """
    if name == "python-docs":
        return python_docs()
    if name == "stories":
        return stories(N_STORIES, seed=0)
    if not Path(name).exists():
        raise ValueError(f"corpus must be python-docs, stories, a file or a folder, got {name!r}")
    return read_folder(Path(name))[0]


def load(folder: Path) -> tuple[BPE, GPT]:
    """Return tokenizer and model that `train` saved.

    Raises:
        ValueError: If a file is missing, damaged, foreign, or does not fit the other.
    """
    tokenizer = BPE.load(folder / "tokenizer.json")
    model = GPT.load(checkpoint.latest(folder))
    if tokenizer.vocab_size != model.config.vocab_size:
        raise ValueError(
            f"{folder} has a tokenizer of {tokenizer.vocab_size} tokens "
            f"and a model of {model.config.vocab_size}: they were not trained together"
        )
    return tokenizer, model


@dataclass
class Trainee:
    """A run with its text: what `train` begins or goes on with."""

    out: Path
    tokenizer: BPE
    train_ids: Int[Tensor, "n_train"]
    validation_ids: Int[Tensor, "n_validation"]
    run: Run
    losses: list[float]  # of each step
    validation: dict[int, float]  # by step

    @classmethod
    def begin(
        cls, corpus: str, out: Path, shape: GPTConfig, training: TrainConfig, *, fresh: bool
    ) -> "Trainee":
        """Read the corpus, learn its vocabulary, and draw a model."""
        with console.status(f"reading {corpus}"):
            documents = read_corpus(corpus)
            sides = _split(documents)
        with console.status("learning a vocabulary"):
            start = time.perf_counter()
            tokenizer = bpe.train(sides[0], shape.vocab_size)
            train_ids, validation_ids = (_encode(tokenizer, side) for side in sides)
        size = sum(len(document.encode()) for document in documents)
        console.print(
            f"{corpus}: {len(documents):,} documents, {size:,} bytes, "
            f"{len(train_ids) + len(validation_ids):,} tokens of a vocabulary of "
            f"{tokenizer.vocab_size:,} learned in {time.perf_counter() - start:.1f} s"
        )
        torch.manual_seed(training.seed)
        model = GPT(dataclasses.replace(shape, vocab_size=tokenizer.vocab_size)).to(device())
        trainee = cls(out, tokenizer, train_ids, validation_ids, Run(model, training), [], {})
        _ = trainee.windows, trainee.check_windows  # too short a text is refused before any work
        if fresh:  # only what a training wrote: the folder may hold other things
            checkpoint.discard(out)
        tokenizer.save(out / "tokenizer.json")
        batches.save_tokens(out / "train.npy", train_ids)
        batches.save_tokens(out / "validation.npy", validation_ids)
        return trainee

    @classmethod
    def load(cls, out: Path) -> "Trainee":
        """Return the training that stands in a folder, as it was when it was saved last."""
        run = checkpoint.resume(out, device=device())
        history = files.read_json(out / "history.json", "history")
        return cls(
            out,
            BPE.load(out / "tokenizer.json"),
            batches.load_tokens(out / "train.npy"),
            batches.load_tokens(out / "validation.npy"),
            run,
            history["losses"][: run.step],
            {
                int(step): loss
                for step, loss in history["validation"].items()
                if int(step) <= run.step
            },
        )

    @property
    def windows(self) -> Windows:
        """What is trained on; the windows overlap by half, so that an epoch has more of them."""
        context_length = self.run.model.config.context_length
        return Windows(self.train_ids, context_length, max(context_length // 2, 1))

    @property
    def check_windows(self) -> Windows:
        """The whole validation text."""
        return Windows(self.validation_ids, self.run.model.config.context_length)

    def evaluate(self, windows: Windows) -> tuple[float, float]:
        """Return the loss in nats per token and in bits per byte."""
        loss = loop.evaluate(self.run.model, windows, self.run.config.batch_size)
        lengths = torch.tensor(
            [len(self.tokenizer.token_bytes(id)) for id in range(self.tokenizer.vocab_size)]
        )
        lengths[self.tokenizer.end_of_text] = 0  # it costs bits, but it is no byte of the text
        targets = windows.targets.long()
        return loss, bits_per_byte(loss, targets.numel(), int(lengths[targets].sum()))

    def write(self, n_tokens: int, seed: int) -> str:
        """Return what the model writes when nothing is given."""
        decoding = Decoding(temperature=0.8, top_p=0.95)
        return "".join(stream(self.run.model, self.tokenizer, "", n_tokens, decoding, seed=seed))

    def train(self, evaluate_every: int) -> None:
        """Take the steps that are left, looking at the validation text and saving in between."""
        config, model = self.run.config, self.run.model
        left = config.steps - self.run.step
        every = max(len(self.check_windows) // 64, 1)  # a quick look is at about 64 windows
        context_length = model.config.context_length
        quick = Windows(self.validation_ids, context_length, context_length * every)
        console.print(
            f"a GPT of {parameter_count(model.config):,} parameters, "
            f"{left:,} steps of {config.batch_size} × {context_length} tokens"
        )
        start, first = time.perf_counter(), self.run.step
        with display.training(config.steps, first) as shown:
            for record in loop.train(self.run, self.windows):
                self.losses.append(record.loss)
                tokens = (record.step - first) * config.batch_size * context_length
                shown.step(record.step, record.loss, tokens / (time.perf_counter() - start))
                if record.step % evaluate_every == 0 or record.step == config.steps:
                    loss, bits = self.evaluate(quick)
                    self.validation[record.step] = loss
                    self.save()
                    shown.evaluation(record.step, record.loss, bits, self.write(60, record.step))

    def save(self) -> None:
        """Write a checkpoint, and the losses so far."""
        history = {"losses": self.losses, "validation": self.validation}
        files.write_json(self.out / "history.json", "history", history)
        checkpoint.save(self.out, self.run)

    def finish(self) -> None:
        """Show the loss curve, and how the model compares with what is not a GPT."""
        curve = self.out / "loss.svg"
        display.loss_curve(curve, range(1, len(self.losses) + 1), self.losses, self.validation)
        with console.status("comparing with gzip, xz and n-grams"):
            before, text = (self._documents(ids) for ids in (self.train_ids, self.validation_ids))
            model, batch_size = self.run.model, self.run.config.batch_size
            scored = score(
                model,
                self.tokenizer,
                text,
                stride=max(model.config.context_length // 2, 1),
                batch_size=batch_size,
            )
            display.comparison(
                {
                    "[bold]this GPT[/]": scored.bits_per_byte,
                    "gzip -9": gzip_bits_per_byte(text),
                    "xz -9e": xz_bits_per_byte(text),
                    "xz -9e, after the training text": xz_bits_per_byte(text, before),
                    "6-grams of bytes": NGram(before, order=6).bits_per_byte(text),
                }
            )
        console.print(f"loss curve in {curve}")
        console.print(f'talk to it: {_program()} sample {self.out} --prompt "Return the"')

    def _documents(self, ids: Tensor) -> list[str]:
        text = self.tokenizer.decode(ids.tolist())
        end = self.tokenizer.decode([self.tokenizer.end_of_text])
        return [document for document in text.split(end) if document]


def _split(documents: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return training and validation text; of a single document, its last tenth validates."""
    if len(documents) > 1:
        return split_documents(documents)
    cut = len(documents[0]) * 9 // 10
    return [documents[0][:cut]], [documents[0][cut:]]


def _encode(tokenizer: BPE, documents: Sequence[str]) -> Int[Tensor, "n_tokens"]:
    ids: list[int] = []
    for document in documents:
        ids += [*tokenizer.encode(document), tokenizer.end_of_text]
    return torch.tensor(ids, dtype=torch.int32)


def device() -> torch.device:
    """Return the GPU if torch finds one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _program() -> str:
    """Return what to type to run this program again."""
    program = Path(sys.argv[0])
    if program.suffix == ".py":
        return "python -m gptspec.cli"
    return str(program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program)


def parse() -> Callable[[], int]:
    """Return what the command line asks for, ready to be done.

    Raises:
        ValueError: If it asks for something that is not there or out of range.
    """
    refusal = io.StringIO()
    try:
        with contextlib.redirect_stderr(refusal):
            return app.cli(
                prog="gptspec", description=__doc__, config=(tyro.conf.FlagCreatePairsOff,)
            )
    except SystemExit as end:
        if not end.code:
            raise  # --help
        # tyro draws a box around its reason: a line does.
        reason = " ".join(re.sub(r"[\u2500-\u257f]+", " ", refusal.getvalue()).split())
        reason = re.sub(
            r"^Value error Error parsing \S+ |^[A-Z][\w ]+(?=Unrec|Expected)", "", reason
        )
        reason = re.sub(r"\.? For full helptext, (?:see|run) ", "; see ", reason)
        raise ValueError(reason) from end


def main() -> None:
    """Run the command line; whatever a user can cause is one line and a non-zero exit."""
    try:
        sys.exit(parse()())
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"gptspec: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
