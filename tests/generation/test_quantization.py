import copy
from unittest.mock import patch

import torch
from hypothesis import example, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from gptspec.generation import decoding as single
from gptspec.generation.decoding import Decoding, greedy
from gptspec.gpt.model import GPT, GPTConfig
from strategies import (
    assert_close,
    assert_same,
    assert_same_on_views,
    keeps,
    owned,
    rejects,
    sizes,
    tensors,
)

BITS = st.integers(2, 8)
GROUPS = st.none() | sizes(1, 5)
few = limits(max_examples=20)


def matrices():
    return tensors(sizes(0, 4), sizes(0, 7))


def noise(*shape, seed=0, dtype=None):
    source = torch.Generator(torch.get_default_device()).manual_seed(seed)
    return torch.randn(shape, generator=source, dtype=dtype)


def parts(matrix, group):
    """The columns of each group."""
    d_in = matrix.shape[-1]
    width = max(d_in, 1) if group is None else group
    return [slice(start, min(start + width, d_in)) for start in range(0, d_in, width)]


def gpt(seed, *, bias=True, tied=True, dtype=None, d_model=8, d_ff=9, n_layers=2):
    config = GPTConfig(
        vocab_size=11, context_length=9, d_model=d_model, n_layers=n_layers, n_heads=2, d_ff=d_ff,
        n_kv_heads=1, bias=bias, tied=tied, positions="rotary", norm="rms", feed_forward="swiglu",
    )  # fmt: skip
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(seed)
        model = GPT(config).to(dtype)
        for weight in model.parameters():
            weight.normal_()
    return model


def gpts():
    return st.builds(gpt, st.integers(0, 99), bias=st.booleans(), tied=st.booleans())


@given(matrices(), BITS, GROUPS)
@example(noise(3, 1_100), 4, 32)
@example(noise(2, 70_000), 8, None)
@example(noise(5, 64).to(torch.bfloat16), 8, None)
@example(noise(5, 64).to(torch.float16), 4, 8)
def test_error_is_half_a_step(quantization, weight, bits, group):
    with keeps(weight):
        whole, scale = owned(lambda: quantization.quantize(weight, bits=bits, group=group))
    assert whole.dtype == torch.int8
    assert scale.dtype == torch.promote_types(weight.dtype, torch.float32)
    assert whole.shape == weight.shape
    assert (whole.abs() <= 2 ** (bits - 1) - 1).all()
    found = quantization.dequantize(whole, scale, group=group)
    exact = weight.double()
    rounding = 4 * torch.finfo(scale.dtype).eps
    for place, columns in enumerate(parts(weight, group)):
        step = scale[:, place, None].double()
        largest = exact[:, columns].abs().amax(-1, keepdim=True)
        assert_close(step * (2 ** (bits - 1) - 1), largest, rtol=rounding, atol=0)
        error = (found[:, columns].double() - exact[:, columns]).abs()
        assert (error <= step / 2 + rounding * largest).all()
        at = exact[:, columns].abs() == largest
        assert (error[at] <= rounding * largest.expand_as(error)[at]).all()


@given(sizes(1, 3), sizes(1, 6), BITS, GROUPS, st.data())
def test_zero_stays_zero(quantization, rows, d_in, bits, group, data):
    weight = (
        data.draw(tensors(rows, d_in), "weight") * data.draw(tensors(rows, d_in), "zeros").relu()
    )
    whole, scale = quantization.quantize(weight, bits=bits, group=group)
    found = quantization.dequantize(whole, scale, group=group)
    assert found.isfinite().all()
    assert (found[weight == 0] == 0).all()
    nothing = quantization.quantize(torch.zeros(rows, d_in), bits=bits, group=group)
    assert not any(part.any() for part in nothing)


@given(matrices(), BITS, GROUPS)
def test_is_symmetric(quantization, weight, bits, group):
    whole, scale = quantization.quantize(weight, bits=bits, group=group)
    negative, same = quantization.quantize(-weight, bits=bits, group=group)
    assert_same([negative, same], [-whole, scale])


@given(matrices(), BITS, GROUPS)
@example(noise(3, 100), 4, 32)
def test_groups_are_apart(quantization, weight, bits, group):
    whole, scale = quantization.quantize(weight, bits=bits, group=group)
    groups = parts(weight, group)
    assert scale.shape == (len(weight), len(groups))
    for row in range(len(weight)):
        for place, columns in enumerate(groups):
            alone = weight[row : row + 1, columns]
            expected = quantization.quantize(alone, bits=bits)
            found = whole[row : row + 1, columns], scale[row : row + 1, place : place + 1]
            assert_same([*found], [*expected])
    if weight.numel():
        assert_same_on_views(
            lambda view: quantization.dequantize(
                *quantization.quantize(view, bits=bits, group=group), group=group
            ),
            weight,
        )


@few
@given(gpts(), st.sampled_from([8, 4]), st.data())
def test_logits_within_the_bound(quantization, model, bits, data):
    ids = data.draw(st.lists(st.integers(0, 10), min_size=1, max_size=9), "ids")
    vectors = []
    model.norm.register_forward_hook(lambda _, inputs, output: vectors.append(output.detach()))
    logits = model.read(torch.tensor(ids))
    rounded = quantization.QuantizedLinear(model.head, bits=bits)
    quantized = rounded(vectors[0])
    group = None if bits == 8 else 32
    _, scale = quantization.quantize(model.head.weight.detach(), bits=bits, group=group)
    bound = vectors[0].abs().sum(-1, keepdim=True) * scale[:, 0] / 2  # 8 columns are one group
    assert ((quantized - logits).abs() <= bound + 1e-6 * logits.abs().max()).all()


