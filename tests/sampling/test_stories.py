import math
import re
from collections import Counter, defaultdict

from hypothesis import example, given, settings
from hypothesis import strategies as st

from strategies import keeps, rejects

seeds = st.integers(0, 2**32 - 1)

mention = re.compile(r"{(\w+)}")


def derivations(grammar, pending, drawn, text=None):
    """Every way through the grammar, or every way that writes `text`: plain search."""
    literal, symbol, rest, *_ = [*mention.split(pending, maxsplit=1), "", ""]
    if text is not None and not text.startswith(literal):
        return
    text = None if text is None else text[len(literal) :]
    if not symbol:
        if not text:
            yield drawn
        return
    options = [drawn[symbol]] if symbol in drawn else range(len(grammar[symbol]))
    for option in options:
        chosen = grammar[symbol][option]
        yield from derivations(grammar, chosen + rest, drawn | {symbol: option}, text)


def probability(grammar, drawn):
    return 1 / math.prod(len(grammar[symbol]) for symbol in drawn)


TINY = {
    "story": ["{Who1} met {thé}.", "{Who1} met {Who1}."],
    "Who1": ["Ida", "Karl"],
    "thé": ["tea", "{Who1}"],
}
TOLD = {f"{who} met {whom}." for who in ("Ida", "Karl") for whom in ("tea", who)}


@settings(max_examples=20)
@example(seed=2**40, count=2100, more=1)
@given(seeds, st.integers(0, 5), st.integers(0, 5))
def test_same_seed_same_stories(stories, seed, count, more):
    for options in ({}, {"grammar": TINY}):
        with keeps(TINY):
            few = stories.stories(count, seed=seed, **options)
            assert stories.stories(count + more, seed=seed, **options)[:count] == few
        assert len(few) == count
    assert set(few) <= TOLD


KNOWN = {
    (0, 0): (
        "Daniel the bear had a green ball and kept it on the hill. A goat carried it "
        'away. Lotte the elk came by and said, "Let us try together." Daniel never saw a '
        "green ball again."
    ),
    (7, 1): (
        "One morning Felix the frog found a green ball in the barn. A gust of wind "
        'carried it away. Ida the owl came by and said, "Let us try together." Felix '
        "never saw a green ball again."
    ),
    (1099511627776, 2): (
        "Felix the mouse had a yellow lamp and kept it by the river. A goat carried it "
        'away. Ida the ant came by and said, "Tomorrow is another day." Felix never saw a '
        "yellow lamp again."
    ),
}


@given(st.sampled_from(sorted(KNOWN)))
def test_stories_are_known(stories, which):
    seed, place = which
    assert stories.stories(place + 1, seed=seed)[place] == KNOWN[which]


@example(seed=1, step=2**16)
@example(seed=1, step=2**32)
@given(seeds, st.integers(1, 3))
def test_other_seed_other_stories(stories, seed, step):
    these, others = (set(stories.stories(8, seed=s)) for s in (seed, seed + step))
    assert not these & others


@given(seeds)
def test_one_derivation(stories, seed):
    for story in stories.stories(5, seed=seed):
        assert len(list(derivations(stories.GRAMMAR, "{story}", {}, story))) == 1, story


@given(st.data())
def test_entropy_is_exact(stories, data):
    grammar, below = {}, []
    for symbol in ("c", "b", "a", "story"):
        options = st.lists(st.sampled_from(["x", *below]), max_size=2).map("".join)
        grammar[symbol] = data.draw(st.lists(options, min_size=1, max_size=3), symbol)
        below.append(f"{{{symbol}}}")
    chances = [probability(grammar, drawn) for drawn in derivations(grammar, "{story}", {})]
    entropy = -math.fsum(chance * math.log(chance) for chance in chances)
    assert math.isclose(stories.story_entropy(grammar), entropy, abs_tol=1e-12)


@settings(max_examples=2)
@given(seeds)
def test_entropy_is_measured(stories, seed):
    """Frequencies of every choice in 1,000 stories; Miller and Madow's correction for few draws."""
    choices = defaultdict(Counter)
    for story in stories.stories(1000, seed=seed):
        for symbol, option in next(derivations(stories.GRAMMAR, "{story}", {}, story)).items():
            choices[symbol][option] += 1
    measured = 0.0
    assert choices.keys() <= stories.GRAMMAR.keys()
    for symbol, counts in choices.items():
        assert len(counts) == len(stories.GRAMMAR[symbol])  # every alternative is told
        total = counts.total()
        shares = [count / total for count in counts.values()]
        plain = -math.fsum(share * math.log(share) for share in shares)
        measured += total / 1000 * (plain + (len(counts) - 1) / (2 * total))
    assert abs(measured - stories.story_entropy()) < 0.3


@given(st.integers(max_value=-1))
def test_rejects_count(stories, count):
    with rejects("count", count):
        stories.stories(count, seed=0)
