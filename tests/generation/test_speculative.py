from copy import deepcopy
from itertools import product
from unittest.mock import patch

import torch
from hypothesis import example, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from gptspec.generation import decoding as single
from gptspec.generation.decoding import Decoding
from gptspec.gpt.model import GPT, GPTConfig
from known import SEEDS, Known, decoding_settings, known_models, modes
from strategies import (
    HALVES,
    assert_close,
    assert_rounded,
    assert_same_on_views,
    default_type,
    elsewhere,
    gradients,
    half_and_exact,
    in_float64,
    in_turns,
    keeps,
    owned,
    rejects,
    sizes,
    tensors,
    unwritten,
)

VOCAB = 3
GREEDY = Decoding(temperature=0.0)
few = limits(max_examples=25)


def distributions(*shape):
    """Rows that sum to one, some of them with zeros."""
    logits = tensors(*shape)
    return (
        logits | logits.map(lambda x: x.masked_fill(x < x.median(-1, True).values, -torch.inf))
    ).map(lambda x: x.softmax(-1))


def prompts():
    return st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=6)


def settings():
    return decoding_settings().map(lambda drawn: Decoding(**drawn))


def pairs(vocab_size=VOCAB):
    """A target and a draft, each with a context of its own."""
    model = known_models(vocab_size, sizes(1, 9))
    return st.tuples(model, model)


def known(vocab_size, context_length, seed):
    """A model of a large vocabulary, or of a long context."""
    source = torch.Generator(torch.get_default_device()).manual_seed(seed)
    return Known(torch.randn(7, vocab_size, generator=source), context_length)


def rounds(speculative, target, draft, n_drafted):
    """Yield every draft, how probable it is, and the outcomes it has.

    `target` and `draft` hold a distribution for each text so far.
    """
    for drafted in product(range(VOCAB), repeat=n_drafted):
        heads = [drafted[:n] for n in range(n_drafted + 1)]
        offered = torch.stack([draft[head] for head in heads])[:-1]
        chance = torch.stack([row[token] for row, token in zip(offered, drafted, strict=True)])
        if (chance > 0).all():
            wanted = torch.stack([target[head] for head in heads])
            ids = torch.tensor(drafted)
            yield drafted, chance.prod(), speculative.outcomes(wanted, offered, ids)


def tables(n_drafted):
    """A distribution for every text of up to `n_drafted` tokens."""
    texts = [text for n in range(n_drafted + 1) for text in product(range(VOCAB), repeat=n)]
    rows = distributions(len(texts), VOCAB)
    return rows.map(lambda rows: dict(zip(texts, rows, strict=True)))


@given(distributions(2, VOCAB), distributions(1, VOCAB))
def test_next_token_is_the_targets(speculative, wanted, offered):
    chosen = torch.zeros(VOCAB)
    for token, chance in enumerate(offered[0]):
        if chance > 0:
            joint = speculative.outcomes(wanted, offered, torch.tensor([token]))
            chosen += chance * joint[0]
            chosen[token] += chance * joint[1].sum()
    assert_close(chosen, wanted[0])


@few
@given(sizes(1, 2), st.data())
def test_texts_are_the_targets(speculative, n_drafted, data):
    target = data.draw(tables(n_drafted), "target")
    draft = data.draw(tables(n_drafted), "draft")
    # What stands of a text, if the round says at least as much: it must go on as the target does.
    said = {text: torch.zeros(VOCAB) for text in target}
    begun = {text: torch.zeros(()) for text in target}
    for drafted, chance, joint in rounds(speculative, target, draft, n_drafted):
        for stand in range(n_drafted + 1):
            begun[drafted[:stand]] += chance * joint[stand:].sum()
            said[drafted[:stand]] += chance * joint[stand]
            if stand < n_drafted:
                said[drafted[:stand]][drafted[stand]] += chance * joint[stand + 1 :].sum()
    for text, next_tokens in said.items():
        assert_close(next_tokens, begun[text] * target[text])
    assert_close(begun[()], torch.ones(()))


@given(distributions(2, VOCAB), distributions(1, VOCAB))
def test_overlap_is_accepted(speculative, wanted, offered):
    accepted = torch.zeros(())
    for token, chance in enumerate(offered[0]):
        if chance > 0:
            joint = speculative.outcomes(wanted, offered, torch.tensor([token]))
            accepted += chance * joint[1].sum()
    assert_close(accepted, torch.minimum(wanted[0], offered[0]).sum())


