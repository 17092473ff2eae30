"""Hugging Face transformers: `GPT2LMHeadModel`."""

from hypothesis import assume
from transformers import GPT2Config, GPT2LMHeadModel

from peers.transformers.gpt.block import KINDS as BLOCK_KINDS
from peers.transformers.gpt.block import name_parts
from peers.transformers.gpt.feed_forward import remove_biases

DEVIATIONS = {
    "rejects-unknown-ids": (
        "transformers 5.23 raises an IndexError",
        "failed with IndexError",
    ),
    "rejects-long-text": (
        "transformers 5.23 raises an IndexError",
        "failed with IndexError",
    ),
}

KINDS = {"positions": "learned", **BLOCK_KINDS}


class GPTConfig(GPT2Config):
    attribute_map = GPT2Config.attribute_map | {
        "context_length": "n_positions", "d_model": "n_embd", "n_layers": "n_layer",
        "n_heads": "n_head", "d_ff": "n_inner", "norm_eps": "layer_norm_epsilon",
        "dropout": "resid_pdrop", "tied": "tie_word_embeddings",
    }  # fmt: skip

    def __init__(self, *, dropout=0.0, bias=True, theta=None, **settings):
        for name, kind in KINDS.items():
            if settings.pop(name, kind) != kind:
                raise NotImplementedError
        named = {self.attribute_map.get(name, name): value for name, value in settings.items()}
        named |= dict.fromkeys(["resid_pdrop", "embd_pdrop", "attn_pdrop"], dropout)
        super().__init__(bos_token_id=None, eos_token_id=None, **named)
        self.bias = bias
        vars(self).update(KINDS)


class GPT(GPT2LMHeadModel):
    def __init__(self, config):
        super().__init__(config)
        if not config.bias:
            remove_biases(self)
        for block in self.transformer.h:
            name_parts(block)

    tokens = property(lambda self: self.transformer.wte)
    positions = property(lambda self: self.transformer.wpe)
    blocks = property(lambda self: self.transformer.h)
    norm = property(lambda self: self.transformer.ln_f)
    head = property(lambda self: self.lm_head)

    def __setattr__(self, name, value):
        if name == "norm":
            self.transformer.ln_f = value
        else:
            super().__setattr__("lm_head" if name == "head" else name, value)

    def forward(self, ids, last=None):
        if last is not None:
            raise NotImplementedError
        assume(ids.numel())  # the library takes no text without tokens
        logits = super().forward(ids if ids.ndim > 1 else ids[None]).logits
        return logits.view(*ids.shape, -1)

    def save(self, folder):
        raise NotImplementedError  # transformers has a format of its own

    def read(self, ids, cache=None, **options):
        raise NotImplementedError

    def new_cache(self):
        raise NotImplementedError  # transformers has a cache of its own
