from itertools import takewhile, zip_longest

import torch
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from gptspec.generation import decoding as single
from gptspec.generation.decoding import Decoding
from gptspec.gpt.model import GPT, GPTConfig
from gptspec.tokenization import bpe
from known import known_models
from strategies import elsewhere, rejects, sizes, texts, unwritten

VOCAB = 4
# Its tokens are bytes, parts of characters, characters, and more than one.
TOKENIZER = bpe.train(["naïve café é日本語日本 🙂🙃👩👧 éé日日"] * 2, 275)
few = limits(max_examples=25)
seeds = st.integers(0, 2**32)
ids = st.lists(st.integers(0, TOKENIZER.vocab_size - 1), max_size=12)


def characters():
    """Texts that take many bytes a character, or several characters a token."""
    words = st.lists(st.sampled_from(["naïve", " café", " é", "日本語"]), max_size=4)
    return texts(8) | st.text("aé日🙂👩", max_size=8) | words.map("".join)


def prompts(least=1):
    prompt = st.lists(st.integers(0, VOCAB - 1), min_size=least, max_size=6)
    return st.lists(prompt, min_size=1, max_size=3)


def settings():
    return st.builds(
        Decoding, temperature=st.sampled_from([0.3, 1.0]), penalty=st.sampled_from([1.0, 9.0])
    )


@st.composite
def gpts(draw):
    """A GPT of a few weights, all of them loud."""
    config = GPTConfig(
        vocab_size=VOCAB,
        context_length=draw(sizes(3, 9)),
        d_model=4,
        n_layers=2,
        n_heads=2,
        dropout=0.5,
        tied=False,
        positions=draw(st.sampled_from(["learned", "rotary"])),
        window=draw(st.sampled_from([None, 2])),
    )
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(draw(seeds))
        model = GPT(config)
        for weight in model.parameters():
            weight.normal_()
    return model


def alone(model, prompt, n_tokens, decoding, seed, stop):
    """A plain loop that reads the whole text for every token."""
    draws = torch.Generator(torch.get_default_device()).manual_seed(seed)
    text, mode = list(prompt), model.training
    model.eval()
    for _ in range(n_tokens):
        logits = model(torch.tensor(text[-model.config.context_length :]))[-1]
        token = int(single.sample(logits, decoding, draws, torch.tensor(text)))
        if token in stop:
            break
        text.append(token)
    model.train(mode)
    return text[len(prompt) :]


def together(streaming, model, prompts, n_tokens, *arguments, **options):
    """What `generate_batch` adds to each prompt."""
    added = [[] for _ in prompts]
    for row, id in streaming.generate_batch(model, prompts, n_tokens, *arguments, **options):
        added[row].append(id)
    return added


def watched(ids, asked):
    for id in ids:
        asked.append(id)
        yield id


@given(ids, st.sets(st.integers(0, 9)))
def test_nothing_after_the_end(streaming, ids, stop):
    asked = []
    kept = list(streaming.until(watched(ids, asked), stop))
    assert kept == list(takewhile(lambda token: token not in stop, ids))
    assert asked == ids[: len(kept) + 1]


@given(ids)
def test_pieces_are_the_text(streaming, ids):
    told = list(streaming.pieces(ids, TOKENIZER))
    assert "".join(told) == TOKENIZER.decode(ids)
    assert all(piece.encode() for piece in told)


@given(characters())
def test_characters_come_whole_and_at_once(streaming, text):
    ids, asked, told = TOKENIZER.encode(text), [], ""
    for piece in streaming.pieces(watched(ids, asked), TOKENIZER):
        told += piece
        n_bytes = sum(len(TOKENIZER.token_bytes(id)) for id in asked)
        complete = [end for end in range(len(text) + 1) if len(text[:end].encode()) <= n_bytes]
        assert told == text[: complete[-1]]
    assert told == text
    assert asked == ids


@few
@given(known_models(TOKENIZER.vocab_size, sizes(1, 9)), characters(), sizes(0, 8), seeds, st.data())
def test_streams_what_is_generated(streaming, model, prompt, n_tokens, seed, data):
    begun = TOKENIZER.encode(prompt) or [TOKENIZER.end_of_text]
    free = alone(model, begun, n_tokens, Decoding(), seed, ())
    stop = data.draw(st.none() | st.sets(st.sampled_from([*free, 0]), max_size=2), "stop")
    told = streaming.stream(model, TOKENIZER, prompt, n_tokens, Decoding(), seed=seed, stop=stop)
    last = {TOKENIZER.end_of_text} if stop is None else stop
    kept = takewhile(lambda token: token not in last, free)
    assert "".join(told) == TOKENIZER.decode(kept)


