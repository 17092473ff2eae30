from itertools import takewhile

import torch
from hypothesis import example, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from gptspec.generation import decoding as single
from gptspec.generation.decoding import Decoding
from gptspec.gpt.model import GPT, GPTConfig
from gptspec.tokenization import bpe
from known import SEEDS, Known, decoding_settings, known_models, modes
from strategies import (
    default_type,
    elsewhere,
    in_turns,
    keeps,
    rejects,
    sizes,
    texts,
    unwritten,
)

VOCAB = 4
# Its tokens are bytes, parts of characters, characters, and more than one.
TOKENIZER = bpe.train(["naïve café é日本語日本 🙂🙃👩👧 éé日日"] * 2, 275)
END = TOKENIZER.end_of_text
few = limits(max_examples=25)
ids = st.lists(st.integers(0, TOKENIZER.vocab_size - 1), max_size=12)


def characters():
    """Texts that take many bytes a character, or several characters a token."""
    words = st.lists(st.sampled_from(["naïve", " café", " é", "日本語"]), max_size=4)
    return texts(8) | st.text("aé日🙂👩", max_size=8) | words.map("".join)


def prompts(least=1):
    prompt = st.lists(st.integers(0, VOCAB - 1), min_size=least, max_size=6)
    return st.lists(prompt, min_size=1, max_size=3)


def settings():
    return decoding_settings().map(lambda drawn: Decoding(**drawn))


def known(vocab_size, context_length):
    """A model of a large vocabulary, or of a long context."""
    source = torch.Generator(torch.get_default_device()).manual_seed(1)
    return Known(torch.randn(7, vocab_size, generator=source), context_length)


def gpt(context_length, seed, positions="rotary", window=None):
    """A GPT of a few weights, all of them loud."""
    config = GPTConfig(
        vocab_size=VOCAB,
        context_length=context_length,
        d_model=4,
        n_layers=2,
        n_heads=2,
        dropout=0.5,
        tied=False,
        positions=positions,
        window=window,
    )
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(seed)
        model = GPT(config)
        for weight in model.parameters():
            weight.normal_()
    return model


def gpts():
    positions = st.sampled_from(["learned", "rotary", "relative", "sinusoidal", "none"])
    return st.builds(gpt, sizes(3, 9), SEEDS, positions, st.sampled_from([None, 2]))


def writer_of(order):
    """A GPT that writes its vocabulary in a circle: after each token comes the next in `order`."""
    n_tokens = len(order)
    config = GPTConfig(
        vocab_size=n_tokens,
        context_length=8,
        d_model=n_tokens,
        n_layers=1,
        n_heads=1,
        d_ff=1,
        tied=False,
    )
    with torch.random.fork_rng([]), torch.no_grad():
        model = GPT(config)
        for weight in model.parameters():
            weight.zero_()  # so the block adds nothing to the residual stream
        model.norm.weight.fill_(1)
        model.tokens.weight.fill_diagonal_(1)
        model.head.weight[torch.tensor(order).roll(-1), torch.tensor(order)] = 100.0
    return model


def circle(beginning, seed=0):
    """All ids, in an order that begins with these."""
    assert len(set(beginning)) == len(beginning)
    source = torch.Generator("cpu").manual_seed(seed)
    others = torch.randperm(TOKENIZER.vocab_size, generator=source, device="cpu").tolist()
    return [*beginning, *(id for id in others if id not in set(beginning))]


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


@given(ids, st.lists(st.integers(0, 9)), st.sampled_from([list, set, tuple, frozenset]))
@example([*range(1000, 70_000)] * 2, [69_998, 69_999], list)
def test_nothing_after_the_end(streaming, ids, stop, kind):
    asked = []
    kept = list(streaming.until(watched(ids, asked), kind(stop)))
    assert kept == list(takewhile(lambda token: token not in stop, ids))
    assert asked == ids[: len(kept) + 1]
    assert list(streaming.until(ids, kind(stop))) == kept


@given(ids)
@example([END, 240, 159, 153, 130, 240, 159, END] * 700)
def test_pieces_are_the_text(streaming, ids):
    told = list(streaming.pieces(ids, TOKENIZER))
    assert "".join(told) == TOKENIZER.decode(ids)
    assert all(piece.encode() for piece in told)
    assert list(streaming.pieces(iter(ids), TOKENIZER)) == told


