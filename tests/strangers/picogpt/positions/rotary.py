"""picogpt's rotary embedding, which turns neighbours."""

from picogpt import model as theirs

from gptspec_laws import in_batch_axes


def rotate_interleaved(x, start=0, **options):
    theta = options.pop("theta", 10_000.0)
    if options:
        raise NotImplementedError(", ".join(options))
    table = theirs.RotaryEmbedding(x.shape[-1], 8, base=theta)
    cos, sin = table.get_cos_sin(x.shape[-2], x.device, pos_offset=start, dtype=x.dtype)
    return in_batch_axes(lambda x: theirs.apply_rope(x, cos, sin), x, 1)
