import math
import random
from copy import deepcopy
from typing import get_args

import torch
from hypothesis import assume, example, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from gptspec.gpt.config import PositionKind
from gptspec.gpt.model import GPT, GPTConfig
from known import SEEDS, Known, decoding_settings, modes
from strategies import (
    HALVES,
    LIFTED,
    assert_close,
    assert_same_on_views,
    default_type,
    elsewhere,
    gradients,
    in_turns,
    keeps,
    owned,
    rejects,
    sizes,
    tensors,
    token_ids,
    unwritten,
)

VOCAB = 5
few = limits(max_examples=25)  # where every example runs a model

MANY = 70_000
# Logits from -5 to 5 of a large vocabulary, each of them 70 times.
LARGE = (torch.arange(MANY) * 7919 % 1000 - 500).to(torch.get_default_dtype()) / 100
DEFAULTS = {
    "temperature": 1.0, "top_k": None, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0,
}  # fmt: skip


def scores(batch=1):
    """Logits of a few tokens, often with ties."""
    logits = tensors(sizes(1, 6), batch=batch)
    return logits | logits.map(torch.sign)


def shares():
    return st.floats(0.01, 1)


def any_settings():
    """All settings, from one end of their ranges to the other."""
    smallest, largest = 5e-324, 1.7e308
    return st.fixed_dictionaries(
        {
            "temperature": st.sampled_from([0.0, smallest, 1e-9, 1e39, largest]) | st.floats(0, 10),
            "top_k": st.none() | st.integers(1, 8),
            "top_p": st.sampled_from([1.0, smallest, 1e-60]) | shares(),
            "min_p": st.sampled_from([0.0, smallest, 1.0]) | st.floats(0, 1),
            "repetition_penalty": st.sampled_from([1.0, 1e6]) | st.floats(1, 10),
        }
    )


def source(seed):
    return torch.Generator(torch.get_default_device()).manual_seed(seed)


def build(config, seed):
    """A GPT whose weights are all loud."""
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(seed)
        model = GPT(config)
        for weight in model.parameters():
            weight.normal_()
    return model


@st.composite
def models(draw):
    """A GPT of a few weights and any kind, in either mode; all from a seed."""
    seed = draw(SEEDS)
    choose = random.Random(seed).choice
    config = GPTConfig(
        vocab_size=VOCAB,
        context_length=choose([1, 2, 3, 4]),
        d_model=4,
        n_layers=1,
        n_heads=1,
        dropout=0.5,
        positions=choose(get_args(PositionKind)),
        window=choose([None, None, 1, 2]),
    )
    return build(config, seed).train(choose([False, True]))


def known(vocab_size, context_length):
    """A model of a large vocabulary, or of a long context."""
    rows = torch.randn(7, vocab_size, generator=source(1))
    return Known(rows, context_length)


def prompts():
    """Prompts of one token and more, some longer than any of these models can read."""

    def prompt(seed):
        source = random.Random(seed)
        return [source.randrange(VOCAB) for _ in range(source.randint(1, 6))]

    return SEEDS.map(prompt)


@given(scores())
@example(LARGE)
@example(LARGE.flip(0))
def test_zero_is_argmax(decoding, logits):
    first = [row.index(max(row)) for row in logits.reshape(-1, logits.shape[-1]).tolist()]
    largest = torch.tensor(first, dtype=torch.long).view(logits.shape[:-1])
    certain = torch.nn.functional.one_hot(largest, logits.shape[-1]).to(logits)
    assert_close(decoding.greedy(logits), largest)
    assert_close(decoding.apply_temperature(logits, 0.0).softmax(-1), certain, rtol=0, atol=0)


@given(scores(), st.floats(0.1, 10))
@example(LARGE, 2.5)
def test_temperature_is_a_power(decoding, logits, temperature):
    raised = logits.softmax(-1) ** (1 / temperature)
    expected = raised / raised.sum(-1, keepdim=True)
    assert_close(decoding.apply_temperature(logits, temperature).softmax(-1), expected)


