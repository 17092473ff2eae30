import itertools
import math
import sys

import torch
import torch.nn.functional as F
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from strategies import (
    HALVES,
    LIFTED,
    assert_close,
    assert_rounded,
    assert_same_on_views,
    half_and_exact,
    in_float64,
    keeps,
    rejects,
    sizes,
    tensors,
    token_ids,
)


def large(time, vocab):
    """Logits, targets of which every seventh is ignored, and the id to ignore."""
    logits = torch.arange(time * vocab).view(time, vocab).mul(0.37).sin().mul(9)
    targets = torch.arange(time).mul(7919).remainder(vocab)
    targets[::7] = -100
    return logits.to(torch.get_default_dtype()).requires_grad_(), targets, -100


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


@example(large(70_000, 3))
@example(large(8, 50_000))
@example((torch.tensor([[1e30, 0.0], [-1e30, -1e30]], requires_grad=True), torch.tensor([0, 1]), 9))
@example((torch.tensor([[-math.inf, 0, 1.0]], requires_grad=True), torch.tensor([2]), -1))
@example((torch.tensor([[-math.inf, 0, 1.0]], requires_grad=True), torch.tensor([0]), -1))
@given(guesses())
def test_equals_torch(loss, guess):
    logits, targets, ignore = guess
    ours = loss.cross_entropy(logits, targets, ignore=ignore)
    rows = logits.to(LIFTED).flatten(0, -2)
    torchs = F.cross_entropy(rows, targets.flatten(), ignore_index=ignore)
    assert ours.shape == ()
    assert_close(ours, torchs)
    assert_close(gradients(3 * ours, logits), gradients(3 * torchs, logits))


@example(torch.zeros(1, 200), torch.tensor([156]))
@given(tensors(sizes(), sizes(), batch=1), st.none())
def test_each_costs_its_own(loss, logits, targets):
    *batch, vocab = logits.shape
    if targets is None:
        targets = torch.arange(logits[..., 0].numel()).remainder(vocab).view(batch)
    rows = logits.to(LIFTED).flatten(0, -2).requires_grad_()
    each = F.cross_entropy(rows, targets.flatten(), reduction="none").view(batch)
    with keeps(logits, targets):
        ours = loss.token_nll(logits, targets)
    assert_close(ours, each.detach())
    logits = logits.clone().requires_grad_()
    mix = torch.arange(targets.numel()).view(batch).cos().to(LIFTED)
    (slope,) = gradients((loss.token_nll(logits, targets) * mix).sum(), logits)
    (expected,) = gradients((each * mix).sum(), rows)
    assert_close(slope, expected.view_as(slope).to(slope.dtype))


@example(torch.arange(400).view(2, 200).to(torch.get_default_dtype()))
@settings(max_examples=15)
@given(tensors(sizes(), sizes(), batch=1).filter(torch.Tensor.numel))
def test_any_view_any_integers(loss, logits):
    """With 200 tokens, one is the last that a byte and -100 share."""
    *batch, vocab = logits.shape
    ids = torch.arange(logits[..., 0].numel()).add(156).remainder(vocab).view(batch)
    for call in (loss.token_nll, loss.cross_entropy):
        assert_same_on_views(lambda x, call=call: call(x, ids), logits)
        assert_same_on_views(lambda x, call=call: call(logits, x), ids)
        assert_close(call(logits, ids.to(torch.uint8)), call(logits, ids))
    x, head = logits, logits.flatten(0, -2)
    ids = ids.remainder(len(head))

    def chunked(x, head, ids):
        return loss.chunked_cross_entropy(x, head, ids, chunk=2)

    assert_same_on_views(lambda view: chunked(view, head, ids), x)
    assert_same_on_views(lambda view: chunked(x, view, ids), head)
    assert_same_on_views(lambda view: chunked(x, head, view), ids)
    assert_close(chunked(x, head, ids.to(torch.uint8)), chunked(x, head, ids))


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
    """Shifting rounds, so what is compared is shifted back: that is exact.

    A sum of exponentials that is taken from numbers near the shift may be off by its digits.
    """
    logits, targets, ignore = guess
    moved = (logits.detach() + shift).requires_grad_()
    still = (moved.detach() - shift).requires_grad_()
    costs = [loss.cross_entropy(rows, targets, ignore=ignore) for rows in (moved, still)]
    slopes = [gradients(cost, rows)[0] for cost, rows in zip(costs, (moved, still), strict=True)]
    bound = 4 * torch.finfo(LIFTED).eps * (abs(shift) + still.abs().max().item() + 1)
    assert (costs[0] - costs[1]).abs() <= bound
    assert (slopes[0] - slopes[1]).abs().max() <= bound + torch.finfo(moved.dtype).eps


@given(guesses(), st.sampled_from([math.inf, math.nan, 1e30]), st.data())
def test_ignored_cost_nothing(loss, guess, broken, data):
    logits, targets, ignore = guess
    ignored = targets == ignore
    other = data.draw(tensors(*logits.shape), "other")
    changed = torch.where(ignored[..., None], other, logits)
    value = loss.cross_entropy(logits, targets, ignore=ignore)
    assert_close(loss.cross_entropy(changed, targets, ignore=ignore), value)
    (gradient,) = gradients(value, logits)
    assert_close(gradient[ignored], torch.zeros_like(gradient[ignored]))
    spoilt = torch.where(ignored[..., None], broken, logits)
    assert_close(loss.cross_entropy(spoilt, targets, ignore=ignore), value)


