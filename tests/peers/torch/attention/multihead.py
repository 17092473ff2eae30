"""PyTorch: `F.multi_head_attention_forward`, the function behind `nn.MultiheadAttention`."""

import torch
from torch import nn
from torch.nn import functional as F

DEVIATIONS = {
    "formula-never-drops": (
        "multi_head_attention_forward of PyTorch 2.13 drops where it returns weights, too",
        1.0,
    ),
    "rejects-heads-that-do-not-divide": (
        "PyTorch 2.13 sees the sizes only when called",
        "accepted what must be refused",
    ),
    "rejects-sizes": (
        "PyTorch 2.13 accepts a width of 0, and only warns",
        "accepted what must be refused",
    ),
    "rejects-dropout": (
        "PyTorch 2.13 sees dropout_p only when called",
        "accepted what must be refused",
    ),
}


class MultiHeadAttention(nn.Module):
    def __init__(self, d_in, d_out, *, n_heads, dropout=0.0, bias=False):
        super().__init__()
        self.query = nn.Linear(d_in, d_out, bias=bias)
        self.key = nn.Linear(d_in, d_out, bias=bias)
        self.value = nn.Linear(d_in, d_out, bias=bias)
        self.output = nn.Linear(d_out, d_out, bias=bias)
        self.n_heads, self.dropout, self.bias = n_heads, dropout, bias

    def forward(self, x):
        return self.attend(x, need_weights=False)[0]  # through the fused kernel

    def explicit(self, x):
        return self.attend(x)[0]

    def weights(self, x):
        return self.attend(x)[1]

    def attend(self, x, need_weights=True):
        key, value, output = self.key, self.value, self.output
        mask = nn.Transformer.generate_square_subsequent_mask
        # PyTorch's queries are as wide as its outputs: ours come projected, its matrix is one.
        if not x.shape[:-2].numel():
            raise NotImplementedError  # it reads one batch of texts, and not an empty one
        texts = x.reshape(-1, *x.shape[-2:])
        queries = self.query(texts)
        bias = torch.cat([torch.zeros_like(key.bias), key.bias, value.bias]) if self.bias else None
        outputs, weights = F.multi_head_attention_forward(
            queries.movedim(-2, 0), texts.movedim(-2, 0), texts.movedim(-2, 0),
            output.in_features, self.n_heads, None, bias, None, None, False,
            self.dropout, output.weight, output.bias, training=self.training,
            attn_mask=mask(x.shape[-2], x.device, x.dtype),
            use_separate_proj_weight=True, q_proj_weight=x.new_ones(output.in_features).diag(),
            k_proj_weight=key.weight, v_proj_weight=value.weight,
            need_weights=need_weights, average_attn_weights=False,
        )  # fmt: skip
        if weights is not None:
            weights = weights.view(*x.shape[:-2], *weights.shape[1:])
        return outputs.movedim(0, -2).reshape(*x.shape[:-1], -1), weights
