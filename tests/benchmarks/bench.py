"""Speed beside peers, each measured in one run with what it is compared with.

A race is a small function here that returns two calls, ours and the peer's. They run in turns,
round after round, so that what slows the machine slows both; `ours` and `peer` are medians, and
`ratio` is the median over the rounds of how many times as fast ours was.

Run by `nox -s bench`, which writes docs/assets/bench.json for the site. With words after `--` only
races whose names hold one of them run, and the other rows stay as they are.
"""

import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nanogpt
import torch

from gptspec.gpt.config import GPTConfig
from gptspec.gpt.model import GPT
from gptspec.sampling.batches import Windows
from gptspec.training import loop

RECORD = Path("docs/assets/bench.json")
ROUNDS = 9


@dataclass(frozen=True, kw_only=True)
class Race:
    """Two ways to do the same work.

    Args:
        name: What is done, how large, and beside what.
        ours: Does it once.
        peer: Does it once in the other way.
        tokens: How many tokens a call reads or writes; with 0 the record is in milliseconds.
    """

    name: str
    ours: Callable[[], object]
    peer: Callable[[], object]
    tokens: int = 0


SMALL = {"n_layers": 4, "width": 128, "n_heads": 4, "time": 128, "batch": 16, "vocab": 4096}
LARGE = {"n_layers": 6, "width": 384, "n_heads": 6, "time": 256, "batch": 4, "vocab": 4096}


def text(vocab: int) -> torch.Tensor:
    """Return ids to learn from; which ones makes no difference to the speed."""
    return torch.randint(vocab, [100_000], generator=torch.Generator().manual_seed(0))


def stepper(sizes: dict[str, int], **training: object) -> Callable[[], object]:
    """Return a function that takes one training step of ours each time it is called."""
    torch.manual_seed(0)
    shape = GPTConfig(
        vocab_size=sizes["vocab"],
        context_length=sizes["time"],
        d_model=sizes["width"],
        n_layers=sizes["n_layers"],
        n_heads=sizes["n_heads"],
        bias=False,
    )
    config = loop.TrainConfig(
        steps=10**6, batch_size=sizes["batch"], learning_rate=6e-4, **training
    )
    ids = text(sizes["vocab"]).to(torch.int32)
    steps = loop.train(loop.Run(GPT(shape), config), Windows(ids, sizes["time"]))
    return lambda: next(steps)


def beside_nanogpt(sizes: dict[str, int]) -> Race:
    data = text(sizes["vocab"]).to(torch.uint16).numpy()
    shape = f"{sizes['n_layers']} × {sizes['width']}, {sizes['batch']} × {sizes['time']} tokens"
    return Race(
        name=f"training step, {shape}, beside nanoGPT",
        ours=stepper(sizes),
        peer=nanogpt.stepper(data, **sizes),
    )


def small_training_step() -> Race:
    return beside_nanogpt(SMALL)


def large_training_step() -> Race:
    return beside_nanogpt(LARGE)


def muon_step() -> Race:
    return Race(
        name="training step by Muon, 6 × 384, beside AdamW's",
        ours=stepper(LARGE, optimizer="muon"),
        peer=stepper(LARGE),
    )


# One function a row; each builds what it needs when its turn comes.
RACES: tuple[Callable[[], Race], ...] = (small_training_step, large_training_step, muon_step)


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def run(race: Race) -> dict[str, object]:
    """Return the row of a race."""
    for call in (race.ours, race.peer, race.ours, race.peer):  # the first calls allocate
        call()
    pairs = []
    for number in range(ROUNDS):
        if number % 2:  # neither is always the one that comes second
            peer = seconds(race.peer)
            pairs.append((seconds(race.ours), peer))
        else:
            pairs.append((seconds(race.ours), seconds(race.peer)))
    ours, peer = (statistics.median(side) for side in zip(*pairs, strict=True))
    shown = (lambda s: race.tokens / s) if race.tokens else (lambda s: 1000 * s)
    return {
        "name": race.name,
        "ours": float(f"{shown(ours):.3g}"),
        "peer": float(f"{shown(peer):.3g}"),
        "ratio": round(statistics.median(peer / ours for ours, peer in pairs), 2),
        "unit": "tokens/s" if race.tokens else "ms",
        "rounds": ROUNDS,
        "on": f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
    }


def processor() -> str:
    """Return what the processor calls itself, and its widest instructions that torch uses."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"


def main(words: list[str]) -> None:
    """Run the races, and write their rows among the others of the record."""
    rows = json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else []
    for build in RACES:
        if words and not any(word in build.__name__ for word in words):
            continue
        row = run(build())
        print(
            f"{row['ratio']:5.2f}  {row['name']}: {row['ours']} {row['unit']}, peer {row['peer']}"
        )
        places = [place for place, old in enumerate(rows) if old["name"] == row["name"]]
        if places:
            rows[places[0]] = row
        else:
            rows.append(row)
        RECORD.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
