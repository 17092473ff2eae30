import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from layers import assert_normal, assert_pure, large
from strategies import (
    assert_close,
    assert_same_on_views,
    keeps,
    rejects,
    single_precision,
    sizes,
    tensors,
    token_ids,
)

FAR = torch.tensor([0, 255, 256, 1024, 32_767, 32_768, 65_535, 65_536, 65_539, 69_999])


@st.composite
def tables(draw):
    """Draw a table of vectors and ids of its rows."""
    table = draw(tensors(sizes(1, 6), sizes()))
    return table, draw(token_ids(len(table), sizes(0, 6), batch=2))


@given(tables())
@example((large(70_000, 3), FAR))
@example((large(50, 96), torch.arange(1100).remainder(50).view(1, 1100)))
def test_is_one_hot_product(token, drawn):
    table, ids = drawn
    expected = F.one_hot(ids, len(table)).to(table) @ table
    vectors = token.embed(ids, table)
    assert vectors.shape == (*ids.shape, table.shape[1])
    assert_close(vectors, expected, rtol=0, atol=0)


@given(tables(), st.data())
def test_depends_on_the_id_alone(token, drawn, data):
    table, ids = drawn
    place = data.draw(st.permutations(range(ids.shape[-1])), "place")
    tokens = token.TokenEmbedding(*table.shape)
    assert_close(tokens(ids[..., place]), tokens(ids)[..., place, :], rtol=0, atol=0)


@given(tables(), st.booleans())
def test_equals_torch(token, drawn, training):
    table, ids = drawn
    tokens = token.TokenEmbedding(*table.shape).train(training)
    theirs = nn.Embedding(*table.shape)
    theirs.load_state_dict(tokens.state_dict())
    assert_close(tokens(ids), theirs(ids), rtol=0, atol=0)


@given(tables(), st.data())
def test_gradient_sums_over_uses(token, drawn, data):
    table, ids = drawn
    upstream = data.draw(tensors(*ids.shape, table.shape[1]), "upstream")
    tokens = token.TokenEmbedding(*table.shape)
    vectors = tokens(ids)
    assert vectors.requires_grad
    vectors.backward(upstream)
    expected = torch.zeros_like(table)
    for id, gradient in zip(ids.flatten(), upstream.flatten(0, -2), strict=True):
        expected[id] += gradient
    assert_close(tokens.weight.grad, expected)


@given(st.integers(50, 100), st.integers(50, 100))
def test_starts_small(token, vocab_size, d_model):
    """The measured deviation is within 6 standard errors of the stated one."""
    weight = token.TokenEmbedding(vocab_size, d_model).weight
    assert_normal(weight, 0.02)
    assert (token.TokenEmbedding(vocab_size, d_model).weight != weight).any()
    with single_precision():
        assert token.TokenEmbedding(2, 3).weight.dtype == torch.float32


@given(tables(), st.booleans())
@example((large(4, 3), torch.tensor(2)), True)
def test_is_pure(token, drawn, training):
    table, ids = drawn
    tokens = token.TokenEmbedding(*table.shape).train(training)
    assert_pure(tokens, ids, tokens)
    assert_pure(lambda ids: token.embed(ids, table), ids, table)
    with keeps(ids, table):
        assert_same_on_views(lambda table: token.embed(ids, table), table)


@given(sizes(), st.data())
def test_rejects_ids_outside(token, vocab_size, data):
    anything = st.integers(-(2**63), -1) | st.integers(vocab_size, 2**63 - 1)
    outside = data.draw(anything, "outside")
    known = data.draw(token_ids(vocab_size, sizes(0, 3)), "known").tolist()
    place = data.draw(st.integers(0, len(known)), "place")
    with rejects("ids", outside, vocab_size - 1):
        token.embed(
            torch.tensor([*known[:place], outside, *known[place:]]), torch.ones(vocab_size, 2)
        )


@given(st.sampled_from([torch.float32, torch.float64, torch.bool, torch.uint8, torch.int16]))
def test_rejects_other_types(token, dtype):
    with rejects("ids"):
        token.embed(torch.ones(3, dtype=dtype), torch.ones(3, 2))


@given(st.integers(-3, 0), sizes())
def test_rejects_empty_tables(token, size, other):
    with rejects("vocab_size", size):
        token.TokenEmbedding(size, other)
    with rejects("d_model", size):
        token.TokenEmbedding(other, size)
