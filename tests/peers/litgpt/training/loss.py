"""LitGPT's `chunked_cross_entropy`; as there, the caller makes the chunks of logits."""

from litgpt.utils import chunked_cross_entropy as litgpt

DEVIATIONS = {
    "chunks-keep-no-logits": (
        "LitGPT 0.5.13 is given all logits and keeps them, chunk by chunk",
        " < (2100 * 20)",
    ),
    "half-precision-is-lifted": (
        "LitGPT 0.5.13 computes in the type of the logits",
        "torch.float32",
    ),
    "half-chunks-round-logits": (
        "LitGPT 0.5.13 computes in the type of the logits",
        "torch.float32",
    ),
    "rejects-nothing-counted": (
        "LitGPT 0.5.13 returns 0",
        "accepted what must be refused",
    ),
    "rejects-unknown-targets": (
        "LitGPT 0.5.13 raises an IndexError",
        "failed with IndexError",
    ),
    "rejects-empty-chunks": (
        "LitGPT 0.5.13 takes 0 for no chunks",
        "failed with RuntimeError",
    ),
}


def cross_entropy(logits, targets, *, ignore=-100):
    return litgpt(logits, targets, ignore_index=ignore)


def chunked_cross_entropy(x, weight, targets, *, chunk=1024, ignore=-100):
    rows, targets = x.reshape(1, -1, x.shape[-1]), targets.reshape(1, -1)
    logits = [part @ weight.T for part in rows.split(chunk, dim=1)]
    return litgpt(logits, targets, chunk_size=chunk, ignore_index=ignore)