@given(scores(), st.integers(0, 5), st.sampled_from([torch.float32, torch.float64, *HALVES]))
def test_temperature_has_two_limits(decoding, logits, forbidden, dtype):
    logits = logits.to(dtype)
    if forbidden < logits.shape[-1] - 1:
        logits[..., forbidden] = -math.inf
    for temperature, left in [
        (5e-324, logits == logits.amax(-1, keepdim=True)),
        (1.7e308, logits > -math.inf),
    ]:
        reached = decoding.distribution(logits, decoding.Decoding(temperature=temperature))
        even = left.to(reached) / left.sum(-1, keepdim=True)
        assert_close(reached, even)
        assert (reached[~left] == 0).all()


@given(scores(), sizes(1, 7))
def test_top_k_keeps_k(decoding, logits, k):
    ties, n_tokens = logits.sign(), logits.shape[-1]
    both = ties.view(-1, n_tokens), decoding.top_k(ties, k).view(-1, n_tokens)
    for row, filtered in zip(*both, strict=True):
        kept = filtered > -math.inf
        assert kept.sum() == min(k, len(row))
        assert (row[kept].min() >= row[~kept]).all()


@given(scores(batch=0), shares())
@example(LARGE[:2000], 0.9)
@example(LARGE[:2000], 0.9995)
def test_top_p_keeps_the_smallest_set(decoding, logits, p):
    kept = decoding.top_p(logits, p) > -math.inf
    probabilities = logits.double().softmax(-1)
    mass, rounding = probabilities[kept].sum(), 1e-12 if torch.float64 == LIFTED else 1e-5
    assert mass >= p - rounding
    assert mass - probabilities[kept].min() < p + rounding
    assert (probabilities[kept].min() >= probabilities[~kept]).all()


@given(scores(), st.floats(0, 1))
@example(LARGE, 0.01)
def test_min_p_keeps_the_near(decoding, logits, p):
    kept = decoding.min_p(logits, p) > -math.inf
    behind = logits.amax(-1, keepdim=True) - logits
    limit = -math.log(p) if p > 0 else math.inf
    assert kept[behind <= limit - 1e-9].all()
    assert not kept[behind > limit + 1e-9].any()
    assert kept[behind == 0].all()


@given(st.integers(0, 5), st.integers(0, 3), st.data())
def test_thresholds_are_exact(decoding, doublings, n_forbidden, data):
    """Equal probabilities of 1, 1/2, 1/4, ... and their sums are exact in binary."""
    n_tokens = 2**doublings
    wanted = data.draw(st.integers(1, n_tokens), "wanted")
    ids = data.draw(st.permutations(range(n_tokens + n_forbidden)), "ids")[:n_tokens]
    logits = torch.full([n_tokens + n_forbidden], -math.inf)
    logits[ids] = 0.0
    drawn_from = decoding.distribution(logits, decoding.Decoding(top_p=wanted / n_tokens))
    assert drawn_from.nonzero().flatten().tolist() == sorted(ids)[:wanted]
    drawn_from = decoding.distribution(logits, decoding.Decoding(min_p=1.0))
    assert drawn_from.nonzero().flatten().tolist() == sorted(ids)
    # A half and two quarters: not equal, and as exact.
    logits = torch.tensor([0.5, 1.0, 0.5], dtype=LIFTED).log()
    for chosen, kept in [
        ({"top_p": 0.5}, [1]),
        ({"top_p": 0.75}, [0, 1]),
        ({"min_p": 0.5}, [0, 1, 2]),
    ]:
        drawn_from = decoding.distribution(logits, decoding.Decoding(**chosen))
        assert drawn_from.nonzero().flatten().tolist() == kept


