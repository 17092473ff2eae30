import itertools
import math
import sys

import torch
import torch.nn.functional as F
from hypothesis import assume, example, given
from hypothesis import strategies as st

from strategies import LIFTED, assert_close, in_float64, rejects, sizes, tensors, token_ids


@st.composite
def guesses(draw):
    """Logits, targets, and the id to ignore, which may be one of the vocabulary."""
    vocab = draw(sizes())
    logits = draw(tensors(sizes(), vocab, batch=1))
    ignore = draw(st.sampled_from([-100, -1, 0]))
    targets = draw(token_ids(vocab, *logits.shape[:-1]))
    kept = draw(st.lists(st.booleans(), min_size=targets.numel(), max_size=targets.numel()))
    targets = targets.where(torch.tensor(kept, dtype=torch.bool).view(targets.shape), ignore)
    assume((targets != ignore).any())
    return logits.requires_grad_(), targets, ignore


def gradients(value, *inputs):
    return torch.autograd.grad(value, inputs)


@given(guesses())
def test_equals_torch(loss, guess):
    logits, targets, ignore = guess
    ours = loss.cross_entropy(logits, targets, ignore=ignore)
    rows = logits.to(LIFTED).flatten(0, -2)
    torchs = F.cross_entropy(rows, targets.flatten(), ignore_index=ignore)
    assert ours.shape == ()
    assert_close(ours, torchs)
    assert_close(gradients(ours, logits), gradients(torchs, logits))


@given(tensors(sizes(), sizes(), batch=1), st.data())
def test_each_costs_its_own(loss, logits, data):
    *batch, vocab = logits.shape
    targets = data.draw(token_ids(vocab, *batch), "targets")
    rows = logits.to(LIFTED).flatten(0, -2)
    each = F.cross_entropy(rows, targets.flatten(), reduction="none")
    assert_close(loss.token_nll(logits, targets), each.view(batch))


@given(sizes(1, 300), sizes(), st.sampled_from([0.0, 7.0, -3.0]), st.data())
def test_uniform_costs_ln_v(loss, vocab, time, logit, data):
    targets = data.draw(token_ids(vocab, time), "targets")
    nats = loss.cross_entropy(torch.full((time, vocab), logit), targets)
    assert_close(nats, torch.tensor(math.log(vocab), dtype=LIFTED))
    perplexity, bits = loss.perplexity(nats.item()), loss.bits_per_byte(nats.item(), time, time)
    assert_close(torch.tensor(perplexity), torch.tensor(float(vocab)), **in_float64(rtol=1e-9))
    assert_close(torch.tensor(bits), torch.tensor(math.log2(vocab)), **in_float64(atol=1e-12))


@given(sizes(1, 4), st.data())
def test_truth_is_cheapest(loss, vocab, data):
    targets = data.draw(token_ids(vocab, sizes(1, 8)), "targets")
    guess = data.draw(tensors(vocab), "guess")
    truth = torch.bincount(targets, minlength=vocab).to(LIFTED) / len(targets)
    entropy = -torch.special.xlogy(truth, truth).sum()
    assert_close(loss.cross_entropy(truth.log().expand(len(targets), -1), targets), entropy)
    assert loss.cross_entropy(guess.expand(len(targets), -1), targets) >= entropy - 1e-9


@given(guesses())
def test_gradient_is_guess_minus_truth(loss, guess):
    logits, targets, ignore = guess
    (gradient,) = gradients(loss.cross_entropy(logits, targets, ignore=ignore), logits)
    counted = targets != ignore
    truth = F.one_hot(targets[counted], logits.shape[-1])
    expected = (logits[counted].to(LIFTED).softmax(-1) - truth) / counted.sum()
    assert_close(gradient[counted], expected.to(logits.dtype))


@given(guesses(), st.floats(-1e5, 1e5))
def test_shift_changes_nothing(loss, guess, shift):
    logits, targets, ignore = guess
    still = loss.cross_entropy(logits, targets, ignore=ignore)
    moved = loss.cross_entropy(logits + shift, targets, ignore=ignore)
    assert_close(moved, still)
    assert_close(gradients(moved, logits), gradients(still, logits))


@given(guesses(), st.data())
def test_ignored_cost_nothing(loss, guess, data):
    logits, targets, ignore = guess
    ignored = targets == ignore
    other = data.draw(tensors(*logits.shape), "other")
    changed = torch.where(ignored[..., None], other, logits)
    value = loss.cross_entropy(logits, targets, ignore=ignore)
    assert_close(loss.cross_entropy(changed, targets, ignore=ignore), value)
    (gradient,) = gradients(value, logits)
    assert_close(gradient[ignored], torch.zeros_like(gradient[ignored]))


