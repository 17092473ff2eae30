"""LitGPT's `build_rope_cache`, `apply_rope` and `apply_rope_interleave`.

The last returns pairs half a width apart, whatever it was given; they are put back.
"""

from litgpt import model

from peers.fitting import in_one_batch, to_pairs

DEVIATIONS = {
    "equals-the-formula": (
        "LitGPT 0.5.13 rounds frequencies to float32",
        "Tensor-likes are not close",
    ),
    "equals-gpt-j": (
        "LitGPT 0.5.13 rounds frequencies to float32",
        "Tensor-likes are not close",
    ),
    "shows-the-sinusoids": (
        "LitGPT 0.5.13 rounds frequencies to float32",
        "Tensor-likes are not close",
    ),
    "earlier-calls-leave-no-trace": (
        "LitGPT 0.5.13 rounds frequencies to float32",
        "Tensor-likes are not close",
    ),
    "score-is-by-distance": (
        "LitGPT 0.5.13 rounds sines and cosines to float32",
        "Tensor-likes are not close",
    ),
    "turns-add-up": (
        "LitGPT 0.5.13 rounds sines and cosines to float32",
        "Tensor-likes are not close",
    ),
    "rejects-odd-widths": (
        "LitGPT 0.5.13 accepts them",
        "accepted what must be refused",
    ),
    "rejects-negative-positions": (
        "LitGPT 0.5.13 accepts them",
        "accepted what must be refused",
    ),
    "rejects-theta": (
        "LitGPT 0.5.13 accepts any",
        "accepted what must be refused",
    ),
    "rejects-other-types": (
        "LitGPT 0.5.13 accepts whole numbers",
        "accepted what must be refused",
    ),
}


def angles_of(x, start, theta):
    cos, sin = model.build_rope_cache(start + x.shape[-2], x.shape[-1], x.device, base=theta)
    return cos[None, start:], sin[None, start:]


def rotate(x, *, start=0, theta=10_000.0):
    return in_one_batch(lambda x: model.apply_rope(x, *angles_of(x, start, theta)), x)


def rotate_interleaved(x, *, start=0, theta=10_000.0):
    turned = in_one_batch(lambda x: model.apply_rope_interleave(x, *angles_of(x, start, theta)), x)
    return to_pairs(turned)
