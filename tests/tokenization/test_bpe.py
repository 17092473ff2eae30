import itertools
import json
import tempfile
import unicodedata
from collections import Counter
from pathlib import Path

import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from gptspec.tokenization.bytes import StreamDecoder
from strategies import rejects, texts, unwritten

# Each library carries its own edition of Unicode: characters that Python does not know yet
# are a letter to one and a sign to another, so the laws that compare libraries leave them out.
settled = texts(12).map(lambda text: "".join(c for c in text if unicodedata.category(c) != "Cn"))
dense = st.text("ab \n", max_size=16) | st.text("a \n7!'s", max_size=12)  # many pairs, many ties
words = st.text("ab", min_size=2, max_size=12)
phrases = st.lists(words, min_size=3, max_size=5).map(" ".join)
corpora = st.lists(words | dense | settled, max_size=3)
numbers_of_merges = st.integers(0, 15)
GPT2 = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
ENDS = ("<|endoftext|>", "<|pad|>")


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


def spell(merges):
    tokens = [bytes([byte]) for byte in range(256)]
    for left, right in merges:
        tokens.append(tokens[left] + tokens[right])
    return tokens


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
def test_pre_tokens_are_gpt2s(bpe, text):
    assert bpe.pre_tokenize(text) == pre_tokens(text)


@given(st.lists(st.sampled_from(b"ab"), max_size=12), st.sampled_from([b"aa", b"ab"]))
def test_merge_goes_from_the_left(bpe, ids, pair):
    merged = bpe.merge(ids, tuple(pair), ord("X"))
    assert merged == list(bytes(ids).replace(pair, b"X"))


@given(st.dictionaries(words, st.integers(1, 3), max_size=4), st.data())
def test_counts_stay_true(bpe, words, data):
    pairs = bpe.PairIndex(words)
    for new in range(256, 260):
        copies = [ids for ids, n in zip(pairs.words, words.values(), strict=True) for _ in range(n)]
        counts = count(copies)
        assert {pair: n for pair, n in pairs.counts.items() if n} == counts
        if not counts:
            break
        pairs.merge(data.draw(st.sampled_from(sorted(counts)), "pair"), new)


@given(corpora, numbers_of_merges)
def test_training_is_the_plain_loop(bpe, corpus, n_merges):
    assert trained(bpe, corpus, n_merges).merges == learn(corpus, n_merges)


@given(corpora, numbers_of_merges)
def test_training_is_hugging_faces(bpe, corpus, n_merges):
    """Bytes are handed over as the characters 0 to 255, so that its ids of bytes are ours."""
    peer = Tokenizer(BPE())
    peer.train_from_iterator(
        [word.encode().decode("latin-1") for text in corpus for word in pre_tokens(text)],
        BpeTrainer(
            vocab_size=256 + n_merges,
            initial_alphabet=[chr(byte) for byte in range(256)],
            show_progress=False,
        ),
    )
    merges = json.loads(peer.to_str())["model"]["merges"]
    ids = peer.get_vocab()
    assert trained(bpe, corpus, n_merges).merges == tuple((ids[a], ids[b]) for a, b in merges)


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


@given(corpora)
def test_specials_teach_nothing(bpe, parts):
    joined = "".join(part + end for part, end in zip(parts, itertools.cycle(ENDS), strict=False))
    assert trained(bpe, [joined], specials=ENDS) == trained(bpe, parts, specials=ENDS)


@given(corpora, dense | texts())
def test_round_trip(bpe, corpus, text):
    tokenizer = trained(bpe, [*corpus, text], specials=ENDS)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode(tokenizer.encode(text, specials=True)) == text


learned = st.tuples(corpora.map(lambda corpus: learn(corpus, 15)), words | dense | settled)
made_up = st.tuples(merge_lists().filter(possible), phrases)


