"""labml's `LayerNorm`, which always has a bias."""

from labml_nn.normalization.layer_norm import LayerNorm as Labml

from peers.fitting import rename

DEVIATIONS = {
    "shift-changes-nothing": (
        "labml-nn 0.5.1 takes the mean of squares less the square of the mean, whose digits "
        "cancel: in float32, 10000 and 10001 become -158 and 158",
        0.5,
    ),
    "parameter-count": (
        "labml-nn 0.5.1 has a bias whenever it has a weight",
        "assert 2 == (1 * 1)",
    ),
    "holds-at-real-sizes": (
        "labml-nn 0.5.1 takes the mean of squares less the square of the mean, whose digits cancel",
        2e-06,
    ),
    "half-precision-is-close": (
        "labml-nn 0.5.1 takes the mean of squares less the square of the mean, whose digits cancel",
        "where rounding explains",
    ),
    "rejects-d-model": (
        "labml-nn 0.5.1 accepts a width of 0",
        "accepted what must be refused",
    ),
    "rejects-eps": (
        "labml-nn 0.5.1 accepts any",
        "accepted what must be refused",
    ),
}


class LayerNorm(Labml):
    def __init__(self, d_model, *, eps=1e-5, bias=True):
        super().__init__(d_model, eps=eps)
        rename(self, gain="weight")


def normalize(x, eps=1e-5):
    return Labml(x.shape[-1], eps=eps, elementwise_affine=False)(x)
