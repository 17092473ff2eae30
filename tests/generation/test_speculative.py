from copy import deepcopy
from itertools import product
from unittest.mock import patch

import torch
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from gptspec.generation import decoding as single
from gptspec.generation.decoding import Decoding
from known import known_models
from strategies import assert_close, elsewhere, in_float64, rejects, sizes, tensors

VOCAB = 3
GREEDY = Decoding(temperature=0.0)
few = limits(max_examples=25)
seeds = st.integers(0, 2**32)


def distributions(*shape):
    """Rows that sum to one, some of them with zeros."""
    logits = tensors(*shape)
    return (
        logits | logits.map(lambda x: x.masked_fill(x < x.median(-1, True).values, -torch.inf))
    ).map(lambda x: x.softmax(-1))


def prompts():
    return st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=6)


def settings():
    """Settings that sharpen or flatten, and remember what was said."""
    return st.builds(
        Decoding,
        temperature=st.sampled_from([0.5, 1.0, 2.0]),
        penalty=st.sampled_from([1.0, 3.0]),
    )


def pairs(vocab_size=VOCAB):
    """A target and a draft, each with a context of its own."""
    model = known_models(vocab_size, sizes(1, 9))
    return st.tuples(model, model)


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
    stands = torch.zeros(())
    for token, chance in enumerate(offered[0]):
        if chance > 0:
            joint = speculative.outcomes(wanted, offered, torch.tensor([token]))
            stands += chance * joint[1].sum()
    assert_close(stands, torch.minimum(wanted[0], offered[0]).sum())


@given(pairs(), prompts(), sizes(0, 9), sizes(1, 4), seeds)
def test_greedy_is_greedy(speculative, models, prompt, n_tokens, n_drafted, seed):
    model, draft = models
    tokens = speculative.generate(
        model, draft, prompt, n_tokens, GREEDY, seed=seed, n_drafted=n_drafted
    )
    assert list(tokens) == list(single.generate(model, prompt, n_tokens, GREEDY, seed=0))


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


@given(pairs(), prompts(), sizes(0, 9), sizes(1, 4), seeds)
def test_every_reading_adds(speculative, models, prompt, n_tokens, n_drafted, seed):
    model, draft = models
    tokens = list(
        speculative.generate(
            model, draft, prompt, n_tokens, Decoding(), seed=seed, n_drafted=n_drafted
        )
    )
    assert len(tokens) == n_tokens
    assert len(model.seen) <= n_tokens
    assert all(len(ids) <= model.config.context_length for ids in model.seen + draft.seen)


@given(known_models(VOCAB, sizes(1, 9)), prompts(), sizes(0, 9), sizes(1, 4), seeds)
def test_a_twin_is_believed(speculative, model, prompt, n_tokens, n_drafted, seed):
    twin = deepcopy(model)
    list(speculative.generate(model, twin, prompt, n_tokens, Decoding(), seed=seed,
                              n_drafted=n_drafted))  # fmt: skip
    done, readings, context_length = 0, 0, model.config.context_length
    while done < n_tokens:
        room = max(context_length - len(prompt) - done, 0)
        done += min(n_drafted, room, n_tokens - done - 1) + 1
        readings += 1
    assert len(model.seen) == readings
    assert len(twin.seen) == n_tokens - readings


@given(pairs(), prompts(), sizes(0, 4))
def test_writes_where_the_model_is(speculative, models, prompt, n_tokens):
    def write():
        return list(speculative.generate(*models, prompt, n_tokens, chosen, seed=0))

    chosen = Decoding()
    expected = write()
    with elsewhere():
        written = write()
    assert written == expected


@given(pairs(), prompts(), settings(), seeds, seeds)
def test_same_seed_same_tokens(speculative, models, prompt, decoding, seed, other):
    def text():
        return list(speculative.generate(*models, prompt, 6, decoding, seed=seed))

    once = text()
    torch.manual_seed(other)
    assert text() == once


@given(pairs(), prompts())
def test_reads_in_eval_mode(speculative, models, prompt):
    before = [model.training for model in models]
    for _ in speculative.generate(*models, prompt, 4, Decoding(), seed=0):
        assert [model.training for model in models] == before
    assert not any(mode for model in models for mode in model.modes)


@given(pairs(), known_models(VOCAB + 1, 3), st.integers(max_value=-1))
def test_rejects_what_does_not_fit(speculative, models, stranger, below):
    def generate(ids=(0,), n_tokens=3, draft=models[1], n_drafted=2):
        speculative.generate(models[0], draft, ids, n_tokens, GREEDY, seed=0, n_drafted=n_drafted)

    with rejects("ids", "[]"):
        generate(ids=())
    with rejects("n_tokens", below):
        generate(n_tokens=below)
    with rejects("n_drafted", below + 1):
        generate(n_drafted=below + 1)
    with rejects("draft", VOCAB + 1, VOCAB):
        generate(draft=stranger)