@given(sizes(2, 200), st.data())
@example(70_000, None)
def test_ties_go_to_the_lowest_ids(decoding, n_tokens, data):
    kept = 66_000 if data is None else data.draw(st.integers(1, n_tokens - 1), "kept")
    logits = torch.arange(n_tokens).remainder(3).eq(1).to(LIFTED)  # a third of them ties for best
    order = sorted(range(n_tokens), key=lambda place: (place % 3 != 1, place))
    middle = logits.softmax(-1)[order].cumsum(-1)[kept - 1].item()
    middle -= logits.softmax(-1)[order][kept - 1].item() / 2  # away from both sums
    for chosen in ({"top_k": kept}, {"top_p": middle}):
        drawn_from = decoding.distribution(logits, decoding.Decoding(**chosen))
        assert drawn_from.nonzero().flatten().tolist() == sorted(order[:kept])
    chosen = decoding.Decoding(temperature=0.0)
    for place in (1, n_tokens - 1):
        logits[place:] += 9  # so that the largest is here or, where it ties, further on
        largest = logits.argmax()
        assert_close(decoding.sample(logits, chosen, source(place)), largest)


@given(scores(), st.data())
def test_filters_keep_ratios(decoding, logits, data):
    name, amounts = data.draw(
        st.sampled_from([("top_k", sizes()), ("top_p", shares()), ("min_p", shares())]), "filter"
    )
    logits = logits - data.draw(st.sampled_from([0, 2.0**40]), "shift")  # no softmax sees it
    filtered = getattr(decoding, name)(logits, data.draw(amounts, "amount"))
    before, after = logits.softmax(-1), filtered.softmax(-1)
    kept = filtered == logits
    assert_close(after, before * kept / (before * kept).sum(-1, keepdim=True))
    assert (after[~kept] == 0).all()


def lowered(logit, penalty):
    return logit / penalty if logit > 0 else logit * penalty


@given(scores(), st.floats(1, 10), st.data())
@example(torch.stack([LARGE, -LARGE]), 1.3, None)
def test_penalty_lowers_seen_tokens(decoding, logits, penalty, data):
    if data is None:
        ids = (torch.arange(2200) % 1100 * 63 + 600).view(2, 1100)  # up to 69,837
        ids[1] = ids[0, :3].repeat(400)[:1100]
    else:
        ids = data.draw(token_ids(logits.shape[-1], *logits.shape[:-1], sizes(0, 5)), "ids")
    expected = logits.clone().view(-1, logits.shape[-1])
    for row, seen in zip(expected, ids.view(len(expected), ids.shape[-1]), strict=True):
        for id in set(seen.tolist()):
            row[id] = lowered(row[id], penalty)
    penalized = decoding.apply_repetition_penalty(logits, ids, penalty)
    assert_close(penalized, expected.view(logits.shape))
    assert (penalized <= logits).all()


def drawn_from(logits, ids, *, temperature, top_k, top_p, min_p, repetition_penalty):
    """What one row of logits comes to, token by token, and how near a threshold was to any."""
    scores = [
        lowered(logit, repetition_penalty) if id in ids else logit
        for id, logit in enumerate(logits)
    ]
    order = sorted(range(len(scores)), key=lambda place: (-scores[place].item(), place))
    if temperature == 0:
        return torch.nn.functional.one_hot(torch.tensor(order[0]), len(scores)).to(LIFTED), 1.0
    probabilities = (torch.stack(scores) / temperature).softmax(-1)
    margins, kept, held = [1.0], [], 0.0
    share = sum(probabilities[id].item() for id in order[:top_k])
    for id in order[:top_k]:
        margins.append(abs(held - top_p))
        if held < top_p:
            kept.append(id)
        held += probabilities[id].item() / share
    least = min_p * probabilities[order[0]].item()
    margins += [abs(probabilities[id].item() - least) for id in kept[1:]]
    mask = torch.zeros(len(scores)).to(LIFTED)
    mask[[id for id in kept if probabilities[id] >= least]] = 1
    return probabilities * mask / (probabilities * mask).sum(), min(margins)


