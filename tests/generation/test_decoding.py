import math
import random
from copy import deepcopy
from typing import get_args

import torch
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from gptspec.gpt.config import PositionKind
from gptspec.gpt.model import GPT, GPTConfig
from strategies import assert_close, elsewhere, rejects, sizes, tensors, token_ids, unwritten

VOCAB = 5
seeds = st.integers(0, 2**32)
few = limits(max_examples=25)  # where every example runs a model


def scores(batch=1):
    """Logits of a few tokens, often with ties."""
    logits = tensors(sizes(1, 6), batch=batch)
    return logits | logits.map(torch.sign)


def shares():
    return st.floats(0.01, 1)


def settings(decoding):
    """Any settings at all."""
    return st.builds(
        decoding.Decoding,
        temperature=st.sampled_from([0.0, 1e-300, 1e-9]) | st.floats(0, 10),
        top_k=st.none() | st.integers(1, 8),
        top_p=st.just(1.0) | shares(),
        min_p=st.floats(0, 1),
        penalty=st.floats(1, 10),
    )


def source(seed):
    return torch.Generator(torch.get_default_device()).manual_seed(seed)


@st.composite
def models(draw):
    """A GPT of a few weights and any kind, all of them loud, in either mode; all from a seed."""
    seed = draw(seeds)
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
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(seed)
        model = GPT(config)
        for weight in model.parameters():
            weight.normal_()
    return model.train(choose([False, True]))


def prompts():
    """Prompts of one token and more, some longer than any of these models can read."""

    def prompt(seed):
        source = random.Random(seed)
        return [source.randrange(VOCAB) for _ in range(source.randint(1, 6))]

    return seeds.map(prompt)


@given(scores())
def test_zero_is_argmax(decoding, logits):
    first = [row.index(max(row)) for row in logits.reshape(-1, logits.shape[-1]).tolist()]
    largest = torch.tensor(first, dtype=torch.long).view(logits.shape[:-1])
    certain = torch.nn.functional.one_hot(largest, logits.shape[-1]).to(logits)
    assert_close(decoding.greedy(logits), largest)
    assert_close(decoding.temper(logits, 0.0).softmax(-1), certain, rtol=0, atol=0)


@given(scores(), st.floats(0.1, 10))
def test_temperature_is_a_power(decoding, logits, temperature):
    raised = logits.softmax(-1) ** (1 / temperature)
    expected = raised / raised.sum(-1, keepdim=True)
    assert_close(decoding.temper(logits, temperature).softmax(-1), expected)


@given(scores(), sizes(1, 7))
def test_top_k_keeps_k(decoding, logits, k):
    ties, n_tokens = logits.sign(), logits.shape[-1]
    both = ties.view(-1, n_tokens), decoding.top_k(ties, k).view(-1, n_tokens)
    for row, filtered in zip(*both, strict=True):
        kept = filtered > -math.inf
        assert kept.sum() == min(k, len(row))
        assert (row[kept].min() >= row[~kept]).all()


@given(scores(batch=0), shares())
def test_top_p_keeps_the_smallest_set(decoding, logits, p):
    kept = decoding.top_p(logits, p) > -math.inf
    probabilities = logits.softmax(-1)
    mass = probabilities[kept].sum()
    assert mass >= p - 1e-12
    assert mass - probabilities[kept].min() < p + 1e-12
    assert (probabilities[kept].min() >= probabilities[~kept]).all()


@given(scores(), st.floats(0, 1))
def test_min_p_keeps_the_near(decoding, logits, p):
    kept = decoding.min_p(logits, p) > -math.inf
    behind = logits.amax(-1, keepdim=True) - logits
    limit = -math.log(p) if p > 0 else math.inf
    assert kept[behind <= limit - 1e-9].all()
    assert not kept[behind > limit + 1e-9].any()
    assert kept[behind == 0].all()


