"""How Hypothesis draws for the laws: the same in every run, whatever ran before."""

from hypothesis import HealthCheck, Phase, settings
from hypothesis.internal.conjecture import providers


def register() -> None:
    """Register the profiles; settings bind when `@given` decorates, so load one before."""
    settings.register_profile(
        "laws",
        max_examples=50,
        deadline=None,  # the first call into torch takes about a second
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],  # explain: 50 times slower
        report_multiple_bugs=False,  # one failure, one counterexample
    )
    settings.register_profile(  # for `nox -s mutants`: whether a law fails is enough
        "mutants", settings.get_profile("laws"), phases=[Phase.explicit, Phase.generate]
    )
    settings.register_profile(  # for `--peers`: examples of a kind a peer lacks are passed over
        "peers", settings.get_profile("laws"), suppress_health_check=list(HealthCheck)
    )
    settings.register_profile(  # for `litspec judge`: a first answer, in seconds
        "yours", settings.get_profile("peers"), max_examples=25
    )

    # Hypothesis also draws constants that it finds in whatever modules are loaded. What a law sees
    # must not depend on which other laws ran before, nor on whose code is on trial.
    providers._get_local_constants = lambda: providers._local_constants
