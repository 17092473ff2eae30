import itertools
import json
import sys
import tempfile
import unicodedata
from collections import Counter
from pathlib import Path

import tiktoken
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from gptspec.tokenization.bytes import StreamDecoder
from strategies import (
    RARE,
    keeps,
    owned,
    rare_texts,
    rejects,
    remembered,
    texts,
    unchecked,
    unwritten,
)


def known(text):
    """Leave out characters that Python does not know yet.

    Each library carries its own edition of Unicode: to one they are letters, to another signs.
    """
    return "".join(character for character in text if unicodedata.category(character) != "Cn")


settled = texts(12).map(known)
dense = st.text("ab \n", max_size=16) | st.text("a \n7!'s", max_size=12)  # many pairs, many ties
words = st.text("ab", min_size=2, max_size=12)
phrases = st.lists(words, min_size=3, max_size=5).map(" ".join)
corpora = st.lists(words | dense | settled, max_size=3)
numbers_of_merges = st.integers(0, 15)
GPT2 = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
ENDS = ("<|endoftext|>", "<|pad|>")
SPECIALS = [  # which begin alike, hold white space, are not ASCII or mean something in a pattern
    ENDS,
    ("<|end|>", "<|end|>x", "<|endoftext|>"),
    ("<|endoftext|>", "a", "aaa", "aa", "ab"),
    ("\n\n", "\n", " <s> ", "<|endoftext|>"),
    ("日本", "日", "é", "<|endoftext|>", "🙂", "e\u0301"),
    ("[a-z]+", ".", "(?i)<|END|>", "\\d", "<|endoftext|>", "$"),
]


def pre_tokens(text):
    """Cut by GPT-2's rule as the library tokenizers has it."""
    pieces = ByteLevel(add_prefix_space=False).pre_tokenize_str(text)
    return [text[start:stop] for _, (start, stop) in pieces]


def replace(ids, pair, new):
    place = 0
    while place < len(ids) - 1:
        if (ids[place], ids[place + 1]) == pair:
            ids = [*ids[:place], new, *ids[place + 2 :]]
        place += 1
    return ids


def count(words):
    return Counter(pair for ids in words for pair in itertools.pairwise(ids))


def learn(corpus, n_merges):
    """Train by counting everything again before each merge."""
    words = [list(word.encode()) for text in corpus for word in pre_tokens(text)]
    merges = []
    while len(merges) < n_merges and (counts := count(words)):
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        words = [replace(ids, pair, 256 + len(merges)) for ids in words]
        merges.append(pair)
    return tuple(merges)


def learn_elsewhere(corpus, n_merges):
    """Train with Hugging Face's trainer.

    Bytes are handed over as the characters 0 to 255, so that its ids of bytes are ours.
    """
    peer = Tokenizer(BPE())
    peer.train_from_iterator(
        [word.encode().decode("latin-1") for text in corpus for word in pre_tokens(text)],
        BpeTrainer(
            vocab_size=256 + n_merges,
            initial_alphabet=[chr(byte) for byte in range(256)],
            show_progress=False,
        ),
    )
    ids = peer.get_vocab()
    return tuple((ids[a], ids[b]) for a, b in json.loads(peer.to_str())["model"]["merges"])


def cut(text, specials):
    """Cut at special tokens from left to right, of several at one place at the longest."""
    pieces, start, place = [], 0, 0
    while place < len(text):
        here = [special for special in specials if text.startswith(special, place)]
        if here:
            longest = max(here, key=len)
            pieces += [text[start:place], longest]
            place += len(longest)
            start = place
        else:
            place += 1
    return [*pieces, text[start:]]


def spell(merges):
    tokens = [bytes([byte]) for byte in range(256)]
    for left, right in merges:
        tokens.append(tokens[left] + tokens[right])
    return tokens


def tiktoken_of(merges):
    ranks = {token: id for id, token in enumerate(spell(merges))}
    return tiktoken.Encoding("peer", pat_str=GPT2, mergeable_ranks=ranks, special_tokens={})


def replay(ids, merges):
    for new, pair in enumerate(merges, start=256):
        ids = replace(ids, pair, new)
    return ids


@st.composite
def merge_lists(draw):
    """Draw merges of a and b that no training need have made."""
    merges = []
    for new in range(256, 256 + draw(st.integers(2, 4))):
        ids = st.sampled_from([97, 98, *range(256, new)])
        merges.append(draw(st.tuples(ids, ids).filter(lambda pair: pair not in merges)))
    return tuple(merges)


def possible(merges):
    return all(replay(list(token), merges) == [id] for id, token in enumerate(spell(merges)))


