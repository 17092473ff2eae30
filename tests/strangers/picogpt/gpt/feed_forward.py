"""picogpt's `FeedFwd`, given the tanh form of gelu."""

from picogpt import model as theirs

from gptspec.gpt import feed_forward
from gptspec_laws import adapt, only


def build(d_model, d_ff, *, dropout=0.0, bias=True):
    only(locals(), d_ff=4 * d_model, bias=True)
    made = theirs.FeedFwd(d_model, dropout)
    made.net[1].approximate = "tanh"
    return made


FeedForward = adapt(feed_forward.FeedForward, build, weights={"up": "net.0", "down": "net.2"})
