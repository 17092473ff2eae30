"""nano-gpt's `GPT`."""

from nano_gpt import model as theirs
from nano_gpt.config import GPTConfig as Config

from gptspec.gpt import model
from gptspec.gpt.config import GPTConfig  # noqa: F401
from gptspec_laws import adapt, gpt2_names, gpt2_sizes


def build(config):
    sizes = gpt2_sizes(config, dropout=0.0, bias=True)
    return theirs.GPT(Config(**sizes), None)


ALL = {"batch_axes": 1, "call": lambda gpt, ids: gpt(ids)[0]}
GPT = adapt(model.GPT, build, weights=gpt2_names("model"), **ALL)
