"""curated-transformers' `SelfAttention`; its other way is PyTorch's kernel (`enable_torch_sdp`)."""

import torch
from curated_transformers.layers import attention
from torch.func import functional_call

from peers.fitting import Projections, in_one_batch

DEVIATIONS = {
    "kernel-is-the-formula": (
        "in training, the way of curated-transformers 2.0.1 through PyTorch's kernel asks for "
        "an attribute that is not there, dropout_prob",
        "'ScaledDotProductAttention' object has no attribut",
    ),
    "dropout-keeps-the-expectation": (
        "curated-transformers 2.0.1 drops parts of the mixes, not of the weights",
        2.0,
    ),
    "formula-never-drops": (
        "in training, the way of curated-transformers 2.0.1 through PyTorch's kernel asks for "
        "an attribute that is not there, dropout_prob",
        "'ScaledDotProductAttention' object has no attribut",
    ),
    "rejects-groups-that-do-not-divide": (
        "curated-transformers 2.0.1 says it in other words",
        "the message does not mention",
    ),
    "rejects-shape": (
        "curated-transformers 2.0.1 accepts a width of 0",
        "accepted what must be refused",
    ),
}


class GroupedQueryAttention(Projections):
    def __init__(self, d_in, d_out, *, n_heads, n_kv_heads, dropout=0.0, bias=False):
        peer = attention.SelfAttention(
            attention_heads=attention.AttentionHeads.key_value_broadcast(
                n_query_heads=n_heads,
                n_key_value_heads=n_kv_heads,
                qkv_split=attention.QkvSplitGroupedByHead(),
            ),
            attention_scorer=attention.ScaledDotProductAttention(
                dropout_prob=dropout, linear_biases=None
            ),
            hidden_width=d_out,
            qkv_mode=attention.QkvMode.SEPARATE,
            use_bias=bias,
        )
        super().__init__(d_in, d_out, d_kv=d_out // n_heads * n_kv_heads, bias=bias)
        self.peer = (peer,)  # in a tuple, or its weights would count as this module's

    def forward(self, x):
        (peer,) = self.peer
        peer.train(self.training)

        def read(x):
            everything = attention.AttentionMask(torch.ones(x.shape[:2], dtype=torch.bool))
            return functional_call(peer, self.state_dict(keep_vars=True), (x, everything, True))[0]

        return in_one_batch(read, x)

    def explicit(self, x):
        with attention.enable_torch_sdp():
            return self(x)
