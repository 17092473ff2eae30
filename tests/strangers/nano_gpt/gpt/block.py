"""nano-gpt's `Block`."""

from nano_gpt import model as theirs
from nano_gpt.config import GPTConfig as Config

from gptspec.gpt import block
from gptspec_laws import adapt, gpt2_names, gpt2_sizes


def build(config):
    return theirs.Block(Config(**gpt2_sizes(config, dropout=0.0, bias=True)))


Block = adapt(block.Block, build, weights=gpt2_names("block"), batch_axes=1)