def coins(target, draft, drafted):
    """The outcomes of a round, a coin for each drafted token in turn."""
    still, rows = target.new_ones(()), []
    for token, p, q in zip(drafted.tolist(), target[:-1], draft, strict=True):
        accepted = p[token] / q[token] if p[token] < q[token] else p.new_ones(())
        missing = torch.where(p > q, p - q, 0 * p)
        rejected = missing / missing.sum() if missing.any() else missing
        rows.append(still * (1 - accepted) * rejected)
        still = still * accepted
    return torch.stack([*rows, still * target[-1]])


@st.composite
def drafts(draw, most=6):
    """A target, a draft that disagrees, and what the draft may have drafted."""
    n_drafted = draw(sizes(0, most))
    rows = tensors(2 * n_drafted + 1, draw(sizes(2, 5))).map(lambda x: (x / 3).softmax(-1))
    target, draft = draw(rows).split([n_drafted + 1, n_drafted])
    ids = draw(
        st.lists(st.integers(0, target.shape[-1] - 1), min_size=n_drafted, max_size=n_drafted)
    )
    return target.clone(), draft.clone(), torch.tensor(ids, dtype=torch.long)


def large():
    """A round of twelve tokens of a large vocabulary."""
    drafted = 69_999 - 37 * torch.arange(12)
    rows = (torch.arange(25)[:, None] * 37 + torch.arange(70_000) * 7919) % 1000
    target, draft = (rows.to(torch.get_default_dtype()) / 300).softmax(-1).split([13, 12])
    return target, draft, drafted


@given(drafts())
@example(large())
def test_outcomes_are_coins(speculative, drawn):
    target, draft, drafted = drawn
    with keeps(target, draft, drafted):
        joint = owned(lambda: speculative.outcomes(target, draft, drafted))
    assert joint.shape == target.shape
    assert_close(joint, coins(target, draft, drafted))
    if len(target) < 13:
        found = assert_same_on_views
        found(lambda target: speculative.outcomes(target, draft, drafted), target)
        found(lambda draft: speculative.outcomes(target, draft, drafted), draft)
        found(lambda ids: speculative.outcomes(target, draft, ids), drafted)


@given(drafts(most=3))
def test_gradients_are_those_of_coins(speculative, drawn):
    target, draft, drafted = drawn
    target, draft = target.requires_grad_(), draft.requires_grad_()
    near = (target[:-1] - draft).abs() < 1e-3  # at the corner of a minimum there is no gradient
    if not near.any():
        found = gradients(speculative.outcomes(target, draft, drafted), target, draft)
        expected = gradients(coins(target, draft, drafted), target, draft)
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other)


@given(drafts(most=4), st.sampled_from(HALVES))
def test_half_precision_is_rounded(speculative, drawn, dtype):
    target, draft, drafted = drawn
    (target, draft), (exact_target, exact_draft) = half_and_exact(dtype, target, draft)
    found = speculative.outcomes(target, draft, drafted)
    exact = speculative.outcomes(exact_target, exact_draft, drafted)
    # Each of n ratios, their product, 1 minus the last, a difference, a sum, a quotient, a product.
    assert_rounded(found, exact, roundings=2 * len(drafted) + 6, largest=1.0)


@given(pairs(), prompts(), sizes(0, 9), sizes(1, 4), st.sampled_from([1.0, 3.0]), SEEDS)
@example((known(70_000, 9, 1), known(70_000, 4, 2)), [69_999, 3], 12, 3, 1.0, 0)
@example(
    (known(VOCAB, 1_104, 1), known(VOCAB, 1_102, 1)), [0] * 60 + [1, 2] * 520, 8, 12, 9.0, 2**64 - 1
)
def test_greedy_is_greedy(speculative, models, prompt, n_tokens, n_drafted, penalty, seed):
    model, draft = models
    chosen = Decoding(temperature=0.0, repetition_penalty=penalty)
    tokens = speculative.generate(
        model, draft, prompt, n_tokens, chosen, seed=seed, n_drafted=n_drafted
    )
    assert list(tokens) == list(single.generate(model, prompt, n_tokens, chosen, seed=0))