@given(guesses(), sizes(1, 4), sizes(), st.data())
def test_chunked_is_whole(loss, guess, d_model, chunk, data):
    logits, targets, ignore = guess
    x = data.draw(tensors(*targets.shape, d_model), "x").requires_grad_()
    head = data.draw(tensors(logits.shape[-1], d_model), "head").requires_grad_()
    whole = loss.cross_entropy(x @ head.mT, targets, ignore=ignore)
    chunked = loss.chunked_cross_entropy(x, head, targets, chunk=chunk, ignore=ignore)
    assert chunked.shape == ()
    assert_close(chunked, whole)
    assert_close(gradients(chunked, x, head), gradients(whole, x, head))


@given(sizes(4, 20), sizes(20, 40), sizes(1, 3))
def test_chunks_keep_no_logits(loss, time, vocab, chunk):
    kept = []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    x, head = torch.ones(time, 1, requires_grad=True), torch.ones(vocab, 1, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss.chunked_cross_entropy(x, head, torch.zeros(time, dtype=torch.long), chunk=chunk)
    assert sum(kept) < time * vocab


@given(sizes(1, 3), st.lists(sizes(1, 3), min_size=1, max_size=4), st.data())
def test_bits_per_byte_ignores_tokens(loss, alphabet, lengths, data):
    """A byte that depends on the one before it; a token is any string of 1 to 3 such bytes."""
    step = data.draw(tensors(alphabet, alphabet), "logits").log_softmax(-1)
    text = data.draw(token_ids(alphabet, 1 + sum(lengths)), "text").tolist()
    by_byte = loss.cross_entropy(step[text[:-1]], torch.tensor(text[1:]))

    vocab = [s for n in (1, 2, 3) for s in itertools.product(range(alphabet), repeat=n)]
    rows, targets, start = [], [], 1
    for length in lengths:
        before, token = text[start - 1], tuple(text[start : start + length])
        rows.append(
            [
                sum(step[a, b].item() for a, b in itertools.pairwise((before, *string)))
                if len(string) == length
                else -math.inf
                for string in vocab
            ]
        )
        targets.append(vocab.index(token))
        start += length
    by_token = loss.cross_entropy(torch.tensor(rows), torch.tensor(targets))

    n_bytes = sum(lengths)
    by_token, by_byte = (
        torch.tensor(loss.bits_per_byte(nats.item(), n_tokens, n_bytes))
        for nats, n_tokens in [(by_token, len(lengths)), (by_byte, n_bytes)]
    )
    assert_close(by_token, by_byte, **in_float64(atol=1e-9))


@given(guesses(), st.sampled_from([torch.bfloat16, torch.float16]))
def test_half_precision_is_lifted(loss, guess, dtype):
    logits, targets, ignore = guess
    rough = logits.to(dtype)
    whole = F.cross_entropy(rough.float().flatten(0, -2), targets.flatten(), ignore_index=ignore)
    assert_close(loss.cross_entropy(rough, targets, ignore=ignore), whole)


LARGEST = math.log(sys.float_info.max)


@example(nats=math.nan)
@example(nats=math.inf)
@given(st.floats(0, LARGEST, exclude_max=True) | st.floats(LARGEST, 1e6, exclude_min=True))
def test_perplexity_never_overflows(loss, nats):
    value = loss.perplexity(nats)
    if math.isnan(nats):
        assert math.isnan(value)
    elif nats > LARGEST:
        assert value == math.inf
    else:
        assert math.isclose(value, math.exp(nats))


@given(token_ids(1, sizes(0, 3), batch=1), st.sampled_from([-100, -1]))
def test_rejects_nothing_counted(loss, targets, ignore):
    targets = targets.fill_(ignore)
    with rejects("targets", ignore):
        loss.cross_entropy(torch.zeros(*targets.shape, 3), targets, ignore=ignore)
    with rejects("targets", ignore):
        loss.chunked_cross_entropy(
            torch.zeros(*targets.shape, 2), torch.zeros(3, 2), targets, ignore=ignore
        )


@given(sizes(), st.data())
def test_rejects_unknown_targets(loss, vocab, data):
    beyond = data.draw(st.integers(vocab, vocab + 5) | st.integers(-5, -1), "id")
    targets = torch.tensor([0, -100, beyond])
    with rejects("targets", beyond, vocab - 1):
        loss.cross_entropy(torch.zeros(3, vocab), targets)
    with rejects("targets", beyond, vocab - 1):
        loss.chunked_cross_entropy(torch.zeros(3, 2), torch.zeros(vocab, 2), targets)


@given(st.integers(-3, 0))
def test_rejects_empty_chunks(loss, chunk):
    with rejects("chunk", chunk):
        loss.chunked_cross_entropy(
            torch.zeros(2, 1), torch.zeros(3, 1), torch.zeros(2, dtype=torch.long), chunk=chunk
        )


@given(st.integers(-3, 0), sizes())
def test_rejects_empty_text(loss, nothing, something):
    with rejects("n_bytes", nothing):
        loss.bits_per_byte(1.0, something, nothing)
    with rejects("n_tokens", nothing):
        loss.bits_per_byte(1.0, nothing, something)