def accepted(make, *arguments, **options):
    """Call, and tell a crash as a broken law."""
    try:
        return make(*arguments, **options)
    except Exception as error:
        if unwritten(error):
            raise
        raise AssertionError(f"raised {type(error).__name__}: {error}") from error


def trained(bpe, corpus, n_merges=15, specials=ENDS[1:]):
    vocab_size = 256 + n_merges + len(specials)
    return accepted(bpe.train, corpus, vocab_size, specials=specials)


@given(dense | settled)
@rare_texts()
def test_pre_tokens_are_gpt2s(bpe, text):
    assert bpe.pre_tokenize(known(text)) == pre_tokens(known(text))


@given(st.lists(st.sampled_from(b"ab"), max_size=12), st.sampled_from([b"aa", b"ab"]))
@example(ids=[97, 98] * 3000, pair=b"ab")
def test_merge_goes_from_the_left(bpe, ids, pair):
    merged = bpe.merge(ids, tuple(pair), ord("X"))
    assert merged == list(bytes(ids).replace(pair, b"X"))


picks = st.lists(st.floats(0, 1, exclude_max=True), min_size=4, max_size=4)


@given(st.dictionaries(words, st.integers(1, 3), max_size=4), picks)
@example(words={"abab": 40_000, "aab": 70_000, "bb": 3_000_000_000, "bab": 2**64}, picks=[0.5] * 4)
@example(words={"ab" * 3000: 2, "aab" * 3000: 3}, picks=[0.9, 0, 0.9, 0])
def test_counts_stay_true(bpe, words, picks):
    pairs = bpe.PairIndex(words)
    for new, pick in enumerate(picks, start=256):
        counts = Counter()
        for ids, copies in zip(pairs.words, words.values(), strict=True):
            counts.update({pair: n * copies for pair, n in count([ids]).items()})
        assert {pair: n for pair, n in pairs.counts.items() if n} == counts
        if not counts:
            break
        assert pairs.most_frequent() == min(counts, key=lambda pair: (-counts[pair], pair))
        pairs.merge(sorted(counts)[int(pick * len(counts))], new)


@given(corpora, numbers_of_merges)
@example(corpus=["abac", "cab bca abc", "zyx"], n_merges=15)  # most pairs tie
def test_training_is_the_plain_loop(bpe, corpus, n_merges):
    assert trained(bpe, corpus, n_merges).merges == learn(corpus, n_merges)


@given(corpora, numbers_of_merges)
@example(corpus=["abac", "cab bca abc", "zyx"], n_merges=15)
def test_training_is_hugging_faces(bpe, corpus, n_merges):
    assert trained(bpe, corpus, n_merges).merges == learn_elsewhere(corpus, n_merges)


SQUARES = " ".join(str(7919 * n * n) for n in range(1500))  # words for some thousand merges
EVERY_PAIR = list(itertools.product(range(256), repeat=2))  # 65,536 merges
LETTERS = range(ord("a"), ord("z") + 1)
TRIPLES = [(256 * (a + 1) + b, c) for a, b in itertools.combinations(LETTERS, 2) for c in LETTERS]
MARKED = "".join(map(known, RARE)) + "the quick brown fox jumps over a lazy dog " * 200


def test_training_at_any_size(bpe):
    corpus = [SQUARES, MARKED, "abc ab " * 70_000]
    assert trained(bpe, corpus, 2500).merges == learn_elsewhere(corpus, 2500)


def test_encoding_at_any_size(bpe):
    tokenizer = accepted(bpe.BPE, (*EVERY_PAIR, *TRIPLES), ENDS)
    peer = tiktoken_of(tokenizer.merges)
    ids = accepted(tokenizer.encode, MARKED)
    assert ids == peer.encode_ordinary(MARKED)
    assert max(ids) > 70_000
    assert accepted(tokenizer.decode, ids) == MARKED
    end = tokenizer.encode(ENDS[1], specials=True)
    assert end == [tokenizer.vocab_size - 1]
    assert tokenizer.encode(MARKED + ENDS[1], specials=True)[-1:] == end
    assert accepted(bpe.encode, MARKED, tokenizer.merges) == ids


@given(st.lists(st.sampled_from("aZé日!7"), min_size=2, unique=True))
def test_ties_go_to_the_smallest(bpe, signs):
    word = "".join(signs)
    pairs = [pair for piece in pre_tokens(word) for pair in itertools.pairwise(piece.encode())]
    counts = Counter(pairs)
    most = [pair for pair in counts if counts[pair] == max(counts.values())]
    assert trained(bpe, [word], 1).merges == tuple(sorted(most)[:1])