@given(scores(batch=0), decoding_settings(), st.data())
def test_settings_act_in_order(decoding, logits, chosen, data):
    ids = data.draw(token_ids(len(logits), sizes()), "ids")
    logits = logits.to(LIFTED).requires_grad_()
    expected, margin = drawn_from(logits, ids.tolist(), **chosen)
    assume(margin > 1e-5)  # on which side of it rounding decides
    found = decoding.distribution(logits, decoding.Decoding(**chosen), ids)
    assert_close(found, expected)
    for one, other in zip(gradients(found, logits), gradients(expected, logits), strict=True):
        assert_close(one, other)


@given(scores(), decoding_settings(), st.data())
@example(LARGE, DEFAULTS | {"top_p": 0.9}, None)
@example(LARGE, DEFAULTS | {"temperature": 0.7, "top_k": 40, "repetition_penalty": 1.1}, None)
def test_half_precision_is_lifted(decoding, logits, settings, data):
    axes = (*logits.shape[:-1], 3)
    ids = torch.zeros(3, dtype=torch.long)
    ids = ids if data is None else data.draw(token_ids(logits.shape[-1], *axes), "ids")
    chosen = decoding.Decoding(**settings)
    for dtype in HALVES:
        half = logits.to(dtype)
        found = decoding.distribution(half, chosen, ids)
        assert_close(found, decoding.distribution(half.float(), chosen, ids))
        tokens = decoding.sample(half, chosen, source(0), ids)
        assert_close(tokens, decoding.sample(half.float(), chosen, source(0), ids))


@given(scores(), decoding_settings(), st.data())
def test_arguments_stay(decoding, logits, settings, data):
    ids = data.draw(token_ids(logits.shape[-1], *logits.shape[:-1], 3), "ids")
    chosen = decoding.Decoding(**settings)
    with keeps(logits, ids):
        owned(lambda: decoding.distribution(logits, chosen, ids))
        owned(lambda: decoding.sample(logits, chosen, source(0), ids))
        owned(lambda: decoding.greedy(logits))
        owned(lambda: decoding.apply_repetition_penalty(logits, ids, chosen.repetition_penalty))
        owned(lambda: decoding.apply_temperature(logits, chosen.temperature))
        owned(lambda: decoding.top_k(logits, chosen.top_k or 9))
        owned(lambda: decoding.top_p(logits, chosen.top_p))
        owned(lambda: decoding.min_p(logits, chosen.min_p))


@given(scores(), decoding_settings(), st.data())
def test_views_are_decoded_alike(decoding, logits, settings, data):
    ids = data.draw(token_ids(logits.shape[-1], *logits.shape[:-1], 3), "ids")
    chosen = decoding.Decoding(**settings)
    assert_same_on_views(lambda logits: decoding.distribution(logits, chosen, ids), logits)
    assert_same_on_views(lambda ids: decoding.distribution(logits, chosen, ids), ids)
    assert_same_on_views(lambda logits: decoding.sample(logits, chosen, source(0), ids), logits)


@given(scores())
def test_defaults_change_nothing(decoding, logits):
    ids = torch.zeros(*logits.shape[:-1], 1, dtype=torch.long)
    unchanged = decoding.distribution(logits, decoding.Decoding(), ids)
    assert_close(unchanged, logits.to(LIFTED).softmax(-1))


@given(tensors(sizes(2, 3), sizes(1, 6)), any_settings() | decoding_settings(), st.data())
def test_rows_are_independent(decoding, logits, settings, data):
    chosen = decoding.Decoding(**settings)
    ids = data.draw(token_ids(logits.shape[-1], len(logits), 2), "ids")
    together = decoding.distribution(logits, chosen, ids)
    for row, said, among in zip(logits, ids, together, strict=True):
        assert_close(decoding.distribution(row, chosen, said), among)


