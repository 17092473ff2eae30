"""nanoGPT's `GPT`, given the tanh form of gelu; without targets it gives the last logits alone."""

import model as theirs

from gptspec.gpt import model
from gptspec.gpt.config import GPTConfig  # noqa: F401
from gptspec_laws import adapt, gpt2_names, gpt2_sizes


def build(config):
    sizes = gpt2_sizes(config)
    made = theirs.GPT(theirs.GPTConfig(**sizes, dropout=config.dropout, bias=config.bias))
    for block in made.transformer.h:
        block.mlp.gelu.approximate = "tanh"
    return made


ALL = {"batch_axes": 1, "call": lambda gpt, ids: gpt(ids, ids)[0]}
GPT = adapt(model.GPT, build, weights=gpt2_names("model"), **ALL)
