"""Raschka's `GPTModel`; tied by giving the head the table of the tokens, as his chapter 5 does.

`d_ff` is four times `d_model`, so other examples are not judged; only queries, keys and values
can be without bias.
"""

from types import SimpleNamespace

from llms_from_scratch import ch04

from peers.fitting import rename

DEVIATIONS = {
    "rejects-unknown-ids": (
        "llms-from-scratch 1.0.19 raises an IndexError",
        "failed with IndexError",
    ),
    "rejects-long-text": (
        "llms-from-scratch 1.0.19 raises an IndexError",
        "failed with IndexError",
    ),
}

KINDS = {
    "positions": "learned",
    "norm": "layer",
    "feed_forward": "gelu",
    "n_kv_heads": None,
    "window": None,
    "norm_eps": 1e-5,
}


def GPTConfig(*, d_ff=None, dropout=0.0, bias=True, tied=True, theta=None, **sizes):  # noqa: N802
    for name, kind in KINDS.items():
        if sizes.pop(name, kind) != kind:
            raise NotImplementedError
    return SimpleNamespace(d_ff=d_ff, dropout=dropout, bias=bias, tied=tied, **KINDS, **sizes)


class GPT(ch04.GPTModel):
    final_norm = property(lambda self: self.norm)  # a law puts others in their place
    out_head = property(lambda self: self.head)

    def __init__(self, config):
        if config.d_ff not in (None, 4 * config.d_model):
            raise NotImplementedError
        super().__init__(
            {
                "vocab_size": config.vocab_size,
                "context_length": config.context_length,
                "emb_dim": config.d_model,
                "n_heads": config.n_heads,
                "n_layers": config.n_layers,
                "drop_rate": config.dropout,
                "qkv_bias": config.bias,
            }
        )
        self.config = config
        rename(self, tok_emb="tokens", pos_emb="positions", trf_blocks="blocks")
        rename(self, final_norm="norm", out_head="head")
        if config.tied:
            self.head.weight = self.tokens.weight
        for block in self.blocks:
            rename(block, att="attention", ff="feed_forward")
            rename(block, norm1="attention_norm", norm2="feed_forward_norm")
            rename(block.attention, W_query="query", W_key="key", W_value="value")
            rename(block.attention, out_proj="output")
            vars(block.feed_forward).update(
                up=block.feed_forward.layers[0], down=block.feed_forward.layers[2]
            )
        for norm in self.modules():
            if isinstance(norm, ch04.LayerNorm):
                rename(norm, scale="weight", shift="bias")

    def forward(self, ids, last=None):
        if last is not None:
            raise NotImplementedError
        logits = super().forward(ids.reshape(-1, ids.shape[-1]))
        return logits.view(*ids.shape, -1)

    def save(self, folder):
        raise NotImplementedError

    def read(self, ids, cache=None, **options):
        raise NotImplementedError

    def new_cache(self):
        raise NotImplementedError