def every_way(run):
    """Yield what `run` returns for each way its draws can fall, and how probable that way is.

    All chance must come from `torch.multinomial`, one draw a call.
    """
    ways = [()]
    while ways:
        way, chance, drawn = ways.pop(), 1.0, 0

        def draw(probabilities, num_samples, *, generator):
            nonlocal way, chance, drawn
            row = probabilities.flatten() / probabilities.sum()
            if drawn == len(way):
                first, *others = row.nonzero().flatten().tolist()
                ways.extend((*way, other) for other in others)
                way = (*way, first)
            chance *= row[way[drawn]].item()
            drawn += 1
            return torch.full((*probabilities.shape[:-1], num_samples), way[drawn - 1])

        with patch("torch.multinomial", draw):
            result = run()
        yield result, chance


@limits(max_examples=15)
@given(pairs(vocab_size=2), st.integers(0, 1), settings(), sizes(1, 2))
def test_generates_the_targets_texts(speculative, models, first, decoding, n_drafted):
    model, draft = models
    chances = dict.fromkeys(product(range(2), repeat=3), 0.0)
    ways = every_way(
        lambda: tuple(
            speculative.generate(model, draft, [first], 3, decoding, seed=0, n_drafted=n_drafted)
        )
    )
    for text, chance in ways:
        chances[text] += chance
    for text, chance in chances.items():
        said, expected = [first], 1.0
        for token in text:
            logits = model(torch.tensor(said[-model.config.context_length :]))[-1]
            expected *= single.distribution(logits, decoding, torch.tensor(said))[token].item()
            said.append(token)
        assert_close(torch.tensor(chance), torch.tensor(expected), **in_float64(atol=1e-9))


def gpt(seed, context_length, positions, window):
    """A GPT of a few weights, all of them loud."""
    config = GPTConfig(
        vocab_size=VOCAB, context_length=context_length, d_model=4, n_layers=2, n_heads=2,
        n_kv_heads=1, dropout=0.5, tied=False, positions=positions, window=window,
    )  # fmt: skip
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(seed)
        model = GPT(config)
        for weight in model.parameters():
            weight.normal_()
    return model


def gpts():
    seeds, positions = st.integers(0, 9), st.sampled_from(["learned", "rotary", "alibi"])
    windows = st.sampled_from([None, 1, 2, 3])
    return st.builds(gpt, seeds, sizes(3, 24), positions, windows)


@few
@given(gpts(), gpts(), prompts(), sizes(0, 16), sizes(1, 5), st.booleans())
@example(gpt(1, 300, "rotary", 20), gpt(2, 300, "learned", None), [0, 1, 2] * 80, 24, 6, True)
def test_a_cache_changes_nothing(speculative, model, draft, prompt, n_tokens, n_drafted, training):
    model.train(training)
    try:
        tokens = list(
            speculative.generate(
                model, draft, prompt, n_tokens, GREEDY, seed=0, n_drafted=n_drafted
            )
        )
    except ValueError as error:
        raise AssertionError(f"the cache cannot go back: {error}") from error
    text, context_length = list(prompt), model.config.context_length
    for _ in range(n_tokens):
        logits = model.read(torch.tensor(text[-context_length:]))[-1]
        text.append(int(single.greedy(logits)))
    assert tokens == text[len(prompt) :]


@given(pairs(), prompts(), sizes(0, 9), sizes(1, 4), settings(), SEEDS)
@example((known(VOCAB, 40, 1), known(VOCAB, 30, 2)), [0], 24, 5, Decoding(), 0)
def test_reads_what_is_new(speculative, models, prompt, n_tokens, n_drafted, decoding, seed):
    made = speculative.generate(*models, prompt, n_tokens, decoding, seed=seed, n_drafted=n_drafted)
    length = len(prompt) + len(list(made))
    for model in models:
        if length <= model.config.context_length:
            assert all(len(ids) <= n_drafted + 1 for ids in model.seen[1:])


@given(pairs(), prompts(), sizes(0, 9), sizes(1, 4), settings(), SEEDS)
def test_every_reading_adds(speculative, models, prompt, n_tokens, n_drafted, decoding, seed):
    model, draft = models
    tokens = list(
        speculative.generate(
            model, draft, iter(prompt), n_tokens, decoding, seed=seed, n_drafted=n_drafted
        )
    )
    assert len(tokens) == n_tokens
    assert all(type(id) is int for id in tokens)
    assert len(model.seen) <= n_tokens
    assert all(len(ids) <= model.config.context_length for ids in model.seen + draft.seen)


