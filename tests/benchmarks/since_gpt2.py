"""One GPT walked from GPT-2's choices to Llama's, a step at a time, each step measured.

Every configuration trains on the same tokens of python-docs, from each of the same three seeds,
and is judged by bits per byte of the same validation text. Speed is measured apart: a few training
steps of each in turn, again and again, and the median of each.

Run by `nox -s since_gpt2`, which writes docs/assets/since_gpt2.json for the site.
"""

import json
import platform
import statistics
import time
from pathlib import Path

import torch

from gptspec.evaluation.likelihood import score
from gptspec.gpt.config import GPTConfig
from gptspec.gpt.model import GPT, parameter_count
from gptspec.sampling.batches import Windows
from gptspec.sampling.python_docs import python_docs
from gptspec.sampling.split import split_documents
from gptspec.tokenization import bpe
from gptspec.training import loop
from gptspec.training.loop import Run, TrainConfig

SHAPE = {
    "vocab_size": 2048, "context_length": 128, "d_model": 128, "n_layers": 4, "n_heads": 4,
}  # fmt: skip
TRAINING = {
    "steps": 300, "batch_size": 16, "learning_rate": 2e-3, "warmup": 20, "floor": 1e-4,
}  # fmt: skip
WALK: tuple[tuple[str, dict[str, object]], ...] = (
    ("GPT-2", {}),
    ("no biases", {"bias": False}),
    ("RMS norm", {"norm": "rms"}),
    ("rotary positions", {"positions": "rotary"}),
    ("SwiGLU", {"feed_forward": "swiglu"}),
    ("grouped queries", {"n_kv_heads": 2}),
    ("the same, trained by Muon", {"optimizer": "muon"}),
)
SEEDS = (0, 1, 2)
ROUNDS, PER_ROUND = 7, 3  # for the speed


def begin(choices: dict[str, object], *, seed: int) -> Run:
    """Return a training that has not begun; of the choices one may be the optimizer."""
    torch.manual_seed(seed)
    shape = {name: choice for name, choice in choices.items() if name != "optimizer"}
    optimizer = choices.get("optimizer", "adamw")
    config = TrainConfig(**TRAINING, seed=seed, optimizer=optimizer)
    return Run(GPT(GPTConfig(**SHAPE, **shape)), config)


def main() -> None:
    """Train every step of the walk, measure its speed, and write the record."""
    torch.set_num_threads(2)
    train, held_back = split_documents(python_docs())
    tokenizer = bpe.train(train, int(SHAPE["vocab_size"]))
    end = tokenizer.end_of_text
    ids = torch.tensor([id for text in train for id in [*tokenizer.encode(text), end]])
    windows = Windows(ids, SHAPE["context_length"], SHAPE["context_length"] // 2)

    walk: dict[str, dict[str, object]] = {}
    choices: dict[str, object] = {}
    for name, change in WALK:
        walk[name] = choices = choices | change

    trainings = {name: loop.train(begin(walk[name], seed=0), windows) for name in walk}
    seconds: dict[str, list[float]] = {name: [] for name in walk}
    for _ in range(ROUNDS):
        for name, training in trainings.items():
            start = time.perf_counter()
            for _ in range(PER_ROUND):
                next(training)
            seconds[name].append((time.perf_counter() - start) / PER_ROUND)
    tokens = TRAINING["batch_size"] * SHAPE["context_length"]

    rows = []
    for name, choices in walk.items():
        bits = []
        for seed in SEEDS:
            run = begin(choices, seed=seed)
            for _ in loop.train(run, windows):
                pass
            bits.append(round(score(run.model, tokenizer, held_back).bits_per_byte, 3))
        rows.append(
            {
                "step": name,
                "parameters": parameter_count(run.model.config),
                "bits_per_byte": bits,
                "tokens_per_second": round(tokens / statistics.median(seconds[name])),
            }
        )
        print(rows[-1], flush=True)
    record = {
        "shape": SHAPE,
        "training": TRAINING,
        "seeds": SEEDS,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "rows": rows,
    }
    file = Path("docs/assets/since_gpt2.json")
    file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