@given(corpora, st.data())
def test_order_of_texts_is_nothing(bpe, corpus, data):
    shuffled = data.draw(st.permutations(corpus), "shuffled")
    assert trained(bpe, shuffled).merges == trained(bpe, corpus).merges


@given(phrases, numbers_of_merges, numbers_of_merges)
def test_smaller_is_the_beginning(bpe, text, n_merges, more):
    bigger = trained(bpe, [text], n_merges + more).merges
    assert trained(bpe, [text], n_merges).merges == bigger[:n_merges]


@given(corpora)
def test_no_token_crosses_a_pre_token(bpe, corpus):
    tokenizer = trained(bpe, corpus)
    words = [word.encode() for text in corpus for word in pre_tokens(text)]
    for id in range(256, 256 + len(tokenizer.merges)):
        assert any(tokenizer.token_bytes(id) in word for word in words)


@given(corpora, numbers_of_merges)
def test_training_is_total(bpe, corpus, n_merges):
    tokenizer = trained(bpe, corpus, n_merges)
    asked = 256 + n_merges + 1  # one special token
    assert tokenizer.vocab_size <= asked
    if tokenizer.vocab_size < asked:
        for text in corpus:
            assert len(tokenizer.encode(text)) == len(pre_tokens(text))


@given(corpora, st.sampled_from(SPECIALS))
@example(parts=["aaaab", "xab", "", "aba"], specials=SPECIALS[2])
@example(parts=["ab", "xab", "xx"], specials=SPECIALS[1])
def test_specials_teach_nothing(bpe, parts, specials):
    ends = itertools.cycle(specials)
    joined = "".join(part + end for part, end in zip(parts, ends, strict=False))
    between = [piece for piece in cut(joined, specials) if piece not in specials]
    assert trained(bpe, [joined], specials=specials) == trained(bpe, between, specials=specials)


@given(corpora, dense | texts())
@rare_texts(corpus=[])
def test_round_trip(bpe, corpus, text):
    tokenizer = trained(bpe, [*corpus, text], specials=ENDS)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode(tokenizer.encode(text, specials=True)) == text


learned = st.tuples(corpora.map(lambda corpus: learn(corpus, 15)), words | dense | settled)
made_up = st.tuples(merge_lists().filter(possible), phrases)


@given(learned, made_up)
def test_encoding_is_tiktokens(bpe, learned, made_up):
    for merges, text in [learned, made_up]:
        peer = tiktoken_of(merges)
        assert bpe.encode(text, merges) == peer.encode(text)
        assert accepted(bpe.BPE, merges).encode(text) == peer.encode(text)


@given(merge_lists(), phrases)
@example(merges=((97, 98), (98, 97)), text="ab" * 3000)
def test_one_merge_more(bpe, merges, text):
    before = bpe.encode(text, merges[:-1])
    assert bpe.encode(text, merges) == replace(before, merges[-1], 255 + len(merges))


@given(corpora, settled)
@rare_texts(corpus=["日本🙂e\u0301हिन्दी"])
def test_stream_is_whole(bpe, corpus, text):
    tokenizer = trained(bpe, corpus)
    ids = tokenizer.encode(text)
    stream = StreamDecoder()
    shown = "".join(stream.feed(tokenizer.token_bytes(id)) for id in ids) + stream.finish()
    assert shown == tokenizer.decode(ids)


marked = st.sampled_from(SPECIALS).flatmap(
    lambda specials: st.tuples(
        st.just(specials),
        st.lists(st.sampled_from(specials) | texts(8), max_size=6).map("".join),
    )
)


@given(corpora, marked)
@example(corpus=[], marked=(SPECIALS[1], "<|end|>x<|end|>y<|end|><|end|>x"))
@example(corpus=["ab"], marked=(SPECIALS[2], "aaaaab aaaa b a"))
@example(corpus=["日本"], marked=(SPECIALS[4], "日本日 e\u0301é🙂e"))
@example(corpus=["a"], marked=(SPECIALS[3], "a\n\n\n <s>  <s>\r\n"))
@example(corpus=["a"], marked=(SPECIALS[5], "a.[a-z]+5\\d<|end|>$"))
@example(corpus=["a"], marked=(ENDS, "a <|endoftext|> <|pad|>" * 1000))
def test_specials_only_on_request(bpe, corpus, marked):
    specials, text = marked
    tokenizer = trained(bpe, corpus, specials=specials)
    first = tokenizer.vocab_size - len(specials)
    assert tokenizer.end_of_text == first + specials.index("<|endoftext|>")
    assert all(id < first for id in tokenizer.encode(text))
    expected = []
    for piece in cut(text, specials):
        special = piece in specials
        expected += [first + specials.index(piece)] if special else tokenizer.encode(piece)
    assert accepted(tokenizer.encode, text, specials=True) == expected


