import itertools
import math

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from strategies import keeps, rejects


@st.composite
def runs(draw):
    """The settings of a run."""
    steps = draw(st.integers(1, 40))
    peak = draw(st.sampled_from([1.0, 0.5, 3e-4]))
    return {
        "peak": peak,
        "warmup": draw(st.integers(0, steps - 1)),
        "steps": steps,
        "floor": peak * draw(st.sampled_from([0.0, 0.1, 1.0])),
    }


LONG = {"peak": 6e-4, "warmup": 300, "steps": 2_100, "floor": 6e-5}


def rates(schedule, run, after=0):
    return [schedule.learning_rate(step, **run) for step in range(run["steps"] + after)]


@example(LONG)
@given(runs())
def test_every_step_moves(schedule, run):
    assert all(rate > 0 for rate in rates(schedule, run))


@example(LONG)
@given(runs())
def test_warmup_is_even(schedule, run):
    climb = rates(schedule, run)[: run["warmup"] + 1]
    increments = [after - before for before, after in itertools.pairwise([0, *climb])]
    assert all(
        math.isclose(increment, run["peak"] / (run["warmup"] + 1), rel_tol=1e-9)
        for increment in increments
    )


@example(LONG)
@given(runs())
def test_peak_follows_warmup(schedule, run):
    everything = rates(schedule, run, after=20)
    assert math.isclose(everything[run["warmup"]], run["peak"])
    assert max(everything) <= run["peak"] * (1 + 1e-12)


@example(LONG)
@given(runs())
def test_never_rises_again(schedule, run):
    descent = rates(schedule, run, after=60)[run["warmup"] :]
    rounded = 1 + 1e-12
    assert all(later <= earlier * rounded for earlier, later in itertools.pairwise(descent))


@example({**LONG, "steps": 600_000}, True, 0)
@given(runs(), st.booleans(), st.integers(0, 5) | st.integers(0, 1000))
def test_ends_at_the_floor(schedule, run, floored, after):
    if not floored:
        del run["floor"]
    rate = schedule.learning_rate(run["steps"] + after, **run)
    assert math.isclose(rate, run.get("floor", 0), abs_tol=1e-15)


@example({**LONG, "steps": 600})
@given(runs())
def test_descent_is_torchs_cosine(schedule, run):
    length = run["steps"] - run["warmup"]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=run["peak"])
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, length, run["floor"])
    for step in range(run["warmup"], run["steps"]):
        expected = optimizer.param_groups[0]["lr"]
        assert math.isclose(schedule.learning_rate(step, **run), expected, rel_tol=1e-9)
        optimizer.step()
        cosine.step()


@given(runs(), runs(), st.data())
def test_pure_in_the_step(schedule, run, other, data):
    order = data.draw(st.permutations(range(run["steps"])), "order")
    with keeps(run, other):
        asked, between = {}, {}
        for step in order:
            asked[step] = schedule.learning_rate(step, **run)
            between[step] = schedule.learning_rate(step, **other)
    assert [asked[step] for step in range(run["steps"])] == rates(schedule, run)
    assert all(between[step] == schedule.learning_rate(step, **other) for step in order)


@given(runs(), st.integers(-5, -1))
def test_rejects_steps_before_the_first(schedule, run, step):
    with rejects("step", step):
        schedule.learning_rate(step, **run)


@given(runs(), st.data())
def test_rejects_runs_without_descent(schedule, run, data):
    beyond = data.draw(st.integers(-5, -1) | st.integers(run["steps"], 50), "warmup")
    with rejects("warmup", beyond, run["steps"]):
        schedule.learning_rate(0, **{**run, "warmup": beyond})


@given(runs(), st.sampled_from([-0.1, 1.1, 2.0, math.nan]), st.booleans())
def test_rejects_floors_above_the_peak(schedule, run, share, endless):
    if endless:
        with rejects("peak", math.inf):
            schedule.learning_rate(0, **{**run, "peak": math.inf})
        return
    floor = share * run["peak"]
    with rejects("floor", floor, run["peak"]):
        schedule.learning_rate(0, **{**run, "floor": floor})
