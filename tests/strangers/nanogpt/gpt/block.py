"""nanoGPT's `Block`, given the tanh form of gelu that GPT-2 was trained with."""

import model as theirs

from gptspec.gpt import block
from gptspec_laws import adapt, gpt2_names, gpt2_sizes


def build(config):
    sizes = gpt2_sizes(config) | {"block_size": 1100}
    made = theirs.Block(theirs.GPTConfig(**sizes, dropout=config.dropout, bias=config.bias))
    made.mlp.gelu.approximate = "tanh"
    return made


Block = adapt(block.Block, build, weights=gpt2_names("block"), batch_axes=1)
