"""Stories: a corpus from a grammar, whose entropy is known."""

import math
import random
import re
from collections.abc import Mapping, Sequence
from functools import cache

Grammar = Mapping[str, Sequence[str]]

# A symbol in braces is drawn at its first mention, all alternatives alike, and repeated after.
GRAMMAR: Grammar = {
    "story": ("{opening} {trouble} {alone} {ending}", "{opening} {trouble} {company} {ending}"),
    "opening": (
        "One {day} {name} the {animal} found a {colour} {thing} {place}.",
        "{name} the {animal} had a {colour} {thing} and kept it {place}.",
    ),
    "trouble": ("A {thief} carried it away.", "But it was {flaw}."),
    "alone": ("{name} {tried} all night.", "{name} sat down and {rested}."),
    "company": ('{friend} the {helper} came by and said, "{advice}"',),
    "ending": (
        "In the end {name} {loved} the {colour} {thing} more than ever.",
        "So {name} the {animal} made a new {thing}, and it was {colour} too.",
        "{name} never saw a {colour} {thing} again.",
    ),
    "day": ("morning", "evening", "Sunday", "winter day"),
    "name": ("Anna", "Ben", "Clara", "Daniel", "Emma", "Felix", "Greta", "Hugo"),
    "animal": ("mouse", "fox", "bear", "hare", "otter", "mole", "duck", "frog"),
    "colour": ("red", "blue", "green", "yellow"),
    "thing": ("kite", "lamp", "drum", "ball", "boat", "bell", "hat", "book"),
    "place": ("in the garden", "by the river", "under a bridge", "on the hill", "in the barn"),
    "thief": ("crow", "goat", "flood", "gust of wind"),
    "flaw": ("broken", "frozen", "stuck", "far too heavy"),
    "tried": ("tried", "waited", "worked", "cried"),
    "rested": ("thought", "sang", "slept"),
    "friend": ("Ida", "Jonas", "Karl", "Lotte"),
    "helper": ("owl", "ant", "elk", "eel"),
    "advice": ("Let us try together.", "Do not give up!", "Tomorrow is another day."),
    "loved": ("loved", "missed", "praised"),
}
_MENTION = re.compile(r"{(\w+)}")


def stories(count: int, *, seed: int, grammar: Grammar = GRAMMAR) -> list[str]:
    """Return stories drawn from the grammar; a longer list begins with the shorter one.

    Raises:
        ValueError: If `count` is negative.

    Examples:
        >>> stories(1, seed=0, grammar={"story": ["{who} met {who}."], "who": ["Ida"]})
        ['Ida met Ida.']
    """
    if count < 0:
        raise ValueError(f"count must be at least 0, got {count}")
    source = random.Random(seed)
    return [_tell("story", grammar, source, {}) for _ in range(count)]


def _tell(symbol: str, grammar: Grammar, source: random.Random, drawn: dict[str, str]) -> str:
    if symbol not in drawn:
        # Python promises the same numbers in every version for random() only.
        chosen = grammar[symbol][int(source.random() * len(grammar[symbol]))]
        drawn[symbol] = _MENTION.sub(lambda found: _tell(found[1], grammar, source, drawn), chosen)
    return drawn[symbol]


def story_entropy(grammar: Grammar = GRAMMAR) -> float:
    """Return the entropy of a story in nats: the loss of a perfect model.

    Exact if no two ways through the grammar give the same story.

    Examples:
        >>> story_entropy({"story": ["{who} met {who}."], "who": ["Ida", "Karl"]})
        0.6931471805599453
    """

    @cache
    def entropy(pending: tuple[str, ...], drawn: frozenset[str]) -> float:
        if not pending:
            return 0.0
        symbol, *rest = pending
        if symbol in drawn:
            return entropy(tuple(rest), drawn)
        ways = [(*_MENTION.findall(option), *rest) for option in grammar[symbol]]
        after = sum(entropy(way, drawn | {symbol}) for way in ways)
        return math.log(len(ways)) + after / len(ways)

    return entropy(("story",), frozenset())
