"""What a law expected and got is told in a few numbers or words."""

import math

import pytest
import torch

from litspec.witness import differing, drawn, side_by_side, witness


def caught(law, file=""):
    with pytest.raises(AssertionError) as error:
        law()
    return witness(error.value, file)


def test_compared_arrays_are_told_entry_by_entry():
    one, other = torch.tensor([[0.0, 1.0], [0.5, 0.25]]), torch.tensor([[0.0, 1.0], [0.5, 0.3]])
    told = caught(lambda: torch.testing.assert_close(one, other))
    assert told == ("[[0, 1],\n [0.5, 0.3]]", "[[0, 1],\n [0.5, 0.25]]")


@pytest.mark.parametrize(
    ("expected", "got", "told"),
    [
        (torch.zeros(2), torch.zeros(3), ("shape [2]", "shape [3]")),
        (torch.zeros(2).float(), torch.zeros(2).double(), ("float32", "float64")),
        (torch.tensor(1.0).double(), torch.tensor(1.00001).double(), ("1", "1.00001")),
        (torch.zeros(9, 9), torch.eye(9)[:, [*range(8), 0]], ("0 at [0, 0]", "1 at [0, 0]")),
        (torch.tensor([-0.0]), torch.tensor([1.5]), ("[0]", "[1.5]")),
        (torch.tensor([1, 2]), torch.tensor([1, 3]), ("[1, 2]", "[1, 3]")),
        (torch.tensor([0.0]), torch.tensor([math.nan]), ("[0]", "[nan]")),
        ("a" * 50 + "b" * 90, "a" * 140, ("…" + "a" * 30 + "b" * 60 + "…", "…" + "a" * 90 + "…")),
    ],
)
def test_what_differs_can_be_seen(expected, got, told):
    if isinstance(expected, str):
        assert differing(expected, got) == told
    else:
        assert side_by_side(expected, got) == told


def test_of_many_numbers_the_pair_farthest_apart_is_told():
    one = torch.zeros(10, 10)
    other = one.clone()
    other[3, 4], other[5, 6] = 1e-3, math.nan
    assert side_by_side(one, other) == ("0 at [5, 6]", "nan at [5, 6]")


def test_a_plain_assertion_shows_both_sides_or_its_claim():
    def equal():
        assert len("abc") == 4

    def claim():
        assert not math.isnan(math.nan)

    def words():
        raise AssertionError("it remembers a text")

    def accepts():
        raise AssertionError("accepted what must be refused")

    assert caught(equal) == ("4", "3")
    assert caught(claim, __file__) == ("not math.isnan(math.nan)", "not so")
    assert caught(words) == ("", "it remembers a text")
    assert caught(accepts) == ("an error", "accepted")


def test_drawn_values_are_readable_and_texts_stay_as_they_are():
    lines = "x=tensor([[0.],\n          [1.5000]], dtype=torch.float64)\ncut=1\ntext='a  b 1.0'"
    assert drawn(lines) == [("x", "[[0], [1.5]]"), ("cut", "1"), ("text", "'a  b 1.0'")]
    assert drawn("") == []