@given(learned, made_up)
def test_encoding_is_tiktokens(bpe, learned, made_up):
    for merges, text in [learned, made_up]:
        peer = tiktoken.Encoding(
            "peer",
            pat_str=GPT2,
            mergeable_ranks={token: id for id, token in enumerate(spell(merges))},
            special_tokens={},
        )
        assert bpe.encode(text, merges) == peer.encode(text)
        assert accepted(bpe.BPE, merges).encode(text) == peer.encode(text)


@given(merge_lists(), phrases)
def test_one_merge_more(bpe, merges, text):
    before = bpe.encode(text, merges[:-1])
    assert bpe.encode(text, merges) == replace(before, merges[-1], 255 + len(merges))


@given(corpora, settled)
def test_stream_is_whole(bpe, corpus, text):
    tokenizer = trained(bpe, corpus)
    ids = tokenizer.encode(text)
    stream = StreamDecoder()
    shown = "".join(stream.feed(tokenizer.token_bytes(id)) for id in ids) + stream.finish()
    assert shown == tokenizer.decode(ids)


@given(corpora, st.lists(texts(), min_size=1, max_size=3), st.sampled_from(ENDS))
def test_specials_only_on_request(bpe, corpus, parts, end):
    parts = [part.replace(ENDS[0], "") for part in parts]  # no end but those between
    tokenizer = trained(bpe, corpus, specials=ENDS)
    first = tokenizer.vocab_size - len(ENDS)
    id = first + ENDS.index(end)
    assert tokenizer.end_of_text == first
    assert all(id < first for id in tokenizer.encode(end.join(parts)))
    separate = [token for part in parts for token in [*tokenizer.encode(part), id]]
    assert tokenizer.encode(end.join(parts), specials=True) == separate[:-1]


@settings(max_examples=20)  # the disk is slow
@given(corpora, st.permutations(ENDS), texts())
def test_saved_is_loaded(bpe, corpus, specials, text):
    tokenizer = trained(bpe, corpus, specials=tuple(specials))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tokenizer.json")
        tokenizer.save(path)
        loaded = bpe.BPE.load(path)
    assert loaded == tokenizer
    assert loaded.encode(text, specials=True) == tokenizer.encode(text, specials=True)


damages = {
    "cut": lambda whole, share: whole[: int(len(whole.strip()) * share)],
    "foreign": lambda whole, _: json.dumps(json.loads(whole) | {"kind": "other"}),
    "newer": lambda whole, _: json.dumps(json.loads(whole) | {"format": 1000}),
    "later id": lambda whole, _: json.dumps(json.loads(whole) | {"merges": [[97, 256]]}),
    "no pair": lambda whole, _: json.dumps(json.loads(whole) | {"merges": [[97]]}),
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
        path.write_text(damages[damage](path.read_text(), share))
        with rejects(path):
            bpe.BPE.load(path)


@given(st.integers(0, 3), st.data())
def test_rejects_small_vocabularies(bpe, n_specials, data):
    specials = tuple(f"<|{i}|>" for i in range(n_specials))
    vocab_size = data.draw(st.integers(-1, 255 + n_specials), "vocab_size")
    with rejects("vocab_size", vocab_size):
        bpe.train(["text"], vocab_size, specials=specials)


@given(st.integers(max_value=-1) | st.integers(min_value=258))
def test_rejects_unknown_ids(bpe, id):
    with rejects("ids", id, 257):
        bpe.BPE(((97, 98),)).decode([97, id])


@given(merge_lists(), st.sampled_from([-1, 0, 1]))
def test_rejects_impossible_merges(bpe, merges, beyond):
    assert bpe.BPE(((0, 0),)).token_bytes(256) == b"\0\0"
    limit = [256 + len(merges)] if possible(merges) else []
    with rejects("merges", *limit):
        bpe.BPE((*merges, (97, beyond if beyond < 0 else 256 + len(merges) + beyond)))
    with rejects("merges"):
        bpe.BPE((*merges, merges[-1]))
    if not possible(merges):
        with rejects("merges"):
            bpe.BPE(merges)


ambiguous = ["<|end|>", ("",), ("a", "a"), ("<|end|>", "<|end|>s"), ("b", "ab", "a")]


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