@given(characters())
@example("\ufeffnaïve <|endoftext|>\r\n e\u0301 \u00a0 123 👩\u200d👧")
@example("naïve 日本語 🙂" * 60)
def test_characters_come_whole_and_at_once(streaming, text):
    ids, asked, told = TOKENIZER.encode(text), [], []
    complete, n_bytes, counted, ends = 0, 0, 0, [0]  # how many characters the bytes complete
    for character in text:
        ends.append(ends[-1] + len(character.encode()))
    for piece in streaming.pieces(watched(ids, asked), TOKENIZER):
        told.append(piece)
        n_bytes += sum(len(TOKENIZER.token_bytes(id)) for id in asked[counted:])
        counted = len(asked)
        while complete < len(text) and ends[complete + 1] <= n_bytes:
            complete += 1
        assert "".join(told) == text[:complete]
    assert "".join(told) == text
    assert asked == ids


@given(ids, ids)
def test_streams_are_apart(streaming, first, second):
    with keeps(first, second):
        alone = [list(streaming.pieces(one, TOKENIZER)) for one in (first, second)]
        started = [streaming.pieces(one, TOKENIZER) for one in (first, second)]
        assert in_turns(*started) == alone


@few
@given(
    known_models(TOKENIZER.vocab_size, sizes(1, 9)), characters(), sizes(0, 8), settings(), SEEDS,
    st.data(),
)  # fmt: skip
@example(known(TOKENIZER.vocab_size, 9), "a<|endoftext|>", 8, Decoding(), 0, None)
@example(known(TOKENIZER.vocab_size, 9), "", 8, Decoding(), 2**64 - 1, None)
@example(known(TOKENIZER.vocab_size, 1_104), "naïve 12 " * 150, 8, Decoding(top_k=9), 5, None)
def test_streams_what_is_generated(streaming, model, prompt, n_tokens, decoding, seed, data):
    begun = TOKENIZER.encode(prompt) or [END]
    free = alone(model, begun, n_tokens, decoding, seed, ())
    some = st.lists(st.sampled_from([*free, 0, END]), max_size=3)
    stop = data.draw(st.none() | some, "stop") if data else None
    with keeps(model):
        lent = None if stop is None else list(stop)
        told = streaming.stream(model, TOKENIZER, prompt, n_tokens, decoding, seed=seed, stop=lent)
        if lent is not None:
            lent[:] = [1, 2, 3]  # the caller's again
        told = "".join(told)
    last = [END] if stop is None else stop
    kept = takewhile(lambda token: token not in last, free)
    assert told == TOKENIZER.decode(kept)


STORY = "naïve café 日本語 🙂"  # no token of it occurs twice


@limits(max_examples=10)
@given(
    sizes(1, len(STORY)), st.sampled_from([0.0, 1.0]), ids.filter(bool), sizes(0, 12),
    st.lists(st.integers(0, 15), max_size=3), SEEDS,
)  # fmt: skip
@example(5, 1.0, TOKENIZER.encode("é"), 20, [9, 5, 13], 3)
def test_a_known_model_writes_a_known_text(
    streaming, cut, temperature, prompt, n_tokens, stops, seed
):
    """From text to ids, through a GPT whose next token is known for every prefix, to text."""
    decoding, story = Decoding(temperature=temperature), TOKENIZER.encode(STORY)
    begun = TOKENIZER.encode(STORY[:cut])
    if begun == story[: len(begun)]:  # and the cut is not inside a token
        model = writer_of(circle([*story, END]))
        told = streaming.stream(model, TOKENIZER, STORY[:cut], 99, decoding, seed=seed)
        assert STORY[:cut] + "".join(told) == STORY
        beyond = circle([*story, END])
        for stop in ([], [beyond[len(story) + 3]]):  # then the end of the text is no stop
            told = streaming.stream(
                model, TOKENIZER, STORY[:cut], 20, decoding, seed=seed, stop=stop
            )
            written = takewhile(lambda token: token not in stop, beyond[len(begun) :][:20])
            assert "".join(told) == TOKENIZER.decode(written)
    order = circle(prompt[-1:], seed)
    model, stop = writer_of(order), [order[1 + place] for place in stops]
    rows = [prompt, [*prompt, *order[1:4]]]  # the second has been given a part of it
    added = together(streaming, model, rows, n_tokens, decoding, seeds=[seed, 0], stop=stop)
    for first, tokens in zip((1, 4), added, strict=True):
        kept = takewhile(lambda token: token not in stop, order[first : first + n_tokens])
        assert tokens == list(kept)