@given(scores(), st.data())
def test_filters_keep_ratios(decoding, logits, data):
    name, amounts = data.draw(
        st.sampled_from([("top_k", sizes()), ("top_p", shares()), ("min_p", shares())]), "filter"
    )
    filtered = getattr(decoding, name)(logits, data.draw(amounts, "amount"))
    before, after = logits.softmax(-1), filtered.softmax(-1)
    kept = filtered == logits
    assert_close(after, before * kept / (before * kept).sum(-1, keepdim=True))
    assert (after[~kept] == 0).all()


@given(scores(batch=0), st.floats(1, 10), st.data())
def test_penalty_lowers_what_was_said(decoding, logits, penalty, data):
    ids = data.draw(token_ids(len(logits), sizes(0, 5)), "ids")
    penalized = decoding.penalize(logits, ids, penalty)
    for token, (before, after) in enumerate(zip(logits, penalized, strict=True)):
        said = token in ids
        assert after <= before
        assert_close(after * (penalty if said and before > 0 else 1),
                     before * (penalty if said and before < 0 else 1))  # fmt: skip


@given(scores(batch=0), st.data())
def test_settings_act_in_order(decoding, logits, data):
    chosen = data.draw(settings(decoding), "settings")
    ids = data.draw(token_ids(len(logits), sizes()), "ids")
    expected = decoding.penalize(logits, ids, chosen.penalty)
    expected = decoding.temper(expected, chosen.temperature)
    expected = decoding.top_k(expected, chosen.top_k or len(logits))
    expected = decoding.min_p(decoding.top_p(expected, chosen.top_p), chosen.min_p)
    assert_close(decoding.distribution(logits, chosen, ids), expected.softmax(-1))


@given(scores())
def test_defaults_change_nothing(decoding, logits):
    ids = torch.zeros(*logits.shape[:-1], 1, dtype=torch.long)
    unchanged = decoding.distribution(logits, decoding.Decoding(), ids)
    assert_close(unchanged, logits.softmax(-1))


@given(tensors(sizes(2, 3), sizes(1, 6)), st.data())
def test_rows_are_independent(decoding, logits, data):
    chosen = data.draw(settings(decoding), "settings")
    ids = data.draw(token_ids(logits.shape[-1], len(logits), 2), "ids")
    together = decoding.distribution(logits, chosen, ids)
    for row, said, among in zip(logits, ids, together, strict=True):
        assert_close(decoding.distribution(row, chosen, said), among)


@given(
    st.lists(st.floats(-1e30, 1e30) | st.just(-math.inf), min_size=1, max_size=6),
    st.sampled_from([torch.float32, torch.float64]),
    st.data(),
)
def test_every_setting_decodes(decoding, values, dtype, data):
    logits = torch.tensor([*values, 0.0], dtype=dtype)
    chosen = data.draw(settings(decoding), "settings")
    probabilities = decoding.distribution(logits, chosen, torch.tensor([0]))
    assert probabilities.shape == logits.shape
    assert probabilities.dtype == dtype
    assert (probabilities >= 0).all()
    assert_close(probabilities.sum(), torch.tensor(1, dtype=dtype))
    token = decoding.sample(logits, chosen, source(0), torch.tensor([0]))
    assert probabilities[token] > 0


@given(scores(batch=0), st.data())
def test_draws_match_probabilities(decoding, logits, data):
    """Bernstein's bound: a fair draw strays farther with a chance below 2 exp(-20)."""
    n_draws, surprise = 2000, 20
    seed = data.draw(seeds, "seed")
    chosen = decoding.Decoding(temperature=data.draw(st.sampled_from([0.5, 1.0]), "temperature"))
    expected = n_draws * decoding.distribution(logits, chosen)
    drawn = decoding.sample(logits.expand(n_draws, -1), chosen, source(seed))
    counts = drawn.bincount(minlength=len(logits))
    variance = expected * (1 - expected / n_draws)
    assert ((counts - expected).abs() <= (2 * surprise * variance).sqrt() + 2 * surprise / 3).all()


