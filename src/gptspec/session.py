"""A training session: a run with its text and its folder, from the first word to the last save."""

import contextlib
import copy
import dataclasses
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock
import torch
from jaxtyping import Int
from rich.markup import escape
from torch import Tensor

from gptspec import display, files
from gptspec.display import console
from gptspec.evaluation.compressors import gzip_bits_per_byte, xz_bits_per_byte
from gptspec.evaluation.likelihood import score
from gptspec.evaluation.ngrams import NGram
from gptspec.generation.decoding import Decoding
from gptspec.generation.streaming import stream
from gptspec.gpt.config import GPTConfig
from gptspec.gpt.model import GPT, parameter_count
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

N_STORIES = 5000
FEW = 50  # of fewer documents a tenth by chance may be none
COMPARED = 2**18  # bytes of validation text in the final comparison: seconds, whatever the corpus
TIMED = 9  # steps, to tell how long one takes
BEFORE = 2**21  # bytes of training text that the others may have seen before it


@dataclass
class TrainingSession:
    """A run with its text: what `train` begins or goes on with."""

    out: Path
    tokenizer: BPE
    train_ids: Int[Tensor, "n_train"]
    validation_ids: Int[Tensor, "n_validation"]
    run: Run
    losses: list[float]  # of each step
    validation: dict[int, float]  # by step
    evaluate_every: int
    saved: int = 0  # the step of the last save

    @classmethod
    def begin(
        cls,
        corpus: str,
        out: Path,
        shape: GPTConfig,
        training: TrainConfig,
        *,
        evaluate_every: int,
        minutes: float | None = None,
    ) -> "TrainingSession":
        """Read the corpus, learn its vocabulary, draw a model, and save all of it as step 0.

        With `minutes` the training has as many steps as fit into them on this machine.
        """
        with console.status(f"reading {escape(corpus)}"):
            documents = read_corpus(corpus)
            sides = split(documents)
        if len(documents) < FEW:
            console.print(f"few documents ({len(documents)}): the last tenth of each validates")
        with console.status("learning a vocabulary"):
            start = time.perf_counter()
            tokenizer = bpe.train(sides[0], shape.vocab_size)
            train_ids, validation_ids = (encode(tokenizer, side) for side in sides)
        size = sum(len(document.encode()) for document in documents)
        console.print(
            f"{escape(corpus)}: {len(documents):,} documents, {size:,} bytes, "
            f"{len(train_ids) + len(validation_ids):,} tokens of a vocabulary of "
            f"{tokenizer.vocab_size:,} learned in {time.perf_counter() - start:.1f} s"
        )
        torch.manual_seed(training.seed)
        model = GPT(dataclasses.replace(shape, vocab_size=tokenizer.vocab_size)).to(device())
        run = Run(model, training)
        session = cls(out, tokenizer, train_ids, validation_ids, run, [], {}, evaluate_every)
        # Too short a text is refused before any work.
        _ = (
            session.check_windows,
            batches.batch(session.windows, 0, batch_size=training.batch_size, seed=training.seed),
        )
        if minutes is not None:
            with console.status("timing a few steps"):
                run.config = session.fitting(60 * minutes)
        checkpoint.discard(out)  # only what a training wrote: the folder may hold other things
        tokenizer.save(out / "tokenizer.json")
        batches.save_tokens(out / "train.npy", train_ids)
        batches.save_tokens(out / "validation.npy", validation_ids)
        session.save()
        return session

    @classmethod
    def load(cls, out: Path, evaluate_every: int | None = None) -> "TrainingSession":
        """Return the training in a folder as it was when it was saved last.

        Raises:
            ValueError: If there is none, or a file is missing, damaged, foreign, or does not fit
                the others.
        """
        if not holds_checkpoint(out):
            raise ValueError(f"{out} holds no checkpoint of a training: begin one without --resume")
        run = checkpoint.resume(out, device=device())
        history = files.read_json(out / "history.json", "history")
        try:
            losses = [float(loss) for loss in history["losses"][: run.step]]
            validation = {int(step): loss for step, loss in history["validation"].items()}
            every = int(history.get("evaluate_every", 100))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{out / 'history.json'} is no history of a training") from error
        if len(losses) < run.step:
            raise ValueError(f"{out / 'history.json'} ends before step {run.step}")
        return cls(
            out,
            read_tokenizer(out, run.model.config.vocab_size),
            batches.load_tokens(out / "train.npy"),
            batches.load_tokens(out / "validation.npy"),
            run,
            losses,
            {step: loss for step, loss in validation.items() if step <= run.step},
            every if evaluate_every is None else evaluate_every,
            run.step,
        )

    @property
    def windows(self) -> Windows:
        """What is trained on; the windows overlap by half, so that an epoch has more of them."""
        context_length = self.run.model.config.context_length
        return Windows(self.train_ids, context_length, max(context_length // 2, 1))

    @property
    def check_windows(self) -> Windows:
        """About 64 windows, spread over the validation text: a quick look."""
        context_length = self.run.model.config.context_length
        every = max(len(Windows(self.validation_ids, context_length)) // 64, 1)
        return Windows(self.validation_ids, context_length, context_length * every)

    def evaluate(self, windows: Windows) -> tuple[float, float]:
        """Return the loss in nats per token and in bits per byte."""
        loss = loop.evaluate(self.run.model, windows, self.run.config.batch_size)
        targets = windows.targets.long()
        n_bytes = int(token_lengths(self.tokenizer)[targets].sum())
        return loss, bits_per_byte(loss, targets.numel(), n_bytes)

    def fitting(self, seconds: float) -> TrainConfig:
        """Return the configuration with as many steps as fit into these seconds, by a copy."""
        trial = copy.deepcopy(self.run)
        trial.config = dataclasses.replace(self.run.config, steps=self.run.config.warmup + TIMED)
        taken = []
        with torch.random.fork_rng():
            for _ in range(TIMED):
                start = time.perf_counter()
                next(loop.train(trial, self.windows))
                taken.append(time.perf_counter() - start)
        steps = int(seconds / statistics.median(taken))
        return dataclasses.replace(self.run.config, steps=max(steps, self.run.config.warmup + 1))

    def write(self, n_tokens: int, seed: int) -> str:
        """Return what the model writes when nothing is given."""
        decoding = Decoding(temperature=0.8, top_p=0.95)
        return "".join(stream(self.run.model, self.tokenizer, "", n_tokens, decoding, seed=seed))

    def train(self) -> bool:
        """Take the steps that are left, evaluating and saving in between.

        Ctrl-C is waited for: the step is completed and saved. A second one ends all at once, by
        a `KeyboardInterrupt`, and what was saved before stays.

        Returns:
            Whether all steps are taken.
        """
        config, model = self.run.config, self.run.model
        check_windows, context_length = self.check_windows, model.config.context_length
        console.print(
            f"a GPT of {parameter_count(model.config):,} parameters, "
            f"{config.steps - self.run.step:,} steps of {config.batch_size} × {context_length} "
            f"tokens, in {config.precision}"
        )
        start, first = time.perf_counter(), self.run.step
        with patient() as asked, display.training(config.steps, first) as shown:
            steps = loop.train(self.run, self.windows)
            while not asked() and (record := next(steps, None)):
                self.losses.append(record.loss)
                tokens = (record.step - first) * config.batch_size * context_length
                shown.step(record.step, record.loss, tokens / (time.perf_counter() - start))
                if record.step % self.evaluate_every == 0 or record.step == config.steps:
                    loss, bits = self.evaluate(check_windows)
                    self.validation[record.step] = loss
                    self.save()
                    shown.evaluation(record.step, record.loss, bits, self.write(60, record.step))
            if self.saved != self.run.step:
                self.save()
        return self.run.step == config.steps

    def save(self) -> None:
        """Write the losses so far, and a checkpoint."""
        history = {
            "losses": self.losses,
            "validation": self.validation,
            "evaluate_every": self.evaluate_every,
        }
        files.write_json(self.out / "history.json", "history", history)
        checkpoint.save(self.out, self.run)
        self.saved = self.run.step

    def finish(self) -> None:
        """Show the loss curve, and how the model compares with what is not a GPT."""
        curve = self.out / "loss.svg"
        display.loss_curve(curve, range(1, len(self.losses) + 1), self.losses, self.validation)
        lengths = token_lengths(self.tokenizer)
        text, before = (
            self.documents(self.validation_ids, COMPARED),
            self.documents(self.train_ids, BEFORE),
        )
        sizes = [sum(len(document.encode()) for document in side) for side in (text, before)]
        console.print(
            f"comparing with gzip, xz and 6-grams of bytes, on {sizes[0]:,} of "
            f"{count_bytes(self.validation_ids, lengths):,} bytes of validation text, after "
            f"{sizes[1]:,} of {count_bytes(self.train_ids, lengths):,} bytes of training text"
        )
        with console.status("comparing"):
            model = self.run.model
            stride = max(model.config.context_length // 2, 1)
            batch_size = self.run.config.batch_size
            scored = score(model, self.tokenizer, text, stride=stride, batch_size=batch_size)
            rows = {
                "[bold]this GPT[/]": scored.bits_per_byte,
                "gzip -9": gzip_bits_per_byte(text),
                "xz -9e": xz_bits_per_byte(text),
                "xz -9e, after the training text": xz_bits_per_byte(text, before),
                "6-grams of bytes": NGram(before, order=6).bits_per_byte(text),
            }
        display.comparison(rows)
        display.line(f"loss curve in {curve}")
        prompt = " ".join(before[0].split()[:2])
        display.line(f"talk to it: {command('sample', self.out, '--prompt', prompt)}")

    def documents(self, ids: Int[Tensor, "n_tokens"], n_bytes: int) -> list[str]:
        """Return the first documents of an encoded text, the last one cut at `n_bytes` in all."""
        ids = ids[: 2 * n_bytes].long()  # more than enough: only the ends of documents are empty
        cut = int((token_lengths(self.tokenizer)[ids].cumsum(0) <= n_bytes).sum())
        documents, document = [], b""
        for id in [*ids[:cut].tolist(), self.tokenizer.end_of_text]:
            if id != self.tokenizer.end_of_text:
                document += self.tokenizer.token_bytes(id)
            elif text := document.decode(errors="ignore"):  # half a character, at the cut
                documents.append(text)
            document = document if id != self.tokenizer.end_of_text else b""
        return documents


def token_lengths(tokenizer: BPE) -> Int[Tensor, "vocab"]:
    """Return the bytes of text behind each token; the end of a text costs bits and is no byte."""
    lengths = torch.tensor([len(tokenizer.token_bytes(id)) for id in range(tokenizer.vocab_size)])
    lengths[tokenizer.end_of_text] = 0
    return lengths


def count_bytes(ids: Int[Tensor, "n_tokens"], lengths: Int[Tensor, "vocab"]) -> int:
    """Return the bytes of an encoded text."""
    return int((torch.bincount(ids, minlength=len(lengths)) * lengths).sum())


def read_corpus(name: str) -> list[str]:
    """Return the documents of a corpus, or of a file or folder.

    Raises:
        ValueError: If there is no such thing, or it holds no text.
    """
    if name == "python-docs":
        return python_docs()
    if name == "stories":
        return stories(N_STORIES, seed=0)
    path = Path(name)
    if not path.exists():
        raise ValueError(f"corpus must be python-docs, stories, a file or a folder, got {name!r}")
    if path.is_file() and not path.stat().st_size:
        raise ValueError(f"{path} is empty: there is nothing to learn from")
    return read_folder(path)[0]


def split(documents: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return training and validation text: whole documents, or of few ones the last tenth of each.

    Examples:
        >>> split(["abcdefghij", "0123456789"])
        (['abcdefghi', '012345678'], ['j', '9'])
    """
    if len(documents) >= FEW:
        return split_documents(documents)
    cuts = [len(document) - max(len(document) // 10, 1) for document in documents]
    train = [document[:cut] for document, cut in zip(documents, cuts, strict=True)]
    validation = [document[cut:] for document, cut in zip(documents, cuts, strict=True)]
    return list(filter(None, train)), list(filter(None, validation))


def encode(tokenizer: BPE, documents: Sequence[str]) -> Int[Tensor, "n_tokens"]:
    """Return the ids of documents, the end-of-text token after each."""
    ids: list[int] = []
    for document in documents:
        ids += [*tokenizer.encode(document), tokenizer.end_of_text]
    return torch.tensor(ids, dtype=torch.int32)


def holds_checkpoint(folder: Path) -> bool:
    """Return whether a training was saved in a folder."""
    try:
        return checkpoint.latest(folder).is_dir()
    except ValueError:
        return False


def check_vacant(folder: Path) -> None:
    """Refuse a folder with a training in it, or the beginning of one."""
    if holds_checkpoint(folder) or (folder / "tokenizer.json").exists():
        raise ValueError(f"{folder} holds a training: add --resume, --fresh or another --out")


def read_tokenizer(folder: Path, vocab_size: int) -> BPE:
    """Return the tokenizer in a folder, which must be that of a model of `vocab_size` tokens."""
    tokenizer = BPE.load(folder / "tokenizer.json")
    if tokenizer.vocab_size != vocab_size:
        raise ValueError(
            f"{folder} has a tokenizer of {tokenizer.vocab_size} tokens "
            f"and a model of {vocab_size}: they were not trained together"
        )
    return tokenizer


def load_model(folder: Path) -> tuple[BPE, GPT]:
    """Return tokenizer and model of a training.

    Raises:
        ValueError: If there is none, or a file is missing, damaged, foreign, or does not fit the
            other.
    """
    if not holds_checkpoint(folder):
        begin = command("train", "--out", folder)
        raise ValueError(f"there is no training in {folder}; begin one by: {begin}")
    model = GPT.load(checkpoint.latest(folder))
    return read_tokenizer(folder, model.config.vocab_size), model


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Keep other processes from training in a folder, until the block or this process ends.

    The operating system holds the lock, so none is left behind by a process that was killed.

    Raises:
        ValueError: If another process trains there; its number is named.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    held, owner = filelock.FileLock(folder / ".lock"), folder / ".lock.owner"
    try:
        held.acquire(blocking=False)
    except filelock.Timeout:
        with contextlib.suppress(OSError):
            number = owner.read_text(encoding="utf-8")
            raise ValueError(f"process {number} is training in {folder}: wait for it") from None
        raise ValueError(f"another process is training in {folder}: wait for it") from None
    try:
        owner.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        owner.unlink(missing_ok=True)
        if made and list(folder.iterdir()) == [Path(held.lock_file)]:  # it was made for nothing
            with contextlib.suppress(OSError):  # Windows keeps what is open
                Path(held.lock_file).unlink()
                for path in made:
                    path.rmdir()
        held.release()


@contextmanager
def patient() -> Iterator[Callable[[], bool]]:
    """Let the block ask whether there was a Ctrl-C; only a second one interrupts it."""
    noted: list[int] = []

    def note(number: int, _: object) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    usual = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(noted)
    finally:
        signal.signal(signal.SIGINT, usual)


def device() -> torch.device:
    """Return the GPU if torch finds one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def command(*arguments: object) -> str:
    """Return a line that runs this program again, to be pasted into a shell as it is."""
    program = Path(sys.argv[0])
    if program.suffix == ".py":
        line = [_typed(Path(sys.executable)), "-m", "gptspec"]
    else:
        line = [_typed(program)]
    words = [*line, *map(str, arguments)]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def _typed(program: Path) -> str:
    """Return the name of a program if the shell finds it by that, else where it is from here."""
    found = shutil.which(program.name)
    if found and Path(found).absolute() == program.absolute():
        return program.name
    here = Path.cwd()
    return str(program.relative_to(here) if program.is_relative_to(here) else program)
