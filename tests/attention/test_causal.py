import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import assert_close, rejects, sequences, sizes, tensors

from gptspec.attention import self_attention


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


@given(sequences(d_model=3), st.data())
def test_rows_are_distributions(causal, queries, data):
    keys = data.draw(tensors(*queries.shape), "keys")
    weights = causal.causal_weights(queries, keys)
    assert weights.shape == (*queries.shape[:-1], queries.shape[-2])
    assert (weights >= 0).all()
    assert_close(weights.sum(-1), torch.ones(queries.shape[:-1]))


@given(sequences())
def test_early_gradients_stop(causal, x):
    x.requires_grad_()
    causal.CausalAttention(x.shape[-1], d_out=3)(x)[..., 0, :].sum().backward()
    assert_close(x.grad[..., 1:, :], torch.zeros_like(x[..., 1:, :]))


@given(sequences())
def test_dropout_is_off_in_eval(causal, x):
    attend = causal.CausalAttention(x.shape[-1], d_out=3, dropout=0.5).eval()
    assert_close(attend(x), attend(x), rtol=0, atol=0)


@given(sizes(), st.sampled_from([0.1, 0.5]))
def test_dropout_keeps_the_expectation(causal, d_model, dropout):
    """2,000 draws: the mean is within 6 standard errors of the value without dropout."""
    draws = 2000
    attend = causal.CausalAttention(d_model, d_out=1, dropout=dropout)
    x = torch.ones(draws, 1, d_model)
    value = attend.value(x[0, 0])
    error = value.abs() * (dropout / (1 - dropout) / draws) ** 0.5
    assert_close(attend(x).mean(0)[0], value, rtol=0, atol=6 * error.item())


@given(st.floats(max_value=-0.001) | st.floats(min_value=1))
def test_rejects_dropout(causal, dropout):
    with rejects("dropout", dropout):
        causal.CausalAttention(2, 2, dropout=dropout)
