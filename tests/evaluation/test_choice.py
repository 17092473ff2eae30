import torch
from hypothesis import example, given
from hypothesis import strategies as st

from gptspec.tokenization.bpe import BPE
from known import Known, known_models
from strategies import LIFTED, assert_close, elsewhere, in_float64, keeps, rejects, sizes

VOCAB = 4

BYTES = BPE(())


def cost(model, before, token):
    """What a token costs after all that the model can read of the text before it."""
    logits = model.eval()(torch.tensor(before[-model.config.context_length :]))[-1]
    return -logits.to(LIFTED).log_softmax(-1)[token].item()


def rows(*logits):
    return Known(torch.tensor(logits), 3)


@example(model=rows([0.0, -torch.inf], [90.0, 0.0]), question=[0, 1], answer=[1, 0, 1])
@example(model=rows([torch.nan, 0.0], [1.0, 0.0]), question=[0], answer=[1, 0, 1])
@example(model=Known(torch.linspace(0, 9, 28).view(7, 4), 200), question=[1, 2] * 50, answer=[3])
@given(
    known_models(VOCAB, sizes(1, 6)),
    st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=6),
    st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=6),
)
def test_answers_follow_the_question(choice, model, question, answer):
    length = model.config.context_length
    answer = answer[:length]
    text = [*question, *answer]
    start = max(len(text) - 1 - length, 0)
    expected = sum(cost(model, text[start:at], text[at]) for at in range(len(question), len(text)))
    with keeps(question, answer, model):
        nats = torch.tensor(choice.answer_nll(model, question, answer))
    assert_close(nats, torch.tensor(expected), **in_float64(atol=1e-9), equal_nan=True)


PAIRS = BPE(((ord("a"), ord("b")),))
ROWS = torch.arange(7.0 * PAIRS.vocab_size).mul(1000).sin().mul(3).view(7, -1)
MANY = [f"{a}{b}" for a in ("a", "b", " ", "é", " ab") for b in ("", "a", "ab", " é", "?", "abab")]


@example(model=Known(ROWS, 128), question="a b " * 25, answers=MANY, per_byte=True, scale=1.0)
@example(model=Known(ROWS, 32), question="ab", answers=MANY[::-1], per_byte=False, scale=1.0)
@example(model=Known(ROWS, 32), question="", answers=MANY, per_byte=True, scale=1e-5)
@given(
    known_models(PAIRS.vocab_size, st.just(16)),
    st.text("ab é", max_size=5),
    st.lists(st.text("ab é", min_size=1, max_size=4), min_size=1, max_size=4),
    st.booleans(),
    st.sampled_from([1.0, 1e-5, 0.0]),
)
def test_the_cheapest_is_chosen(choice, model, question, answers, per_byte, scale):
    """The first of equals, as all are of one length where the model finds all tokens alike."""
    model = Known(model.rows.detach() * scale, model.config.context_length)
    asked = [PAIRS.end_of_text, *PAIRS.encode(question)]
    how = {} if per_byte else {"per_byte": False}  # per byte unless told otherwise
    for order in (answers, answers[::-1]):
        costs = [
            choice.answer_nll(model, asked, PAIRS.encode(answer))
            / (len(answer.encode()) if per_byte else 1)
            for answer in order
        ]
        with keeps(order, model):
            chosen = choice.choose(model, PAIRS, question, order, **how)
        assert costs[chosen] <= min(costs) + 1e-12
        if order.count(order[chosen]) > 1:
            assert chosen == order.index(order[chosen])


@given(known_models(BYTES.vocab_size, sizes(2, 5)), st.text("ab", min_size=1, max_size=2))
def test_reads_where_the_model_is(choice, model, answer):
    expected = choice.answer_nll(model, [1], BYTES.encode(answer))
    with elsewhere():
        measured = choice.answer_nll(model, [1], BYTES.encode(answer))
    assert measured == expected


@given(known_models(BYTES.vocab_size, sizes(3, 5)), st.text("ab", max_size=3))
def test_reads_in_eval_mode(choice, model, question):
    mode = model.training
    choice.choose(model, BYTES, question, ["a", "b"])
    assert not any(model.modes)
    assert model.training == mode


@given(known_models(BYTES.vocab_size, sizes(1, 5)))
def test_rejects_what_cannot_be_chosen(choice, model):
    length = model.config.context_length
    with rejects("answers", "[]"):
        choice.choose(model, BYTES, "?", [])
    for answer in ("", "a" * (length + 1)):
        with rejects("answer", len(answer)):
            choice.choose(model, BYTES, "?", ["a", answer])
    with rejects("question", "[]"):
        choice.answer_nll(model, [], [1])
