import gzip
import lzma
import math
from itertools import product

import torch
from hypothesis import Phase, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from gptspec.tokenization.bpe import BPE
from known import Known, known_models
from strategies import LIFTED, assert_close, elsewhere, in_float64, rejects, sizes, texts, token_ids

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


def stream(documents):
    return b"".join(document.encode() + b"\0" for document in documents)


@given(known_models(VOCAB, sizes(1, 5)), token_ids(VOCAB, sizes(2, 14)), sizes(1, 4), st.data())
def test_scores_every_token_once(evaluation, model, ids, batch_size, data):
    stride = data.draw(strides(model), "stride")
    costs = evaluation.surprises(model, ids, stride=stride, batch_size=batch_size)
    text, n_scored, length = ids.tolist(), len(ids) - 1, model.config.context_length
    last = max(n_scored - length, 0)
    starts = [*range(0, last, stride or length), last]
    expected = []
    for place in range(1, len(text)):
        start = next(start for start in starts if start + length >= place)
        expected.append(cost(model, text[start:place], text[place]))
    assert_close(costs, torch.tensor(expected, dtype=LIFTED))


@given(known_models(VOCAB, sizes(1, 5)), token_ids(VOCAB, sizes(2, 14)))
def test_stride_one_reads_all_it_can(evaluation, model, ids):
    text = ids.tolist()
    expected = [cost(model, text[:place], text[place]) for place in range(1, len(text))]
    costs = evaluation.surprises(model, ids, stride=1)
    assert_close(costs, torch.tensor(expected, dtype=LIFTED))


@limits(max_examples=20)
@given(known_models(2, sizes(1, 3)), sizes(1, 4), st.data())
def test_texts_share_one_probability(evaluation, model, n_tokens, data):
    stride = data.draw(strides(model), "stride")
    probability = 0.0
    for text in product(range(2), repeat=n_tokens):
        costs = evaluation.surprises(model, torch.tensor([0, *text]), stride=stride)
        probability += math.exp(-costs.sum())
    assert_close(torch.tensor(probability), torch.tensor(1.0), **in_float64(atol=1e-9))


@given(sizes(1, 4), documents(), st.data())
def test_even_guesses_cost_ln_v(evaluation, context_length, documents, data):
    model = Known(torch.zeros(1, BYTES.vocab_size), context_length)
    score = evaluation.score(model, BYTES, documents, stride=data.draw(strides(model), "stride"))
    n_tokens = size(documents) + len(documents)
    bits = n_tokens * math.log2(BYTES.vocab_size) / size(documents)
    seen = torch.tensor([score.perplexity, score.bits_per_byte])
    assert_close(seen, torch.tensor([BYTES.vocab_size, bits]), **in_float64(rtol=1e-9))


class Successors(Known):
    """What follows depends on the last token alone."""

    def forward(self, ids, cache=None):
        return self.rows[ids]


@given(words(), st.lists(st.floats(-2, 2), min_size=3, max_size=3), sizes(1, 4), st.data())
def test_bits_ignore_the_tokenizer(evaluation, documents, logits, context_length, data):
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
        evaluation.score(
            Successors(rows.log(), context_length), tokenizer, documents,
            stride=data.draw(sizes(1, context_length), "stride"),
        ).bits_per_byte
        for tokenizer, rows in [(BYTES, letters), (pairs, joined)]
    ]  # fmt: skip
    assert_close(*map(torch.tensor, bits))


# xz -9e clears hundreds of megabytes before it begins: few examples, and no shrinking.
@limits(max_examples=5, phases=[Phase.generate])
@given(documents(), documents())
def test_compressors_are_direct_calls(evaluation, documents, before):
    def xz(text):
        return len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))

    text, primed = stream(documents), stream(before)
    n_bytes = size(documents)
    assert evaluation.gzip_bits_per_byte(documents) == 8 * len(gzip.compress(text, 9)) / n_bytes
    assert evaluation.xz_bits_per_byte(documents) == 8 * xz(text) / n_bytes
    extra = xz(primed + text) - xz(primed)
    assert evaluation.xz_bits_per_byte(documents, before) == 8 * extra / n_bytes


@given(words(), sizes(1, 4), st.text("abc", max_size=5))
def test_ngrams_sum_to_one(evaluation, train, order, before):
    assert evaluation.NGram(train).order == 6
    model = evaluation.NGram(train, order=order)
    probabilities = [model.probability(before.encode(), byte) for byte in range(256)]
    assert min(probabilities) > 0
    assert abs(sum(probabilities) - 1) < 1e-9


@given(documents(), st.binary(max_size=3), st.integers(0, 255))
def test_single_bytes_are_frequencies(evaluation, train, before, byte):
    text = stream(train)
    kinds = len(set(text))
    expected = (text.count(byte) + kinds / 256) / (len(text) + kinds)
    model = evaluation.NGram(train, order=1)
    assert abs(model.probability(before, byte) - expected) < 1e-12


