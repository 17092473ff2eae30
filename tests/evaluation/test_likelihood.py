import copy
import math
from itertools import product

import torch
from hypothesis import example, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from gptspec.tokenization.bpe import BPE
from known import Known, known_models
from strategies import (
    LIFTED,
    assert_close,
    elsewhere,
    in_float64,
    keeps,
    rejects,
    sizes,
    texts,
    token_ids,
    views,
)

VOCAB = 4

BYTES = BPE(())


def strides(model):
    return st.none() | sizes(1, model.config.context_length)


def documents():
    """A few texts, not all of them empty."""
    return st.lists(texts(12), min_size=1, max_size=3).filter(any)


def words(min_size=1):
    """Texts of two letters, in which much repeats."""
    text = st.text("ab", min_size=1, max_size=6)
    return st.lists(text, min_size=min_size, max_size=3)


def cost(model, before, token):
    """What a token costs after all that the model can read of the text before it."""
    logits = model.eval()(torch.tensor(before[-model.config.context_length :]))[-1]
    return -logits.to(LIFTED).log_softmax(-1)[token].item()


def size(documents):
    return sum(len(document.encode()) for document in documents)


def rows(*logits):
    return Known(torch.tensor(logits), 3)


MANY = Known(torch.arange(7.0)[:, None] * torch.linspace(-1, 1, 70_000), 3)


@example(model=MANY, ids=torch.tensor([1, 69_999, 40_000, 0, 32_768]), batch_size=2, stride=2)
@example(model=rows([0.0, -math.inf], [90.0, 0.0]), ids=torch.tensor([0, 1, 0, 1, 1, 0]),
         batch_size=None, stride=None)  # fmt: skip
@example(model=rows([math.nan, 0.0], [1.0, 0.0]), ids=torch.tensor([0, 1, 0, 1, 1, 0]),
         batch_size=2, stride=1)  # fmt: skip
@given(known_models(VOCAB, sizes(1, 5)), token_ids(VOCAB, sizes(2, 14)), st.none() | sizes(1, 4),
       st.none() | sizes(1, 5))  # fmt: skip
def test_scores_every_token_once(likelihood, model, ids, batch_size, stride):
    stride = None if stride is None else min(stride, model.config.context_length)
    options = {"stride": stride, "batch_size": batch_size}
    options = {name: value for name, value in options.items() if value is not None}
    with keeps(ids, model):
        costs = likelihood.token_nlls(model, ids, **options)
        for view in views(ids).values():
            again = likelihood.token_nlls(model, view, **options)
            assert_close(again, costs, rtol=0, atol=0, equal_nan=True)
    text, n_scored, length = ids.tolist(), len(ids) - 1, model.config.context_length
    last = max(n_scored - length, 0)
    starts = [*range(0, last, stride or length), last]
    expected = []
    for place in range(1, len(text)):
        start = next(start for start in starts if start + length >= place)
        expected.append(cost(model, text[start:place], text[place]))
    assert_close(costs, torch.tensor(expected, dtype=LIFTED), equal_nan=True)


@given(known_models(VOCAB, sizes(1, 5)), token_ids(VOCAB, sizes(2, 14)))
def test_stride_one_reads_all_it_can(likelihood, model, ids):
    text = ids.tolist()
    expected = [cost(model, text[:place], text[place]) for place in range(1, len(text))]
    costs = likelihood.token_nlls(model, ids, stride=1)
    assert_close(costs, torch.tensor(expected, dtype=LIFTED))


@limits(max_examples=20)
@example(model=Known(torch.eye(3, 2), 3), n_tokens=5, stride=2)
@example(model=Known(torch.eye(3, 2), 3), n_tokens=4, stride=None)
@given(known_models(2, sizes(1, 3)), sizes(1, 4), st.none() | sizes(1, 3))
def test_texts_share_one_probability(likelihood, model, n_tokens, stride):
    stride = None if stride is None else min(stride, model.config.context_length)
    probability = 0.0
    for text in product(range(2), repeat=n_tokens):
        costs = likelihood.token_nlls(model, torch.tensor([0, *text]), stride=stride)
        probability += math.exp(-costs.sum())
    assert_close(torch.tensor(probability), torch.tensor(1.0), **in_float64(atol=1e-9))


@example(context_length=100, documents=["ab" * 35_000], stride=None)
@example(context_length=1100, documents=["é" * 1500, "", " \r\n"], stride=700)
@given(sizes(1, 4), documents(), st.none() | sizes(1, 4))
def test_even_guesses_cost_ln_v(likelihood, context_length, documents, stride):
    model = Known(torch.zeros(1, BYTES.vocab_size), context_length)
    options = {} if stride is None else {"stride": min(stride, context_length)}
    score = likelihood.score(model, BYTES, documents, **options)
    n_tokens = size(documents) + len(documents)
    assert (score.n_tokens, score.n_bytes) == (n_tokens, size(documents))
    bits = n_tokens * math.log2(BYTES.vocab_size) / size(documents)
    seen = torch.tensor([score.perplexity, score.bits_per_byte])
    assert_close(seen, torch.tensor([BYTES.vocab_size, bits]), **in_float64(rtol=1e-9))