@given(
    st.lists(st.floats(-1e30, 1e30) | st.just(-math.inf), min_size=1, max_size=6),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    any_settings(),
)
@example([5.0, 4.0], torch.float32, {"temperature": 0.0, "repetition_penalty": 9.0})
def test_every_setting_decodes(decoding, values, dtype, settings):
    logits = torch.tensor([*values, 0.0], dtype=dtype)
    chosen = decoding.Decoding(**settings)
    probabilities = decoding.distribution(logits, chosen, torch.tensor([0]))
    assert probabilities.shape == logits.shape
    assert probabilities.dtype == torch.promote_types(dtype, torch.float32)
    assert (probabilities >= 0).all()
    assert (probabilities[logits == -math.inf] == 0).all()
    assert (probabilities > 0).sum() <= (chosen.top_k or len(logits))
    assert_close(probabilities.sum(), torch.tensor(1, dtype=probabilities.dtype))
    token = decoding.sample(logits, chosen, source(0), torch.tensor([0]))
    assert probabilities[token] > 0


@given(scores(batch=0), st.data())
def test_draws_match_probabilities(decoding, logits, data):
    """Bernstein's bound: a fair draw strays farther with a chance below 2 exp(-20)."""
    n_draws, unlikely = 2000, 20
    seed = data.draw(SEEDS, "seed")
    chosen = decoding.Decoding(temperature=data.draw(st.sampled_from([0.5, 1.0]), "temperature"))
    expected = n_draws * decoding.distribution(logits, chosen)
    drawn = decoding.sample(logits.expand(n_draws, -1), chosen, source(seed))
    counts = drawn.bincount(minlength=len(logits))
    variance = expected * (1 - expected / n_draws)
    assert ((counts - expected).abs() <= (2 * unlikely * variance).sqrt() + 2 * unlikely / 3).all()


@given(scores(batch=2), SEEDS, decoding_settings())
def test_same_seed_same_draws(decoding, logits, seed, settings):
    chosen = decoding.Decoding(**settings)
    rows = logits.expand(20, *logits.shape)
    once = decoding.sample(rows, chosen, source(seed))
    assert once.shape == rows.shape[:-1]
    with keeps(rows):
        assert_close(decoding.sample(rows, chosen, source(seed)), once)


def plain(decoding, model, prompt, n_tokens, chosen, seed):
    """A loop that reads the whole text for every token."""
    draws, text, mode = source(seed), list(prompt), model.training
    model.eval()
    for _ in range(n_tokens):
        logits = model(torch.tensor(text[-model.config.context_length :]))[-1].detach()
        text.append(int(decoding.sample(logits, chosen, draws, torch.tensor(text))))
    model.train(mode)
    return text[len(prompt) :]


@given(models(), prompts(), sizes(0, 6), st.just(DEFAULTS) | decoding_settings(), SEEDS)
@example(known(MANY, 4), [69_999, 3, 65_536], 6, DEFAULTS | {"repetition_penalty": 3.0}, 1)
@example(known(VOCAB, 1_104), [3, 0, 1, 4] * 275, 8, DEFAULTS | {"top_k": 3}, 2**64 - 1)
def test_generate_is_a_plain_loop(decoding, model, prompt, n_tokens, settings, seed):
    chosen = decoding.Decoding(**settings)
    expected = plain(decoding, model, prompt, n_tokens, chosen, seed)
    with keeps(model, prompt):
        generated = list(decoding.generate(model, prompt, n_tokens, chosen, seed=seed))
        assert generated == expected
        assert all(type(id) is int for id in generated)
        assert list(decoding.generate(model, iter(prompt), n_tokens, chosen, seed=seed)) == expected


@given(models(), prompts(), sizes(0, 4), decoding_settings())
def test_writes_where_the_model_is(decoding, model, prompt, n_tokens, settings):
    def write():
        chosen = decoding.Decoding(**settings)
        return list(decoding.generate(model, prompt, n_tokens, chosen, seed=0))

    expected = write()
    with elsewhere():
        written = write()
    assert written == expected
    with default_type(torch.float16):
        assert write() == expected


