import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from gptspec.attention import self_attention
from strategies import HUGE, assert_close, elsewhere, rejects, sequences, sizes, tensors


@given(sequences(), st.data())
def test_no_future(causal, x, data):
    attend = causal.CausalAttention(x.shape[-1], d_out=3)
    cut = data.draw(st.integers(0, x.shape[-2]), "cut")
    changed = torch.cat([x[..., :cut, :], x[..., cut:, :] + 1], dim=-2)
    assert_close(attend(changed)[..., :cut, :], attend(x)[..., :cut, :])


@given(sequences(), st.data())
def test_prefix_is_self_attention(causal, x, data):
    attend = causal.CausalAttention(x.shape[-1], d_out=3, bias=True)
    unmasked = self_attention.SelfAttention(x.shape[-1], d_out=3, bias=True)
    unmasked.load_state_dict(attend.state_dict())
    t = data.draw(st.integers(1, x.shape[-2]), "t")
    assert_close(attend(x)[..., t - 1, :], unmasked(x[..., :t, :])[..., -1, :])


@given(sequences())
def test_first_reads_itself(causal, x):
    attend = causal.CausalAttention(x.shape[-1], d_out=3)
    assert_close(attend(x)[..., 0, :], attend.value(x[..., 0, :]))


@given(sequences(), sizes(), st.booleans())
def test_equals_torch(causal, x, d_out, bias):
    attend = causal.CausalAttention(x.shape[-1], d_out, bias=bias)
    queries, keys, values = attend.query(x), attend.key(x), attend.value(x)
    expected = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
    assert_close(attend(x), expected)


@given(sizes(), sizes(), st.booleans())
def test_bias_only_if_asked(causal, d_in, d_out, bias):
    options = {"bias": True} if bias else {}
    attend = causal.CausalAttention(d_in, d_out, **options)
    for projection in (attend.query, attend.key, attend.value):
        assert projection(torch.zeros(d_in)).any() == bias


@given(sequences(d_model=3), st.data())
def test_rows_are_distributions(causal, queries, data):
    keys = data.draw(tensors(*queries.shape), "keys")
    weights = causal.causal_weights(queries, keys)
    assert weights.shape == (*queries.shape[:-1], queries.shape[-2])
    assert (weights >= 0).all()
    assert_close(weights.sum(-1), torch.ones(queries.shape[:-1]))


@given(sequences(), st.integers(0, HUGE), st.data())
def test_future_weighs_nothing(causal, queries, exponent, data):
    keys = data.draw(tensors(*queries.shape), "keys")
    weights = causal.causal_weights(queries * 10.0**exponent, keys)
    assert not weights.isnan().any()
    assert (weights.triu(1) == 0).all()


@given(sequences(), st.data())
def test_early_gradients_stop(causal, x, data):
    cut = data.draw(st.integers(0, x.shape[-2]), "cut")
    x.requires_grad_()
    causal.CausalAttention(x.shape[-1], d_out=3)(x)[..., :cut, :].sum().backward()
    assert_close(x.grad[..., cut:, :], torch.zeros_like(x[..., cut:, :]))


@given(sequences())
def test_device_of_the_input(causal, x):
    expected = causal.causal_weights(x, x)
    with elsewhere():
        weights = causal.causal_weights(x, x)
    assert_close(weights, expected)


@given(sequences())
def test_dropout_is_off_in_eval(causal, x):
    attend = causal.CausalAttention(x.shape[-1], d_out=3, dropout=0.5).eval()
    undropped = causal.CausalAttention(x.shape[-1], d_out=3)
    undropped.load_state_dict(attend.state_dict())
    assert_close(attend(x), undropped(x), rtol=0, atol=0)


@given(sizes(), sizes(), st.sampled_from([0.1, 0.5]))
def test_dropout_keeps_the_expectation(causal, d_model, d_out, dropout):
    """2,000 texts of one token, whose only weight is 1; the share is within 6 standard errors."""
    texts = 2000
    attend = causal.CausalAttention(d_model, d_out, dropout=dropout)
    x = torch.ones(texts, 1, d_model)
    outputs = attend(x)
    dropped = (outputs == 0).all(-1, keepdim=True)
    assert_close(outputs, torch.where(dropped, 0, attend.value(x) / (1 - dropout)))
    error = (dropout * (1 - dropout) / texts) ** 0.5
    assert abs(dropped.double().mean() - dropout) < 6 * error


@given(st.floats(max_value=-0.001) | st.floats(min_value=1))
def test_rejects_dropout(causal, dropout):
    with rejects("dropout", dropout):
        causal.CausalAttention(2, 2, dropout=dropout)