@given(known_models(VOCAB, sizes(1, 9)), prompts(), sizes(0, 6), settings(), st.data())
def test_a_batch_is_its_rows(streaming, model, prompts, n_tokens, decoding, data):
    own = data.draw(st.lists(seeds, min_size=len(prompts), max_size=len(prompts)), "seeds")
    stop = data.draw(st.sets(st.integers(0, VOCAB - 1), max_size=2), "stop")
    added = together(streaming, model, prompts, n_tokens, decoding, seeds=own, stop=stop)
    for prompt, tokens, seed in zip(prompts, added, own, strict=True):
        assert tokens == alone(model, prompt, n_tokens, decoding, seed, stop)


@given(known_models(VOCAB, sizes(1, 9)), prompts(), prompts(), sizes(1, 4))
def test_calls_do_not_meet(streaming, model, first, second, n_tokens):
    calls, added = [], []
    for batch in (first, second):
        own = range(len(batch))
        calls.append(streaming.generate_batch(model, batch, n_tokens, Decoding(), seeds=own))
        added.append([[] for _ in batch])
    try:
        for turn in zip_longest(*calls):
            for rows, written in zip(added, turn, strict=True):
                if written is not None:
                    row, id = written
                    rows[row].append(id)
    except (IndexError, RuntimeError) as error:
        if unwritten(error):
            raise
        raise AssertionError(f"the other call is in the way: {error}") from error
    for batch, rows in zip((first, second), added, strict=True):
        for seed, (prompt, tokens) in enumerate(zip(batch, rows, strict=True)):
            assert tokens == alone(model, prompt, n_tokens, Decoding(), seed, ())


@limits(max_examples=15)
@given(gpts(), prompts(least=2), sizes(3, 6), st.booleans())
def test_a_cache_changes_nothing(streaming, model, prompts, n_tokens, training):
    own = list(range(len(prompts)))
    model.train(training)
    added = together(streaming, model, prompts, n_tokens, Decoding(), seeds=own)
    for prompt, tokens, seed in zip(prompts, added, own, strict=True):
        assert tokens == alone(model, prompt, n_tokens, Decoding(), seed, ())


@given(known_models(VOCAB, 12), prompts(), sizes(1, 6))
def test_reads_each_token_once(streaming, model, prompts, n_tokens):
    added = together(
        streaming, model, prompts, n_tokens, Decoding(), seeds=[0] * len(prompts), stop=[0]
    )
    # A row that has met its stop token was not read beyond the token before it.
    longest = max(
        len(prompt) + len(tokens) - (len(tokens) == n_tokens)
        for prompt, tokens in zip(prompts, added, strict=True)
    )
    assert sum(ids.shape[-1] for ids in model.seen) == longest


@given(known_models(TOKENIZER.vocab_size, sizes(1, 4)))
def test_reads_in_eval_mode(streaming, model):
    mode = model.training
    for _ in streaming.generate_batch(model, [[1], [2, 3]], 3, Decoding(), seeds=[0, 1]):
        assert model.training == mode
    for _ in streaming.stream(model, TOKENIZER, "é", 3, Decoding(), seed=0):
        assert model.training == mode
    assert not any(model.modes)


@limits(max_examples=15)
@given(gpts(), prompts(), sizes(0, 4))
def test_writes_where_the_model_is(streaming, model, prompts, n_tokens):
    def write():
        own = range(len(prompts))
        return list(streaming.generate_batch(model, prompts, n_tokens, chosen, seeds=own))

    chosen = Decoding()
    expected = write()
    with elsewhere():
        written = write()
    assert written == expected


@given(known_models(VOCAB, 3), known_models(TOKENIZER.vocab_size, 3), st.integers(max_value=-1))
def test_rejects_what_cannot_begin(streaming, model, writer, below):
    def begin(prompts=((1,), (2, 3)), n_tokens=2, seeds=(0, 1), stop=()):
        streaming.generate_batch(model, prompts, n_tokens, Decoding(), seeds=seeds, stop=stop)

    for empty in ((), ((1,), ())):
        with rejects("prompts", empty):
            begin(prompts=empty)
    with rejects("seeds", 2, 1):
        begin(seeds=(0,))
    with rejects("n_tokens", below):
        begin(n_tokens=below)
    for stranger in (below, VOCAB):
        with rejects("stop", stranger, VOCAB - 1):
            begin(stop=[stranger])
    with rejects("stop", TOKENIZER.vocab_size):
        stop = [TOKENIZER.vocab_size]
        streaming.stream(writer, TOKENIZER, "a", 1, Decoding(), seed=0, stop=stop)