@given(models(), prompts(), prompts(), decoding_settings(), sizes(1, 4), SEEDS)
def test_calls_do_not_meet(decoding, model, first, second, settings, n_tokens, seed):
    chosen = decoding.Decoding(**settings)
    started = []
    for place, prompt in enumerate((first, second)):
        lent = list(prompt)
        started.append(decoding.generate(model, lent, n_tokens, chosen, seed=seed // 2 + place))
        lent[:] = [0] * 9  # the caller's again
    alone = [
        plain(decoding, deepcopy(model), prompt, n_tokens, chosen, seed // 2 + place)
        for place, prompt in enumerate((first, second))
    ]
    try:
        with keeps(model):
            together = in_turns(*started)
    except (IndexError, RuntimeError) as error:
        if unwritten(error):
            raise
        raise AssertionError(f"the other call is in the way: {error}") from error
    assert together == alone


@given(models(), prompts(), sizes(1, 4), sizes(0, 4))
def test_reads_each_token_once(decoding, model, prompt, n_tokens, taken):
    read, seen, limit = [], 0, model.config.context_length
    model.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].flatten().tolist()))
    tokens = decoding.generate(model, prompt, n_tokens, decoding.Decoding(), seed=0)
    text = list(prompt)
    for token, _ in zip(tokens, range(taken), strict=False):
        assert read.pop() == (text[seen:] if len(text) <= limit else text[-limit:])
        assert not read
        seen = len(text)
        text.append(token)


@few
@given(models(), prompts(), SEEDS)
def test_reads_in_eval_mode(decoding, model, prompt, seed):
    choose = random.Random(seed).choice
    for part in model.modules():  # as where a part of a model is not to be trained
        part.training = choose([False, True])
    before, reading = modes(model), []
    model.register_forward_pre_hook(lambda *_: reading.append(any(modes(model))))
    for _ in decoding.generate(model, prompt, 2, decoding.Decoding(), seed=0):
        assert modes(model) == before
    assert reading == [False, False]
    assert modes(model) == before


below, above = st.floats(max_value=-0.001), st.floats(min_value=1.001)
WRONG = {
    "temperature": below | st.just(math.inf) | st.just(math.nan),
    "top_k": st.integers(max_value=0) | st.sampled_from([1.5, True]),
    "top_p": st.just(0) | below | above | st.just(math.nan),
    "min_p": below | above | st.just(math.nan),
    "repetition_penalty": st.floats(max_value=0.999) | st.just(math.inf) | st.just(math.nan),
}


@given(st.data())
def test_rejects_settings(decoding, data):
    logits = torch.tensor([1.0, -1.0])
    for name, values in WRONG.items():
        value = data.draw(values, name)
        with rejects(name, value):
            decoding.Decoding(**{name: value})
        if name == "temperature":
            with rejects("temperature", value):
                decoding.apply_temperature(logits, value)
        elif name == "repetition_penalty":
            with rejects("penalty", value):
                decoding.apply_repetition_penalty(logits, torch.tensor([0]), value)
        else:
            with rejects(name[-1], value):
                getattr(decoding, name)(logits, value)


@given(scores(batch=0), st.sampled_from([math.nan, math.inf]), st.data())
def test_rejects_broken_logits(decoding, logits, broken, data):
    logits[data.draw(st.integers(0, len(logits) - 1), "place")] = broken
    for wrong in [logits, logits.new_full([2, 3], -math.inf)]:
        with rejects("logits", wrong.amax().item()):
            decoding.sample(wrong, decoding.Decoding(), source(0))


@given(models(), st.integers(max_value=-1))
def test_rejects_prompts(decoding, model, n_tokens):
    for seed in (n_tokens, 2**64):
        with rejects("seed", seed):
            decoding.generate(model, [0], 3, decoding.Decoding(), seed=seed)
    with rejects("ids", "[]"):
        decoding.generate(model, [], 3, decoding.Decoding(), seed=0)
    with rejects("n_tokens", n_tokens):
        decoding.generate(model, [0], n_tokens, decoding.Decoding(), seed=0)