@given(phrases, texts(), st.lists(st.integers(0, 257), max_size=5))
@example(text="no merge here", phrase="xyz", ids=[])
@rare_texts(phrase="ab aab", ids=[97, 256, 226, 130])
def test_leaves_no_trace(bpe, text, phrase, ids):
    merges, words, collection = [(97, 98), (256, 97)], {"ab": 2, "aab": 1}, [phrase, text]
    with keeps(merges, words, collection, ids):
        tokenizer = accepted(bpe.train, iter(collection), 270)
        assert tokenizer == bpe.train(collection, 270, specials=("<|endoftext|>",))
        for specials in (False, True):
            owned(lambda specials=specials: tokenizer.encode(text, specials=specials))
        owned(lambda: bpe.pre_tokenize(text))
        owned(lambda: bpe.encode(text, merges))
        owned(lambda: bpe.merge(ids, (97, 98), 300))
        known = [id for id in ids if id < tokenizer.vocab_size]
        assert tokenizer.decode(iter(known)) == tokenizer.decode(known)
        pairs = bpe.PairIndex(words)
        while pair := pairs.most_frequent():
            pairs.merge(pair, 256)


def operations(call):
    """How many instructions of Python a call runs."""
    count = 0

    def trace(frame, event, _):
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def test_costs_what_it_changes(bpe):
    def cost(n_others):
        words = {"abab": 3, "cab": 1} | {f"x{n}": 1 for n in range(n_others)}
        pairs = bpe.PairIndex(words)
        with unchecked():  # checking annotations may look at every word
            return operations(lambda: pairs.merge((97, 98), 256))

    assert cost(2000) < 2 * cost(20) + 100


@given(merge_lists().filter(possible), merge_lists().filter(possible), phrases)
@example(merges=((97, 98), (98, 97)), others=((98, 98), (97, 97)), text="aabb abba")
def test_tokenizers_are_apart(bpe, merges, others, text):
    tokenizers = [bpe.BPE(merges), bpe.BPE(others)]
    ids = [
        [id for word in pre_tokens(text) for id in replay(list(word.encode()), each)]
        for each in (merges, others)
    ]
    for _ in range(2):
        assert [tokenizer.encode(text) for tokenizer in tokenizers] == ids
        for tokenizer, own in zip(tokenizers, ids, strict=True):
            assert accepted(tokenizer.decode, own) == text


@given(st.sampled_from(["cut", "encode", "specials", "plain", "decode"]))
def test_forgets(bpe, way):
    merges = learn(["a number of its own"], 15)
    tokenizer = bpe.BPE(merges)
    call = {
        "encode": lambda number: tokenizer.encode(f"{number} is a number"),
        "specials": lambda number: tokenizer.encode(f"{number}<|endoftext|>", specials=True),
        "plain": lambda number: bpe.encode(f"{number}", merges),
        "cut": lambda number: bpe.pre_tokenize(f"{number} is a number"),
        "decode": lambda number: tokenizer.decode([number >> bit & 1 for bit in range(20)]),
    }[way]
    assert remembered(call) < 0.5


def outcome(call, *arguments, **options):
    """Call, and return what comes back or is raised, were it a panic in Rust."""
    try:
        return call(*arguments, **options)
    except BaseException as error:
        return error


def test_no_panic(bpe):
    text = " " * 1_000_000 + "a"
    tokenizer = bpe.BPE(())
    for specials in (False, True):
        ids = outcome(tokenizer.encode, text, specials=specials)
        assert isinstance(ids, ValueError | list)
        assert isinstance(ids, ValueError) or tokenizer.decode(ids) == text


saved = st.tuples(st.integers(0, 15), st.sampled_from(SPECIALS).flatmap(st.permutations))