@given(scores(batch=2), seeds, st.data())
def test_same_seed_same_draws(decoding, logits, seed, data):
    chosen = data.draw(settings(decoding), "settings")
    rows = logits.expand(20, *logits.shape)
    once = decoding.sample(rows, chosen, source(seed))
    assert once.shape == rows.shape[:-1]
    assert_close(decoding.sample(rows, chosen, source(seed)), once)


@given(models(), prompts(), seeds, st.data())
def test_generate_is_a_plain_loop(decoding, model, prompt, seed, data):
    chosen = data.draw(st.just(decoding.Decoding()) | settings(decoding), "settings")
    n_tokens = data.draw(sizes(0, 6), "n_tokens")
    generated = list(decoding.generate(model, prompt, n_tokens, chosen, seed=seed))
    model.eval()
    draws, text = source(seed), list(prompt)
    for _ in range(n_tokens):
        logits = model(torch.tensor(text[-model.config.context_length :]))[-1]
        text.append(int(decoding.sample(logits, chosen, draws, torch.tensor(text))))
    assert generated == text[len(prompt) :]


@given(models(), prompts(), sizes(0, 4))
def test_writes_where_the_model_is(decoding, model, prompt, n_tokens):
    def write():
        return list(decoding.generate(model, prompt, n_tokens, chosen, seed=0))

    chosen = decoding.Decoding()
    expected = write()
    with elsewhere():
        written = write()
    assert written == expected


@given(models(), prompts(), prompts(), sizes(1, 4))
def test_calls_do_not_meet(decoding, model, first, second, n_tokens):
    def write(model, prompt):
        return decoding.generate(model, prompt, n_tokens, decoding.Decoding(), seed=0)

    alone = [tuple(write(deepcopy(model), prompt)) for prompt in (first, second)]
    try:
        in_turns = list(zip(write(model, first), write(model, second), strict=True))
    except (IndexError, RuntimeError) as error:
        if unwritten(error):
            raise
        raise AssertionError(f"the other call is in the way: {error}") from error
    assert list(zip(*in_turns, strict=True)) == alone


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
@given(models(), prompts())
def test_reads_in_eval_mode(decoding, model, prompt):
    mode, modes = model.training, []
    model.register_forward_pre_hook(lambda *_: modes.append(model.training))
    for _ in decoding.generate(model, prompt, 2, decoding.Decoding(), seed=0):
        assert model.training == mode
    assert modes == [False, False]
    assert model.training == mode


below, above = st.floats(max_value=-0.001), st.floats(min_value=1.001)
WRONG = {
    "temperature": below | st.just(math.inf) | st.just(math.nan),
    "top_k": st.integers(max_value=0),
    "top_p": st.just(0) | below | above | st.just(math.nan),
    "min_p": below | above | st.just(math.nan),
    "penalty": st.floats(max_value=0.999) | st.just(math.inf) | st.just(math.nan),
}


@given(st.data())
def test_rejects_settings(decoding, data):
    for name, values in WRONG.items():
        value = data.draw(values, name)
        with rejects(name, value):
            decoding.Decoding(**{name: value})


@given(scores(batch=0), st.sampled_from([math.nan, math.inf]), st.data())
def test_rejects_broken_logits(decoding, logits, broken, data):
    logits[data.draw(st.integers(0, len(logits) - 1), "place")] = broken
    for wrong in [logits, logits.new_full([2, 3], -math.inf)]:
        with rejects("logits", wrong.amax().item()):
            decoding.sample(wrong, decoding.Decoding(), source(0))


@given(models(), st.integers(max_value=-1))
def test_rejects_prompts(decoding, model, n_tokens):
    with rejects("ids", "[]"):
        decoding.generate(model, [], 3, decoding.Decoding(), seed=0)
    with rejects("n_tokens", n_tokens):
        decoding.generate(model, [0], n_tokens, decoding.Decoding(), seed=0)
