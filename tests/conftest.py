"""How the laws run: settled before any law file is imported."""

import gc
import tomllib
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import register_random, settings

import profiles

profiles.register()
settings.load_profile("laws")

torch.set_num_threads(1)  # 2 to 4 times faster on small tensors

# Adapters need what they adapt, and are loaded by `--peers` or `nox -s strangers`; a visit to the
# site has its own session.
collect_ignore_glob = ["peers/*", "strangers/*", "browser/*"]

TYPES = ("float64", "float32", "bfloat16")

RANDOM: dict[str, "TorchRandom"] = {}


class TorchRandom:
    """Torch's global generator on one device, for Hypothesis to seed before each example."""

    def __init__(self, device: str) -> None:
        cuda = torch.device(device).type == "cuda"
        # torch.manual_seed seeds every device, which takes 700 times as long as seeding one.
        self.seed = torch.cuda.manual_seed if cuda else torch.default_generator.manual_seed
        self.getstate = torch.cuda.get_rng_state if cuda else torch.get_rng_state
        self.setstate = torch.cuda.set_rng_state if cuda else torch.set_rng_state


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--examples", type=int, help="examples of each law, instead of 50")
    parser.addoption("--device", default="cpu", help="where the laws make their tensors")
    parser.addoption("--slow", action="store_true", help="run the slow laws, and only these")
    parser.addoption("--dtype", default="float64", choices=TYPES, help="in which numbers")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes many seconds; runs with --slow")
    if config.getoption("--peers") or config.getoption("--yours"):
        settings.load_profile("peers" if config.getoption("--peers") else "yours")
    if (examples := config.getoption("--examples")) is not None:
        settings.register_profile("few", settings.get_profile("peers"), max_examples=examples)
        settings.load_profile("few")
    torch.set_default_dtype(getattr(torch, config.getoption("--dtype")))
    device = config.getoption("--device")
    if device != "cpu":  # even the CPU as default device would cost a fifth of the time
        torch.set_default_device(device)
    for name in {"cpu", device} - RANDOM.keys():  # mutmut runs pytest many times in one process
        RANDOM[name] = TorchRandom(name)  # Hypothesis keeps weak references only
        register_random(RANDOM[name])
    gc.freeze()  # nothing that torch made on import needs to be looked at again


def pytest_litspec_alike(module: ModuleType) -> AbstractContextManager[None]:
    from weights import decided_by_name

    return decided_by_name(module)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep slow laws apart; expect the laws to fail that do not hold in this type."""
    slow = config.getoption("--slow")
    apart = [item for item in items if bool(item.get_closest_marker("slow")) != slow]
    config.hook.pytest_deselected(items=apart)
    items[:] = [item for item in items if item not in set(apart)]
    lists = tomllib.loads(Path(__file__).with_name("precision.toml").read_text("utf-8"))
    reasons = {
        law: entry["reason"]
        for entry in lists.get(config.getoption("--dtype"), [])
        for law in entry["laws"]
    }
    for item in items:
        concept, law = item.path.stem, getattr(item, "originalname", None) or ""
        name = f"{concept.removeprefix('test_')}.{law.removeprefix('test_').replace('_', '-')}"
        if name in reasons:
            mark = pytest.mark.xfail(strict=True, raises=AssertionError, reason=reasons[name])
            item.add_marker(mark)
