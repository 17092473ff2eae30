"""How the laws run: settled before any law file is imported."""

import gc

import pytest
import torch
from hypothesis import Phase, register_random, settings

settings.register_profile(
    "laws",
    max_examples=50,
    deadline=None,  # the first call into torch takes about a second
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],  # explain: 50 times slower
    report_multiple_bugs=False,  # one failure, one counterexample
)
settings.load_profile("laws")

torch.set_num_threads(1)  # 2 to 4 times faster on small tensors
torch.set_default_dtype(torch.float64)

RANDOM: list["TorchRandom"] = []


class TorchRandom:
    """Torch's global generator on one device, for Hypothesis to seed before each example."""

    def __init__(self, device: str) -> None:
        cuda = torch.device(device).type == "cuda"
        # torch.manual_seed seeds every device, which takes 700 times as long as seeding one.
        self.seed = torch.cuda.manual_seed if cuda else torch.default_generator.manual_seed
        self.getstate = torch.cuda.get_rng_state if cuda else torch.get_rng_state
        self.setstate = torch.cuda.set_rng_state if cuda else torch.set_rng_state


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="where the laws make their tensors")


def pytest_configure(config: pytest.Config) -> None:
    device = config.getoption("--device")
    if device != "cpu":  # even the CPU as default device would cost a fifth of the time
        torch.set_default_device(device)
    # Hypothesis keeps weak references only: the list keeps them alive.
    RANDOM.extend(TorchRandom(name) for name in {"cpu", device})
    for source in RANDOM:
        register_random(source)
    gc.freeze()  # nothing that torch made on import needs to be looked at again