class Successors(Known):
    """What follows depends on the last token alone."""

    def forward(self, ids, cache=None):
        return self.rows[ids]


@given(words(), st.lists(st.floats(-2, 2), min_size=3, max_size=3), sizes(1, 4), st.data())
def test_bits_ignore_the_tokenizer(likelihood, documents, logits, context_length, data):
    """Letters drawn one by one, told as letters, and with "ab" as a token of its own."""
    pairs = BPE(((ord("a"), ord("b")),))
    a, b, end = torch.tensor(logits).softmax(-1)
    letters = torch.zeros(BYTES.vocab_size, BYTES.vocab_size)
    letters[:, [ord("a"), ord("b"), BYTES.end_of_text]] = torch.stack([a, b, end])
    joined = torch.zeros(pairs.vocab_size, pairs.vocab_size)
    ids = [ord("a"), ord("b"), 256, pairs.end_of_text]
    joined[:, ids] = torch.stack([a * (1 - b), b, a * b, end])
    # After a single "a" comes no "b", or both would be one token: the others share its part.
    joined[ord("a"), ids] = torch.stack([a * (1 - b), 0 * b, a * b, end]) / (1 - b)
    bits = [
        likelihood.score(
            Successors(rows.log(), context_length), tokenizer, documents,
            stride=data.draw(sizes(1, context_length), "stride"),
        ).bits_per_byte
        for tokenizer, rows in [(BYTES, letters), (pairs, joined)]
    ]  # fmt: skip
    assert_close(*map(torch.tensor, bits))


@example(model=Known(torch.linspace(0, 9, 7 * 257).view(7, 257), 64), documents=["ab " * 2000],
         stride=None)  # fmt: skip
@given(known_models(BYTES.vocab_size, sizes(2, 5)), words(), st.none() | sizes(1, 5))
def test_score_is_the_sum(likelihood, model, documents, stride):
    """In float32 too, where the sum of many is taken in float64."""
    stride = None if stride is None else min(stride, model.config.context_length)
    end = BYTES.end_of_text
    ids = [end, *(id for text in documents for id in [*BYTES.encode(text), end])]
    for one in (model, copy.deepcopy(model).float()):
        nlls = likelihood.token_nlls(one, torch.tensor(ids), stride=stride)
        with keeps(one, documents):
            score = likelihood.score(one, BYTES, documents, stride=stride)
        assert (score.n_tokens, score.n_bytes) == (len(ids) - 1, size(documents))
        assert math.isclose(score.nats, math.fsum(nlls.tolist()), rel_tol=1e-12)


@example(nats=math.nan, n_tokens=3, n_bytes=2)
@example(nats=math.inf, n_tokens=3, n_bytes=2)
@example(nats=1e5, n_tokens=3, n_bytes=2)
@given(st.floats(0, 1e4), sizes(1, 100), sizes(1, 100))
def test_a_score_in_two_units(likelihood, nats, n_tokens, n_bytes):
    score = likelihood.Score(nats=nats, n_tokens=n_tokens, n_bytes=n_bytes)
    per_token = nats / n_tokens
    expected = math.inf if per_token > 709.7 else math.exp(per_token)
    bits = nats / math.log(2) / n_bytes
    for found, wanted in ((score.perplexity, expected), (score.bits_per_byte, bits)):
        assert math.isclose(found, wanted) or (math.isnan(nats) and math.isnan(found))


@given(known_models(BYTES.vocab_size, sizes(2, 5)), words())
def test_reads_where_the_model_is(likelihood, model, documents):
    ids = torch.tensor([1, *BYTES.encode("".join(documents))])
    expected = likelihood.token_nlls(model, ids)
    with elsewhere():
        measured = likelihood.token_nlls(model, ids)
    assert_close(measured, expected)


@given(known_models(BYTES.vocab_size, sizes(3, 5)), words())
def test_reads_in_eval_mode(likelihood, model, documents):
    mode = model.training
    likelihood.score(model, BYTES, documents)
    assert not any(model.modes)
    assert model.training == mode


@given(known_models(BYTES.vocab_size, sizes(1, 5)), st.integers(max_value=0))
def test_rejects_what_cannot_be_scored(likelihood, model, below):
    ids, length = torch.tensor([1, 2, 3]), model.config.context_length
    with rejects("ids", 1):
        likelihood.token_nlls(model, ids[:1])
    for stride in (below, length + 1):
        with rejects("stride", stride):
            likelihood.token_nlls(model, ids, stride=stride)
    with rejects("batch_size", below):
        likelihood.token_nlls(model, ids, batch_size=below)
    for documents in ([], [""], ["", ""]):
        with rejects("documents"):
            likelihood.score(model, BYTES, documents)
