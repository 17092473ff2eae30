from functools import cache

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

import ggufs
from gptspec.sampling.stories import stories
from gptspec.tokenization import bpe as ours
from strategies import rare_texts, rejects, texts

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
ABSENT = {"none": (), "controls": (4, 6, 0xF1), "common": (*b"ea 1=", 0xE6, 0xCC)}
cuts = st.sampled_from(["gpt-2", "smollm"])
absences = st.sampled_from(sorted(ABSENT))


@cache
def learned():
    """A tokenizer of a few hundred tokens: words, signs, spaces, letters with marks."""
    signs = ["== != ... -- '' 2024 1999 007 naïve 日本語 🙂 e\u0301 \n\n  \t\t    x"] * 30
    return ours.train([*stories(40, seed=0), *signs], 256 + 300 + 3, specials=SPECIALS)


@cache
def metadata(pre, absent):
    """As a file holds it. Tokens that need an absent byte are not in the file, as their merges."""
    gone = set(ABSENT[absent])
    learn = learned()
    merges, numbers = [], {byte: byte for byte in range(256) if byte not in gone}
    for id, pair in enumerate(learn.merges, start=256):
        if all(part in numbers for part in pair):
            numbers[id] = 256 + len(merges)
            merges.append(tuple(numbers[part] for part in pair))
    return ggufs.vocabulary(ours.BPE(tuple(merges), SPECIALS), absent=gone, pre=pre)


@cache
def peer(pre, absent):
    settings = metadata(pre, absent)
    tokens = settings["tokenizer.ggml.tokens"]
    merges = [tuple(pair.split(" ")) for pair in settings["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: id for id, token in enumerate(tokens)}, merges))
    digits = [Digits(individual_digits=True)] if pre == "smollm" else []
    tokenizer.pre_tokenizer = Sequence([*digits, ByteLevel(add_prefix_space=False)])
    tokenizer.add_special_tokens(list(SPECIALS))
    return tokenizer


MARKED = "<|im_start|>user\nhow 1 2<|im_end|>\n<|im_start<|im_end|>|>"


@rare_texts(pre="smollm", absent="controls", specials=False)
@rare_texts(pre="gpt-2", absent="common", specials=True)
@example(
    text="\x04a=\x06=e=\x04 = \U00040000 naïve 日本 e\u0301 1e1",
    pre="gpt-2",
    absent="common",
    specials=False,
)
@example(
    text="\x04a=\x06=e=\x04 = \U00040000 1  22  333   \n4\n\n5\t6 ",
    pre="smollm",
    absent="controls",
    specials=False,
)
@example(text="a  1 ٣½ ² x1y  \n", pre="smollm", absent="none", specials=False)
@example(text=MARKED, pre="smollm", absent="none", specials=True)
@given(text=texts(), pre=cuts, absent=absences, specials=st.booleans())
def test_ids_are_those_of_tokenizers(vocabulary, text, pre, absent, specials):
    theirs = peer(pre, absent)
    theirs.encode_special_tokens = not specials
    tokenizer = made(vocabulary, pre, absent)
    assert tokenizer.encode(text, specials=specials) == theirs.encode(text).ids
    assert tokenizer.vocab_size == theirs.get_vocab_size()


MADE = {}


def made(vocabulary, pre, absent):
    """The tokenizer under test, made once of each."""
    key = vocabulary.__file__, id(vocabulary), pre, absent
    if key not in MADE:
        MADE[key] = vocabulary, vocabulary.from_gguf(metadata(pre, absent))
    return MADE[key][1]


@rare_texts(pre="smollm", absent="common")
@given(text=texts(), pre=cuts, absent=absences)
def test_bytes_return(vocabulary, text, pre, absent):
    tokenizer = made(vocabulary, pre, absent)
    ids = tokenizer.encode(text)
    kept = bytes(byte for byte in text.encode() if byte not in ABSENT[absent])
    assert b"".join(map(tokenizer.token_bytes, ids)) == kept
    assert tokenizer.decode(iter(ids)) == kept.decode(errors="replace")
    assert tokenizer.bpe.decode(tokenizer.ours(iter(ids))) == kept.decode(errors="replace")


@rare_texts()
@example(text=MARKED)
@given(text=texts())
def test_special_tokens_only_on_request(vocabulary, text):
    tokenizer = made(vocabulary, "smollm", "none")
    assert not {0, 1, 2} & set(tokenizer.encode(text))
    assert [tokenizer.encode(special, specials=True) for special in SPECIALS] == [[0], [1], [2]]
    assert tokenizer.encode("a<|im_end|>b", specials=True).count(2) == 1
    assert tokenizer.token_bytes(1) == b"<|im_start|>"
    assert tokenizer.decode([2, 1]) == "<|im_end|><|im_start|>"


PREFIX = "tokenizer.ggml."


def changed(name, change):
    settings = {
        key: list(v) if isinstance(v, list) else v for key, v in metadata("gpt-2", "none").items()
    }
    settings[PREFIX + name] = change(settings[PREFIX + name])
    return settings


def put(place, value):
    return lambda values: [*values[:place], value, *values[place + 1 :]]


WRONG = {
    "another model": ("model", lambda _: "llama"),
    "no model": ("model", lambda _: None),
    "other cuts": ("pre", lambda _: "qwen2"),
    "cuts of another type": ("pre", lambda _: 3),
    "no tokens": ("tokens", lambda _: None),
    "tokens that are numbers": ("tokens", put(5, 7)),
    "a token twice": ("tokens", put(5, "!")),
    "a token that nothing makes": ("tokens", put(400, "xyzzy")),
    "too few tokens": ("tokens", lambda tokens: tokens[:-1]),
    "types of text": ("token_type", put(5, "1")),
    "too few types": ("token_type", lambda types: types[:-1]),
    "a type that is not known": ("token_type", put(300, 5)),
    "a merge that is a special token": ("token_type", put(500, 3)),
    "merges that are numbers": ("merges", put(5, 7)),
    "a merge of one": ("merges", put(5, "a")),
    "a merge of three": ("merges", put(5, "a b c")),
    "a merge of what is not there": ("merges", put(5, "xyz zy")),
    "a merge twice": ("merges", lambda merges: [*merges, merges[0]]),
    "a merge too few": ("merges", lambda merges: merges[:-1]),
    "merges in another order": ("merges", lambda merges: merges[::-1]),
    "no merges": ("merges", lambda _: None),
}


@settings(max_examples=80)  # enough to try them all
@given(st.sampled_from(sorted(WRONG)))
def test_rejects_what_is_no_vocabulary(vocabulary, case):
    name, change = WRONG[case]
    with rejects():
        vocabulary.from_gguf(changed(name, change))


@given(st.sampled_from([-1, 559, 2**40]))
def test_rejects_unknown_ids(vocabulary, id):
    tokenizer = made(vocabulary, "gpt-2", "none")
    assert tokenizer.vocab_size == 559
    for call in (tokenizer.ours, tokenizer.decode):
        with rejects("ids", id):
            call([5, id])
    with rejects("ids", id):
        tokenizer.token_bytes(id)
