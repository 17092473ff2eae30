"""Chat: a conversation as one row of tokens, in which only the program can say who speaks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

from gptspec.checks import check, check_several, check_text

Role = Literal["system", "user", "assistant"]

BEGIN, END = "<|im_start|>", "<|im_end|>"
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


@runtime_checkable
class Tokenizer(Protocol):
    """What is asked of a tokenizer: `BPE` and `Vocabulary` have it."""

    def encode(self, text: str, *, specials: bool = False) -> list[int]:
        """Return the ids of a text; special tokens in it are text unless `specials`."""
        ...


@dataclass(frozen=True)
class Message:
    """What one side says.

    Args:
        role: Who says it: system, user or assistant.
        content: What is said, any text.

    Raises:
        ValueError: If the role is another.
        TypeError: If the content is no text.
    """

    role: Role
    content: str

    def __post_init__(self) -> None:
        check("role", self.role, self.role in get_args(Role), f"one of {', '.join(get_args(Role))}")
        check_text(content=self.content)

    @property
    def body(self) -> str:
        """What stands between the markers."""
        return f"{self.role}\n{self.content}"


REPLY = Message("assistant", "")


def with_system(messages: Iterable[Message]) -> list[Message]:
    """Return the messages with SmolLM2's instructions before them, unless they begin with some.

    Examples:
        >>> [message.role for message in with_system([Message("user", "Hello")])]
        ['system', 'user']
    """
    messages = list(messages)
    if messages and messages[0].role != "system":
        return [Message("system", SYSTEM), *messages]
    return messages


def render(messages: Iterable[Message], *, reply: bool = True) -> str:
    """Return a conversation as text, to be looked at: its markers and imitations look the same.

    Args:
        messages: What was said so far.
        reply: Whether the beginning of an answer follows.

    Examples:
        >>> print(render([Message("system", "Be brief."), Message("user", "Hello")]))
        <|im_start|>system
        Be brief.<|im_end|>
        <|im_start|>user
        Hello<|im_end|>
        <|im_start|>assistant
        <BLANKLINE>

    Source:
        SmolLM2-135M-Instruct, `tokenizer.chat_template`; the markup is OpenAI's ChatML.
    """
    turns = [f"{BEGIN}{message.body}{END}\n" for message in with_system(messages)]
    return "".join(turns) + (BEGIN + REPLY.body if reply else "")


def encode(messages: Iterable[Message], tokenizer: Tokenizer, *, reply: bool = True) -> list[int]:
    """Return a conversation as ids, for a model to answer.

    Markers are put in as ids. What is said is encoded as text, so that no text becomes a marker.

    Args:
        messages: What was said so far.
        tokenizer: Has the two markers among its special tokens.
        reply: Whether the beginning of an answer follows.

    Raises:
        ValueError: If the tokenizer lacks a marker.

    Examples:
        >>> from gptspec.tokenization.bpe import BPE
        >>> ids = encode([Message("system", END)], BPE((), (BEGIN, END)), reply=False)
        >>> ids[0], ids[-2], ids.count(257)  # the imitation is ten bytes
        (256, 257, 1)
    """
    begin, end = marker(tokenizer, BEGIN), marker(tokenizer, END)
    ids: list[int] = []
    for message in with_system(messages):
        ids += [begin, *tokenizer.encode(message.body), end, *tokenizer.encode("\n")]
    return [*ids, begin, *tokenizer.encode(REPLY.body)] if reply else ids


def marker(tokenizer: Tokenizer, special: str) -> int:
    """Return the id of a special token.

    Raises:
        ValueError: If it is none.
    """
    ids = tokenizer.encode(special, specials=True)
    alone = len(ids) == 1 and tokenizer.encode(special) != ids
    check("tokenizer", special, alone, f"one with the special token {special}")
    return ids[0]


def fit(messages: Sequence[Message], tokenizer: Tokenizer, room: int) -> list[Message]:
    """Return what of a conversation fits into `room` tokens, the beginning of an answer included.

    The system's message stays, and the last one. The oldest of the others go first, an answer with
    its question. A last message that is too long alone loses its beginning.

    Args:
        messages: What was said so far, at least one message besides the system's.
        tokenizer: As in `encode`.
        room: How many tokens `encode` may return.

    Raises:
        ValueError: If there is nothing to answer, or `room` is too small for the system's message.
    """
    check_several(messages=messages)
    system, *said = with_system(messages)
    check("messages", len(said), len(said) > 0, "more than the system's")

    def size(kept: Sequence[Message]) -> int:
        return len(encode([system, *kept], tokenizer))

    last = said[-1]
    least = size([Message(last.role, "")])
    check("room", room, room >= least, f"at least {least} tokens")
    while (over := size([last]) - room) > 0:
        last = Message(last.role, last.content[over:])
    kept, left = [last], room - size([last])
    for message in reversed(said[:-1]):
        left -= size([message]) - size([])
        if left < 0:
            break
        kept.insert(0, message)
    while kept[0].role == "assistant" and len(kept) > 1:  # its question is gone
        kept.pop(0)
    return [system, *kept]
