"""buildNanoGPT's `Block`."""

from buildNanoGPT import model as theirs

from gptspec.gpt import block
from gptspec_laws import adapt, gpt2_names, gpt2_sizes


def build(config):
    return theirs.Block(theirs.GPTConfig(**gpt2_sizes(config, dropout=0.0, bias=True)))


Block = adapt(block.Block, build, weights=gpt2_names("block"), batch_axes=1)