@given(
    known_models(VOCAB, sizes(1, 9)), prompts(), sizes(0, 9), st.none() | sizes(1, 4), settings(),
    SEEDS,
)  # fmt: skip
@example(known(VOCAB, 40, 1), [0], 20, 12, Decoding(), 0)
def test_an_equal_draft_is_accepted(
    speculative, model, prompt, n_tokens, n_drafted, decoding, seed
):
    twin = deepcopy(model)
    ahead = {} if n_drafted is None else {"n_drafted": n_drafted}
    list(speculative.generate(model, twin, prompt, n_tokens, decoding, seed=seed, **ahead))
    n_drafted = n_drafted or 4
    done, readings, context_length = 0, 0, model.config.context_length
    while done < n_tokens:
        room = max(context_length - len(prompt) - done, 0)
        done += min(n_drafted, room, n_tokens - done - 1) + 1
        readings += 1
    assert len(model.seen) == readings
    assert len(twin.seen) == n_tokens - readings


@given(pairs(), prompts(), sizes(0, 4), decoding_settings())
def test_writes_where_the_model_is(speculative, models, prompt, n_tokens, drawn):
    def write():
        return list(speculative.generate(*models, prompt, n_tokens, Decoding(**drawn), seed=0))

    expected = write()
    with elsewhere():
        written = write()
    assert written == expected
    with default_type(torch.float16):
        assert write() == expected


@given(pairs(), prompts(), settings(), SEEDS, SEEDS)
def test_same_seed_same_tokens(speculative, models, prompt, decoding, seed, other):
    def text():
        return list(speculative.generate(*models, prompt, 6, decoding, seed=seed))

    once = text()
    torch.manual_seed(other)
    with keeps(*models, prompt):
        assert text() == once


@few
@given(pairs(), prompts(), prompts(), settings(), SEEDS)
def test_calls_do_not_meet(speculative, models, first, second, decoding, seed):
    own = [seed // 2, seed // 2 + 1]
    alone = [
        list(speculative.generate(*deepcopy(models), prompt, 5, decoding, seed=each))
        for prompt, each in zip((first, second), own, strict=True)
    ]
    started = []
    for prompt, each in zip((first, second), own, strict=True):
        lent = list(prompt)
        started.append(speculative.generate(*models, lent, 5, decoding, seed=each))
        lent[:] = [0] * 9  # the caller's again
    try:
        with keeps(*models):
            together = in_turns(*started)
    except (IndexError, RuntimeError) as error:
        if unwritten(error):
            raise
        raise AssertionError(f"the other call is in the way: {error}") from error
    assert together == alone


LARGE = known(70_000, 3, 1), known(70_000, 3, 2)


@limits(max_examples=5)
@given(st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=2, unique=True))
@example([1, 2**16 + 1])
@example([0, 2**31])
def test_seeds_differ(speculative, two):
    """Two draws of four tokens among 70,000 are never the same by chance."""
    texts = [list(speculative.generate(*LARGE, [0], 4, Decoding(), seed=seed)) for seed in two]
    assert texts[0] != texts[1]


@given(pairs(), prompts())
def test_reads_in_eval_mode(speculative, models, prompt):
    before = [modes(model) for model in models]
    for _ in speculative.generate(*models, prompt, 4, Decoding(), seed=0):
        assert [modes(model) for model in models] == before
    assert not any(mode for model in models for mode in model.modes)


@given(pairs(), known_models(VOCAB + 1, 3), st.integers(max_value=-1))
def test_rejects_what_does_not_fit(speculative, models, stranger, below):
    def generate(ids=(0,), n_tokens=3, draft=models[1], n_drafted=2, seed=0):
        speculative.generate(
            models[0], draft, ids, n_tokens, GREEDY, seed=seed, n_drafted=n_drafted
        )

    with rejects("ids", "[]"):
        generate(ids=())
    with rejects("n_tokens", below):
        generate(n_tokens=below)
    with rejects("n_drafted", below + 1):
        generate(n_drafted=below + 1)
    for seed in (below, 2**64):
        with rejects("seed", seed):
            generate(seed=seed)
    with rejects("draft", VOCAB + 1, VOCAB):
        generate(draft=stranger)