@given(known_models(VOCAB, sizes(1, 9)), prompts(), sizes(0, 6), settings(), st.data())
@example(known(VOCAB, 1_104), [[1], [2, 0] * 550, [3, 1, 0]], 6, Decoding(top_p=0.9), None)
@example(known(70_000, 6), [[69_999, 3], [65_536]], 6, Decoding(repetition_penalty=3.0), None)
@example(known(VOCAB, 8), [[1, 2, 0][: 1 + n % 3] for n in range(12)], 9, Decoding(), None)
def test_a_batch_is_its_rows(streaming, model, prompts, n_tokens, decoding, data):
    count = len(prompts)
    own = data.draw(st.lists(SEEDS, min_size=count, max_size=count)) if data else range(count)
    stop = data.draw(st.sets(st.integers(0, VOCAB - 1), max_size=3)) if data else ()
    with keeps(model, prompts):
        added = together(streaming, model, prompts, n_tokens, decoding, seeds=own, stop=stop)
    for prompt, tokens, seed in zip(prompts, added, own, strict=True):
        assert tokens == alone(model, prompt, n_tokens, decoding, seed, stop)
        assert all(type(id) is int for id in tokens)


@given(known_models(VOCAB, sizes(1, 9)), prompts(), prompts(), sizes(1, 4), settings(), SEEDS)
def test_calls_do_not_meet(streaming, model, first, second, n_tokens, decoding, seed):
    started, expected = [], []
    for place, batch in enumerate((first, second)):
        own = [seed // 2 + place + row for row in range(len(batch))]
        lent = [list(prompt) for prompt in batch]
        stop = [place]
        started.append(streaming.generate_batch(
            model, lent, n_tokens, decoding, seeds=own, stop=stop
        ))  # fmt: skip
        for values in (*lent, own, stop):
            values[:] = [2, 2]  # the caller's again
        expected.append([
            alone(model, prompt, n_tokens, decoding, seed // 2 + place + row, [place])
            for row, prompt in enumerate(batch)
        ])  # fmt: skip
    try:
        with keeps(model):
            written = in_turns(*started)
    except (IndexError, RuntimeError) as error:
        if unwritten(error):
            raise
        raise AssertionError(f"the other call is in the way: {error}") from error
    for rows, pairs in zip(expected, written, strict=True):
        for row, tokens in enumerate(rows):
            assert [id for place, id in pairs if place == row] == tokens


@limits(max_examples=15)
@given(gpts(), prompts(least=2), sizes(3, 6), st.booleans())
@example(gpt(1_104, 2), [[1, 3] * 548, [2, 0, 1] * 366], 4, False)
@example(gpt(300, 3, "learned", 80), [[1, 0] * 148], 6, True)
def test_a_cache_changes_nothing(streaming, model, prompts, n_tokens, training):
    own = list(range(len(prompts)))
    model.train(training)
    added = together(streaming, model, prompts, n_tokens, Decoding(), seeds=own)
    for prompt, tokens, seed in zip(prompts, added, own, strict=True):
        assert tokens == alone(model, prompt, n_tokens, Decoding(), seed, ())


@given(known_models(VOCAB, 12), prompts(), st.sets(st.integers(0, VOCAB - 1), min_size=1))
def test_n_tokens_is_only_a_limit(streaming, model, prompts, stop):
    """What is asked for at most takes no memory before it is written."""
    try:
        written = streaming.generate_batch(
            model, prompts, 10**15, Decoding(), seeds=range(len(prompts)), stop=stop
        )
        next(written, None)
    except (RuntimeError, MemoryError) as error:
        if unwritten(error):
            raise
        raise AssertionError(f"no room for what nobody has written: {error}") from error


@given(known_models(VOCAB, 12), prompts(), sizes(1, 6))
def test_reads_each_token_once(streaming, model, prompts, n_tokens):
    added = together(
        streaming, model, prompts, n_tokens, Decoding(), seeds=[0] * len(prompts), stop=[0]
    )
    # A row that has met its stop token was not read beyond the token before it.
    readings = [len(tokens) + (len(tokens) < n_tokens) for tokens in added]
    first, *others = [tuple(ids.shape) for ids in model.seen]
    assert first == (len(prompts), max(map(len, prompts)))
    under_way = [sum(count > step for count in readings) for step in range(1, max(readings))]
    assert others == [(count, 1) for count in under_way]


def joined(streaming, model, plan):
    """What a batch adds to texts, each with the step at which it joins."""
    batch, step = streaming.Batch(model), 0
    added = {place: [] for place in range(len(plan))}
    places = sorted(range(len(plan)), key=lambda place: plan[place][0])
    numbers = {}
    while places or len(batch):
        while places and plan[places[0]][0] <= step:
            _, prompt, n_tokens, decoding, seed, stop = plan[places[0]]
            lent = list(prompt)
            number = batch.join(iter(lent), n_tokens, decoding, seed=seed, stop=stop)
            assert number == len(numbers)
            numbers[number] = places.pop(0)
        for number, token in batch.step():
            assert type(token) is int
            added[numbers[number]].append(token)
        step += 1
    assert batch.step() == []
    return [added[place] for place in range(len(plan))]


def plans():
    prompt = st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=6)
    stop = st.sampled_from([(), (0,), (1, 2)])
    text = st.tuples(sizes(0, 6), prompt, sizes(0, 8), settings(), SEEDS, stop)
    return st.lists(text, min_size=1, max_size=4)


@few
@given(gpts() | known_models(VOCAB, sizes(1, 9)), plans())
@example(
    gpt(1_104, 2), [(n, [n % 4] * (1 + 340 * (n % 4)), 12, Decoding(), n, ()) for n in range(9)]
)
@example(gpt(9, 3, "learned", 3), [(2 * n, [1, 2], 12, Decoding(), n, ()) for n in range(5)])
@example(gpt(20, 4, "alibi"), [(n, [3] * (1 + n), 12, Decoding(), n, ()) for n in range(5)])
@example(gpt(20, 4, "sinusoidal"), [(n, [3] * (1 + n), 9, Decoding(), n, ()) for n in range(5)])
def test_joins_as_if_alone(streaming, model, plan):
    with keeps(model):
        written = joined(streaming, model, plan)
    for (_, prompt, n_tokens, decoding, seed, stop), tokens in zip(plan, written, strict=True):
        assert tokens == alone(model, prompt, n_tokens, decoding, seed, stop)


@given(known_models(TOKENIZER.vocab_size, sizes(1, 4)))
def test_reads_in_eval_mode(streaming, model):
    before = modes(model)
    for _ in streaming.generate_batch(model, [[1], [2, 3]], 3, Decoding(), seeds=[0, 1]):
        assert modes(model) == before
    for _ in streaming.stream(model, TOKENIZER, "é", 3, Decoding(), seed=0):
        assert modes(model) == before
    assert not any(model.modes)


@limits(max_examples=15)
@given(gpts(), prompts(), sizes(0, 4), decoding_settings())
def test_writes_where_the_model_is(streaming, model, prompts, n_tokens, drawn):
    def write():
        own, chosen = range(len(prompts)), Decoding(**drawn)
        return list(streaming.generate_batch(model, prompts, n_tokens, chosen, seeds=own))

    expected = write()
    with elsewhere():
        written = write()
    assert written == expected
    with default_type(torch.float16):
        assert write() == expected


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
    for seed in (below, 2**64):
        with rejects("seed", seed):
            begin(seeds=(0, seed))
    for stranger in (below, VOCAB):
        with rejects("stop", stranger, VOCAB - 1):
            begin(stop=[stranger])
    with rejects("ids", "[]"):
        streaming.Batch(model).join([], 1, Decoding(), seed=0)
    with rejects("stop", TOKENIZER.vocab_size):
        stop = [TOKENIZER.vocab_size]
        streaming.stream(writer, TOKENIZER, "a", 1, Decoding(), seed=0, stop=stop)
