"""How the laws run: settled before any law file is imported."""

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


class TorchRandom:
    """Torch's global generator, for Hypothesis to seed before each example."""

    seed = staticmethod(torch.manual_seed)
    getstate = staticmethod(torch.get_rng_state)
    setstate = staticmethod(torch.set_rng_state)


torch_random = TorchRandom()  # Hypothesis keeps a weak reference only
register_random(torch_random)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="where the laws make their tensors")


def pytest_configure(config: pytest.Config) -> None:
    torch.set_default_device(config.getoption("--device"))