@given(words(min_size=0), words(), sizes(1, 4))
def test_ngrams_are_witten_bell(evaluation, train, documents, order):
    seen, text = stream(train), stream(documents)

    def probability(before, byte, order):
        if order == 0:
            return 1 / 256
        context = before[len(before) - order + 1 :]
        lower = probability(before, byte, order - 1)
        if len(before) < order - 1:
            return lower
        places = range(len(seen) - len(context))
        followers = [seen[at + len(context)] for at in places if seen[at:].startswith(context)]
        kinds = len(set(followers))
        if not kinds:
            return lower
        return (followers.count(byte) + kinds * lower) / (len(followers) + kinds)

    model = evaluation.NGram(train, order=order)
    bits = -sum(math.log2(probability(text[:at], byte, order)) for at, byte in enumerate(text))
    assert abs(model.bits_per_byte(documents) - bits / size(documents)) < 1e-9


@given(
    known_models(VOCAB, sizes(1, 6)),
    st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=6),
    st.data(),
)
def test_answers_follow_the_question(evaluation, model, question, data):
    length = model.config.context_length
    ids = st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=length)
    answer = data.draw(ids, "answer")
    text = [*question, *answer]
    start = max(len(text) - 1 - length, 0)
    expected = sum(cost(model, text[start:at], text[at]) for at in range(len(question), len(text)))
    nats = torch.tensor(evaluation.answer_nats(model, question, answer))
    assert_close(nats, torch.tensor(expected), **in_float64(atol=1e-9))


@given(
    known_models(BYTES.vocab_size, st.just(16)),
    st.text("ab é", max_size=5),
    st.lists(st.text("ab é", min_size=1, max_size=4), min_size=1, max_size=4, unique=True),
    st.booleans(),
    st.data(),
)
def test_the_cheapest_is_chosen(evaluation, model, question, answers, per_byte, data):
    asked = [BYTES.end_of_text, *BYTES.encode(question)]
    costs = {
        answer: evaluation.answer_nats(model, asked, BYTES.encode(answer))
        / (len(answer.encode()) if per_byte else 1)
        for answer in answers
    }
    how = {} if per_byte else {"per_byte": False}  # per byte unless told otherwise
    for order in (answers, data.draw(st.permutations(answers), "order")):
        chosen = evaluation.choose(model, BYTES, question, order, **how)
        assert costs[order[chosen]] <= min(costs.values()) + 1e-9


@given(known_models(BYTES.vocab_size, sizes(2, 5)), words(), st.data())
def test_scores_are_surprises(evaluation, model, documents, data):
    stride = data.draw(strides(model), "stride")
    end = BYTES.end_of_text
    ids = [end, *(id for text in documents for id in [*BYTES.encode(text), end])]
    nats = evaluation.surprises(model, torch.tensor(ids), stride=stride).sum()
    score = evaluation.score(model, BYTES, documents, stride=stride)
    assert (score.n_tokens, score.n_bytes) == (len(ids) - 1, size(documents))
    assert_close(torch.tensor(score.nats), nats.to(torch.get_default_dtype()))


@given(known_models(BYTES.vocab_size, sizes(2, 5)), words())
def test_reads_where_the_model_is(evaluation, model, documents):
    def measure():
        nats = evaluation.answer_nats(model, [1], [2])
        return evaluation.surprises(model, ids), nats

    ids = torch.tensor([1, *BYTES.encode("".join(documents))])
    expected = measure()
    with elsewhere():
        measured = measure()
    assert_close(measured[0], expected[0])
    assert measured[1] == expected[1]


@given(known_models(BYTES.vocab_size, sizes(3, 5)), words())
def test_reads_in_eval_mode(evaluation, model, documents):
    mode = model.training
    evaluation.score(model, BYTES, documents)
    evaluation.choose(model, BYTES, "?", ["a", "b"])
    assert not any(model.modes)
    assert model.training == mode


@given(known_models(BYTES.vocab_size, sizes(1, 5)), st.integers(max_value=0))
def test_rejects_what_cannot_be_scored(evaluation, model, below):
    ids, length = torch.tensor([1, 2, 3]), model.config.context_length
    with rejects("ids", 1):
        evaluation.surprises(model, ids[:1])
    for stride in (below, length + 1):
        with rejects("stride", stride):
            evaluation.surprises(model, ids, stride=stride)
    with rejects("batch_size", below):
        evaluation.surprises(model, ids, batch_size=below)
    with rejects("order", below):
        evaluation.NGram(["a"], order=below)
    measures = [
        lambda texts: evaluation.score(model, BYTES, texts),
        evaluation.gzip_bits_per_byte,
        evaluation.xz_bits_per_byte,
        evaluation.NGram(["a"]).bits_per_byte,
    ]
    for measure in measures:
        with rejects("documents"):
            measure([""])
    with rejects("answers", "[]"):
        evaluation.choose(model, BYTES, "?", [])
    for answer in ("", "a" * (length + 1)):
        with rejects("answer", len(answer)):
            evaluation.choose(model, BYTES, "?", [answer])
    with rejects("question", "[]"):
        evaluation.answer_nats(model, [], [1])