@st.composite
def vectors(draw):
    """Vectors, a head, targets, and settings or none."""
    logits, targets, ignore = draw(guesses())
    d_model = draw(sizes(1, 4))
    x, head = draw(tensors(*targets.shape, d_model)), draw(tensors(logits.shape[-1], d_model))
    if ignore == -100 and draw(st.booleans()):
        return x, head, targets, {}
    return x, head, targets, {"ignore": ignore, "chunk": draw(sizes(1, 9))}


def wide(time, vocab, d_model, **options):
    _, targets, _ = large(time, vocab)
    x = torch.arange(time * d_model).view(time, d_model).cos().to(torch.get_default_dtype())
    head = torch.arange(vocab * d_model).view(vocab, d_model).sin().to(x.dtype)
    return x, head, targets, options


@example(wide(70_000, 3, 2), [True, True])
@example(wide(12, 50_000, 96, chunk=5), [True, True])
@given(vectors(), st.sampled_from([[True, True], [True, False], [False, True]]))
def test_chunked_is_whole(loss, given_, learned):
    x, head, targets, options = given_
    for tensor, learns in zip((x, head), learned, strict=True):
        tensor.requires_grad_(learns)
    about = [tensor for tensor in (x, head) if tensor.requires_grad]
    whole = loss.cross_entropy(x @ head.mT, targets, ignore=options.get("ignore", -100))
    with keeps(x, head, targets):
        chunked = loss.chunked_cross_entropy(x, head, targets, **options)
    assert chunked.shape == ()
    assert_close(chunked, whole)
    assert_close(gradients(3 * chunked, *about), gradients(3 * whole, *about), **SUMMED)


# A gradient that is summed chunk by chunk is rounded to 8 bits at each.
SUMMED = {"rtol": 0.016, "atol": 0.05} if torch.get_default_dtype() == torch.bfloat16 else {}


class Largest(TorchDispatchMode):
    """Notes how many numbers the largest tensor holds that is made."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        made = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.size = max([self.size, *made])
        return result


@example(2_100, 20, {})
@given(sizes(6, 20), sizes(20, 40), st.fixed_dictionaries({"chunk": sizes(1, 3)}))
def test_chunks_keep_no_logits(loss, time, vocab, options):
    kept = []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    x, head = torch.ones(time, 1, requires_grad=True), torch.ones(vocab, 1, requires_grad=True)
    targets = torch.zeros(time, dtype=torch.long)
    with Largest() as largest:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            cost = loss.chunked_cross_entropy(x, head, targets, **options)
        assert sum(kept) < time * vocab
        cost.backward()
    assert largest.size < time * vocab


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


@example(large(300, 1_000), torch.bfloat16)
@given(guesses(), st.sampled_from(HALVES))
def test_half_precision_is_lifted(loss, guess, dtype):
    """The gradient is rounded once, to the type of the logits; float32 itself rounds a little."""
    logits, targets, ignore = guess
    (rough,), (exact,) = half_and_exact(dtype, logits.detach())
    rough.requires_grad_()
    exact.requires_grad_()
    ours = loss.cross_entropy(rough, targets, ignore=ignore)
    oracle = F.cross_entropy(exact.flatten(0, -2), targets.flatten(), ignore_index=ignore)
    assert ours.dtype == torch.float32
    assert_close(ours.double(), oracle, rtol=1e-5, atol=1e-5)
    (slope,), (expected,) = gradients(ours, rough), gradients(oracle, exact)
    assert_rounded(slope, expected, roundings=1.01, largest=max(expected.abs().max().item(), 1e-4))


@example(wide(96, 1_000, 96, chunk=32), torch.bfloat16)
@given(vectors(), st.sampled_from(HALVES))
def test_half_chunks_round_logits(loss, given_, dtype):
    """A logit is rounded once; a loss is off by twice that, one for the target, one for the sum."""
    x, head, targets, options = given_
    (rough, flat), (exact, straight) = half_and_exact(dtype, x.detach(), head.detach())
    logits = exact @ straight.mT
    ours = loss.chunked_cross_entropy(rough, flat, targets, **options)
    oracle = F.cross_entropy(
        logits.flatten(0, -2), targets.flatten(), ignore_index=options.get("ignore", -100)
    )
    assert ours.dtype == torch.float32
    bound = 2 * torch.finfo(dtype).eps / 2 * logits.abs().max() * 1.01 + 1e-5
    assert (ours.double() - oracle).abs() <= bound


LARGEST = math.log(sys.float_info.max)


@example(nats=math.nan)
@example(nats=math.inf)
@given(st.floats(0, LARGEST, exclude_max=True) | st.floats(LARGEST, 1e6, exclude_min=True))
def test_perplexity_never_overflows(loss, nats):
    value, bits = loss.perplexity(nats), loss.bits_per_byte(nats, 3, 6)
    assert math.isnan(bits) if math.isnan(nats) else math.isclose(bits, nats / math.log(4))
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