def rounded(quantization, model, bits):
    """The same model with the weights that the whole numbers stand for."""
    group = None if bits == 8 else 32
    copied = copy.deepcopy(model)
    head = copied.head.weight.detach().clone()
    copied.head = nn.Linear(*head.T.shape, bias=False, dtype=head.dtype)
    with torch.no_grad():
        copied.head.weight.copy_(head)
        for layer in copied.modules():
            if isinstance(layer, nn.Linear):
                pair = quantization.quantize(layer.weight, bits=bits, group=group)
                layer.weight.copy_(quantization.dequantize(*pair, group=group))
    return copied


@few
@given(gpts(), st.sampled_from([8, 4]), st.data())
@example(gpt(1, d_model=48, d_ff=101, n_layers=5), 4, None)
def test_is_the_rounded_model(quantization, model, bits, data):
    drawn = [1, 2, 3, 10, 0, 5] if data is None else data.draw(
        st.lists(st.integers(0, 10), min_size=1, max_size=9), "ids"
    )  # fmt: skip
    ids, model = torch.tensor(drawn), copy.deepcopy(model)
    model.blocks[0].train()
    learns = [parameter.requires_grad for parameter in model.parameters()]
    with keeps(model):
        quantized = quantization.quantized(model, **({} if bits == 8 else {"bits": bits}))
    assert [parameter.requires_grad for parameter in model.parameters()] == learns
    expected = rounded(quantization, model, bits).read(ids)
    assert_close(quantized.read(ids), expected)
    cache = quantized.new_cache()
    read = [quantized.read(ids[t : t + 1], cache) for t in range(len(ids))]
    assert_close(torch.cat(read), expected)


@few
@given(sizes(1, 16), sizes(1, 3), sizes(1, 3), st.booleans(), st.integers(0, 99))
@example(16, 18, 2, True, 0)
def test_the_kernel_is_the_product(quantization, rows, inputs, outputs, bias, seed):
    """Rounded to bfloat16 are the vector, before it is multiplied, and the sum of the products."""
    d_in, d_out = 32 * inputs, 32 * outputs
    layer = nn.Linear(d_in, d_out, bias=bias, dtype=torch.float32)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(noise(*parameter.shape, seed=seed))
    ours, x = quantization.QuantizedLinear(layer), noise(rows, d_in, seed=seed, dtype=torch.float32)
    called, kernel = [], torch.ops.aten._weight_int8pack_mm

    def counted(*arguments):
        called.append(arguments)
        return kernel(*arguments)

    with torch.no_grad(), patch.object(torch.ops.aten, "_weight_int8pack_mm", counted):
        y = ours(x)
    assert called
    weight = ours.weight()
    exact = F.linear(x.double(), weight.double(), layer.bias.double() if bias else None)
    sums = F.linear(x.double().abs(), weight.double().abs())
    assert y.dtype == torch.float32
    products = F.linear(x.bfloat16().double(), weight.double())
    bound = torch.finfo(torch.bfloat16).eps / 2 * products.abs() + 1e-6 * sums
    products = products + layer.bias.double() if bias else products
    assert ((y - products).abs() <= bound + 1e-6 * products.abs()).all()
    assert ((ours(x) - exact).abs() <= 1e-5 * (sums + exact.abs())).all()  # written out
    more = noise(17, d_in, seed=seed, dtype=torch.float32)
    with torch.no_grad():
        plain = F.linear(more, weight, layer.bias)
        assert_close(ours(more), plain)
        assert_same_on_views(ours, x)


@few
@given(sizes(1, 9), sizes(1, 70), st.booleans(), st.sampled_from([8, 4]))
def test_takes_the_bits_it_says(quantization, rows, d_in, bias, bits):
    layer = nn.Linear(d_in, rows, bias=bias)
    ours = quantization.QuantizedLinear(layer, bits=bits)
    assert not list(ours.parameters())
    groups = 1 if bits == 8 else -(-d_in // 32)
    n_bytes = rows * (d_in if bits == 8 else -(-d_in // 2))
    n_bytes += rows * groups * layer.weight.element_size()
    n_bytes += rows * layer.weight.element_size() * bias
    assert sum(buffer.nbytes for buffer in ours.buffers()) == n_bytes
    x = noise(2, d_in)
    assert not ours(x).requires_grad


@few
@given(
    gpts(),
    st.lists(st.integers(0, 10), min_size=1, max_size=6),
    sizes(0, 6),
    st.sampled_from([8, 4]),
)
def test_writes_through_a_cache(quantization, model, prompt, n_tokens, bits):
    quantized = quantization.quantized(model, bits=bits)
    with keeps(quantized):
        written = list(
            single.generate(quantized, prompt, n_tokens, Decoding(temperature=0.0), seed=0)
        )
    text = list(prompt)
    for _ in range(n_tokens):
        text.append(int(greedy(quantized.read(torch.tensor(text[-9:]))[-1])))
    assert written == text[len(prompt) :]
    assert not any(part.training for part in quantized.modules())
    assert not any(parameter.requires_grad for parameter in quantized.parameters())


@given(st.integers(max_value=1) | st.integers(9), st.integers(max_value=0))
def test_rejects_what_it_cannot_hold(quantization, bits, group):
    with rejects("bits", bits):
        quantization.quantize(torch.ones(1, 1), bits=bits)
    with rejects("group", group):
        quantization.quantize(torch.ones(1, 1), group=group)
    for value in (torch.inf, -torch.inf, torch.nan):
        with rejects("weight"):
            quantization.quantize(torch.tensor([[1.0, value]]))
    for wrong in (bits, 3, 7):
        with rejects("bits", wrong):
            quantization.QuantizedLinear(nn.Linear(1, 1), bits=wrong)
