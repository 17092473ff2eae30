"""Quantization: weights in 8 or 4 bits, so that less has to be read for each token."""

import copy

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn
from torch.nn import functional as F

from gptspec.checks import check, check_at_least
from gptspec.gpt.linear import FEW
from gptspec.gpt.model import GPT

GROUP = 32  # neighbours that share a scale in 4 bits


def quantize(
    weight: Float[Tensor, "rows d_in"], *, bits: int = 8, group: int | None = None
) -> tuple[Int8[Tensor, "rows d_in"], Float[Tensor, "rows groups"]]:
    """Return whole numbers, and a scale for each group, whose products are close to the weights.

    Args:
        weight: A matrix of finite numbers.
        bits: Of each whole number, from 2 to 8: 8 bits hold -127 to 127, 4 bits -7 to 7.
        group: How many neighbours of a row share a scale; the whole row if None. The last group
            of a row may be shorter.

    Raises:
        ValueError: If `bits` is not from 2 to 8, `group` is below 1, or a weight is not finite.

    Examples:
        The largest number of a row becomes 7, and all others multiples of a seventh of it.

        >>> quantize(torch.tensor([[1.4, -0.3, 0.0], [-70.0, 4.0, 6.0]]), bits=4)
        (tensor([[ 7, -2,  0],
                [-7,  0,  1]], dtype=torch.int8), tensor([[ 0.2000],
                [10.0000]]))

    Source:
        Symmetric, by the largest: Dettmers et al. 2022, section 2; groups: Shen et al. 2020.
    """
    check("bits", bits, bits in range(2, 9), "a whole number from 2 to 8")
    group = max(weight.shape[-1], 1) if group is None else group
    check_at_least(1, group=group)
    check("weight", "infinity or NaN", bool(weight.isfinite().all()), "finite")
    most = 2 ** (bits - 1) - 1
    # In float32 at least: a scale in 16 bits would move a whole group.
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
    parts = torch.unflatten(F.pad(wide, (0, -wide.shape[-1] % group)), -1, (-1, group))
    scale = parts.abs().amax(dim=-1) / most
    steps = parts / torch.where(scale == 0, 1, scale)[..., None]
    whole = steps.round().clamp(-most, most).flatten(-2)[..., : weight.shape[-1]]
    return whole.to(torch.int8), scale


def dequantize(
    whole: Int8[Tensor, "rows d_in"],
    scale: Float[Tensor, "rows groups"],
    *,
    group: int | None = None,
) -> Float[Tensor, "rows d_in"]:
    """Return the weights that whole numbers and scales stand for.

    Examples:
        >>> dequantize(torch.tensor([[7, -2, 0]], dtype=torch.int8), torch.tensor([[0.2]]))
        tensor([[ 1.4000, -0.4000,  0.0000]])
    """
    d_in = whole.shape[-1]
    each = scale.repeat_interleave(max(d_in, 1) if group is None else group, dim=-1)
    return whole * each[..., :d_in]


class QuantizedLinear(nn.Module):
    """A linear layer that is read in 8 or 4 bits. It is made of another one, and does not learn.

    Args:
        layer: Whose weights are rounded; it stays as it is.
        bits: 8, with a scale for each row, or 4, two in a byte, with one for each `GROUP`.

    Attributes:
        whole: The rounded weights, int8.
        scale: What they are multiplied by.
        bias: The layer's bias, not rounded; None if there is none.

    Raises:
        ValueError: If `bits` is neither 8 nor 4.

    Examples:
        >>> layer = nn.Linear(2, 1, bias=False)
        >>> layer.weight.data = torch.tensor([[12.7, 6.33]])
        >>> QuantizedLinear(layer)(torch.eye(2))
        tensor([[12.7000],
                [ 6.3000]])
    """

    whole: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Linear, *, bits: int = 8) -> None:
        super().__init__()
        check("bits", bits, bits in (8, 4), "8 or 4")
        self.bits, self.d_in = bits, layer.in_features
        self.group = None if bits == 8 else GROUP
        with torch.no_grad():
            whole, scale = quantize(layer.weight, bits=bits, group=self.group)
        self.register_buffer("whole", whole if bits == 8 else _two_in_a_byte(whole))
        self.register_buffer("scale", scale)
        bias = layer.bias
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    def weight(self) -> Float[Tensor, "rows d_in"]:
        """Return the rounded weights as the numbers they stand for."""
        whole = self.whole if self.bits == 8 else _apart(self.whole, self.d_in)
        return dequantize(whole, self.scale, group=self.group)

    def forward(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"]:
        """Return the product with the rounded weights."""
        if self._gains(x):
            rows = x.reshape(-1, self.d_in).to(torch.bfloat16).contiguous()
            ones = rows.new_ones(len(self.whole))  # a scale of 16 bits would move a whole row
            products = torch.ops.aten._weight_int8pack_mm(rows, self.whole, ones)
            y = products.to(x.dtype) * self.scale[:, 0]
            y = y if self.bias is None else y + self.bias
            return y.view(*x.shape[:-1], -1)
        return F.linear(x, self.weight().to(x.dtype), self.bias)

    def _gains(self, x: Tensor) -> bool:
        """Return whether the kernel for 8 bits is there; it reads vectors in bfloat16."""
        return (
            self.bits == 8
            and x.dtype == torch.float32
            and x.device.type == "cpu"
            and 0 < x.numel() <= FEW * self.d_in
            # Torch's kernel reads beyond other sizes, without a word.
            and self.d_in % 32 == len(self.whole) % 32 == 0
            and not torch.is_grad_enabled()
            and not torch.compiler.is_compiling()
            and hasattr(torch.ops.aten, "_weight_int8pack_mm")
        )


def _two_in_a_byte(whole: Int8[Tensor, "rows d_in"]) -> Int8[Tensor, "rows half"]:
    """Return numbers from -7 to 7, two in each byte; an odd one is followed by 0."""
    pairs = torch.unflatten(F.pad(whole, (0, whole.shape[-1] % 2)), -1, (-1, 2))
    return (pairs[..., 0] << 4) | (pairs[..., 1] & 15)


def _apart(pairs: Int8[Tensor, "rows half"], d_in: int) -> Int8[Tensor, "rows d_in"]:
    first, second = pairs >> 4, (pairs << 4) >> 4  # shifts to the right keep the sign
    return torch.stack([first, second], dim=-1).flatten(-2)[..., :d_in]


def quantized(model: GPT, *, bits: int = 8) -> GPT:
    """Return a copy of a model that reads its projections and its head in 8 or 4 bits.

    The copy is for reading: it does not learn, and is not saved. Embeddings, norms and biases stay
    as they are, and so does the model.

    Raises:
        ValueError: If `bits` is neither 8 nor 4.
    """
    copied = copy.deepcopy(model).requires_grad_(False)
    for parent in list(copied.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Linear):
                setattr(parent, name, QuantizedLinear(layer, bits=bits))
    return copied.eval()
