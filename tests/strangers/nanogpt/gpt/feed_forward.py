"""nanoGPT's `MLP`, always four times as wide within, given the tanh form of gelu."""

import model as theirs

from gptspec.gpt import feed_forward
from gptspec_laws import adapt, gpt2_names, only


def build(d_model, d_ff, *, dropout=0.0, bias=True):
    only(locals(), d_ff=4 * d_model)
    made = theirs.MLP(theirs.GPTConfig(n_embd=d_model, dropout=dropout, bias=bias))
    made.gelu.approximate = "tanh"
    return made


FeedForward = adapt(feed_forward.FeedForward, build, weights=gpt2_names("feed_forward"))