@settings(max_examples=20)  # the disk is slow
@given(phrases, st.lists(saved, min_size=1, max_size=3), texts())
@example(phrase="ab aab", several=[(n, SPECIALS[n % 6]) for n in range(12)], text="a\n\n日本<s> x")
@example(
    phrase="ab" * 5000, several=[(15, ("\n", "\u2028", "\\n", '"', "\x00")), (0, ())], text="\n"
)
def test_saved_is_loaded(bpe, phrase, several, text):
    """Each is saved twice: into a file of its own, and over the one before."""
    tokenizers = [trained(bpe, [phrase], n, specials=tuple(ends)) for n, ends in several]
    with tempfile.TemporaryDirectory() as folder:
        last = Path(folder, "tokenizer.json")
        own = [Path(folder, f"{number}") for number in range(len(tokenizers))]
        for tokenizer, path in zip(tokenizers, own, strict=True):
            tokenizer.save(path)
            tokenizer.save(last)
            assert bpe.BPE.load(last) == tokenizer
        loaded = [bpe.BPE.load(path) for path in own]
    assert loaded == tokenizers
    for one, other in zip(loaded, tokenizers, strict=True):
        assert one.encode(text, specials=True) == other.encode(text, specials=True)


damages = {
    "cut": lambda whole, share: whole[: int(len(whole.strip()) * share)],
    "foreign": lambda whole, _: json.dumps(json.loads(whole) | {"kind": "other"}),
    "newer": lambda whole, _: json.dumps(json.loads(whole) | {"format": 1000}),
    "later id": lambda whole, _: json.dumps(json.loads(whole) | {"merges": [[97, 256]]}),
    "no pair": lambda whole, _: json.dumps(json.loads(whole) | {"merges": [[97]]}),
    "one special": lambda whole, _: json.dumps(json.loads(whole) | {"specials": "abc"}),
    "broken ids": lambda whole, _: json.dumps(json.loads(whole) | {"merges": [[97.5, 98]]}),
    "no merges": lambda whole, _: json.dumps(
        {key: value for key, value in json.loads(whole).items() if key != "merges"}
    ),
}


@settings(max_examples=30)
@given(st.sampled_from(sorted(damages)), st.floats(0, 1, exclude_max=True))
def test_rejects_damaged_files(bpe, damage, share):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tokenizer.json")
        bpe.BPE(((97, 98),), ENDS).save(path)
        path.write_text(damages[damage](path.read_text("utf-8"), share), "utf-8")
        with rejects(path):
            bpe.BPE.load(path)


@given(st.integers(0, 3), st.data())
def test_rejects_small_vocabularies(bpe, n_specials, data):
    specials = tuple(f"<|{i}|>" for i in range(n_specials))
    vocab_size = data.draw(st.integers(-1, 255 + n_specials), "vocab_size")
    with rejects("vocab_size", vocab_size):
        bpe.train(["text"], vocab_size, specials=specials)


@given(st.integers(max_value=-1) | st.integers(min_value=258), st.integers(0, 3))
@example(id=-1, more=3)
@example(id=258, more=0)
def test_rejects_unknown_ids(bpe, id, more):
    tokenizer = bpe.BPE(((97, 98),))
    with rejects("ids", id, 257):
        tokenizer.decode([97] * (3 - more) + [id] + [256] * more)
    with rejects("ids", id, 257):
        tokenizer.token_bytes(id)


@given(merge_lists(), st.sampled_from([-1, 0, 1]))
def test_rejects_impossible_merges(bpe, merges, beyond):
    assert bpe.BPE(((0, 0),)).token_bytes(256) == b"\0\0"
    limit = [256 + len(merges)] if possible(merges) else []
    with rejects("merges", *limit):
        bpe.BPE((*merges, (97, beyond if beyond < 0 else 256 + len(merges) + beyond)))
    with rejects("merges"):
        bpe.BPE((*merges, merges[-1]))
    with rejects("merges"):
        bpe.BPE([(97, 98)])
    if not possible(merges):
        with rejects("merges"):
            bpe.BPE(merges)


ambiguous = ["<|end|>", ["<|end|>"], ("",), ("a", "a"), ("a", ""), ("b", "ab", "b")]


@given(st.sampled_from(ambiguous))
def test_rejects_specials(bpe, specials):
    with rejects("specials"):
        bpe.BPE((), specials)
    with rejects("specials", "<|endoftext|>"):
        bpe.BPE((), specials=("<|pad|>",)).end_of_text  # noqa: B018


@given(texts(), st.characters(categories=["Cs"]))
def test_rejects_what_is_no_text(bpe, text, surrogate):
    with rejects("text", repr(surrogate)):
        bpe.BPE(()).encode(text + surrogate)
    with rejects("text", repr(surrogate)):
        bpe.BPE((), (surrogate,))
    with rejects("text", repr(surrogate)):
        bpe.train([text + surrogate], 300)
    with rejects("texts", "str"):
        bpe.train(text, 300)
    with rejects("bytes"):
        bpe.train([b"bytes"], 300)
