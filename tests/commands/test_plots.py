"""Figures show the numbers they are given."""

import re

import numpy as np
import torch
from matplotlib.colors import to_rgb

from gptspec import display, plots


def test_a_heatmap_is_as_deep_as_its_numbers():
    _, (axes,) = plots.panels()
    matrix = torch.tensor([[0.5, -2.0, 0.0], [1.0, 0.25, -0.5]])
    plots.heatmap(axes, matrix, rows=["a", "b"], columns=["x", "y", "z"], values=True)
    drawn = np.asarray(axes.images[0].get_array())
    expected = [
        [(*to_rgb(plots.TEAL if value >= 0 else plots.ROSE), abs(value) / 2) for value in row]
        for row in matrix.tolist()
    ]
    np.testing.assert_allclose(drawn, expected)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["x", "y", "z"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    told = {text.get_position(): text.get_text() for text in axes.texts}
    assert told == {
        (0, 0): "0.5", (1, 0): "-2", (2, 0): "0", (0, 1): "1", (1, 1): "0.25", (2, 1): "-0.5",
    }  # fmt: skip
    assert axes.get_aspect() == 1  # cells are squares
    plots.heatmap(axes, torch.zeros(2, 41))  # nothing to divide by
    assert axes.get_aspect() == "auto"
    assert np.asarray(axes.images[1].get_array())[..., 3].max() == 0
    plots.heatmap(axes, matrix, columns=["a long", "name", "here"])
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {60}
    assert len(axes.texts) == 6  # values only when asked for


def test_lines_are_named_when_there_are_several():
    figure, panels = plots.panels(2, width=5.0, height=2.0)
    assert len(panels) == 2
    assert figure.get_size_inches().tolist() == [5, 2]
    plots.lines(panels[0], [1.0, 2.0, 3.0], {"one": [3.0, 1.0, 2.0]})
    assert panels[0].get_legend() is None
    plots.lines(panels[1], [1.0, 2.0, 3.0], {"one": [3.0, 1.0, 2.0], "two": [0.0, 0.0, 5.0]})
    for line, name, values in zip(
        panels[1].lines, ("one", "two"), ([3, 1, 2], [0, 0, 5]), strict=True
    ):
        assert line.get_label() == name
        assert list(line.get_xdata()) == [1, 2, 3]
        assert list(line.get_ydata()) == values
    assert [text.get_text() for text in panels[1].get_legend().get_texts()] == ["one", "two"]
    assert [line.get_color() for line in panels[1].lines] == list(plots.COLOURS[:2])


def test_a_figure_follows_the_page():
    def draw():
        figure, (axes,) = plots.panels()
        plots.lines(axes, [0.0, 1.0], {"line": [0.0, 1.0]})
        axes.set_xlabel("steps")
        return figure

    def picture_of(figure):
        return plots.picture(figure, 'A "line" & <more>')

    picture = picture_of(draw())
    assert picture == picture_of(draw())  # the same figure is the same file
    assert picture.startswith(
        '<svg class="figure" role="img" aria-label="A &quot;line&quot; &amp; '
    )
    assert "&lt;more>" in picture
    assert "currentColor" in picture
    for absent in (plots.INK, "<metadata", "<?xml", "#ffffff"):
        assert absent not in picture
    assert ">steps</text>" in picture
    named, used = (set(re.findall(one, picture)) for one in (r' id="(.*?)"', r"#([^;)\"]+)[)\"]"))
    assert named == used  # the only names are those that are needed,
    other, (axes,) = plots.panels()
    axes.plot([0.0, 2.0], [0.0, 1.0])
    assert not named & set(re.findall(r' id="(.*?)"', plots.picture(other, "")))  # and its own
    shown = plots.svg(draw(), "")
    assert shown.startswith('<div class="figure" tabindex="0"><svg style="min-width: 350pt" ')
    assert shown.endswith("</svg></div>")


def test_a_curve_in_the_terminal_has_both_lines(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    display.loss_curve(tmp_path / "a.svg", [1, 2, 3], [3.0, 2.0, 1.0], {2: 2.5, 3: 2.0})
    shown = capfd.readouterr().out
    assert "training" in shown
    assert "validation" in shown
    assert "nats per token" in shown
    assert max(map(len, shown.splitlines())) <= 30


def test_markup_in_what_a_model_writes_is_text(capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    with display.training(9, 2) as shown:
        shown.step(4, 1.25, 1234.4)
        shown.evaluation(4, 1.25, 2.5, "a [bold]word[/] \n and" + " x" * 200)
    out = capfd.readouterr().out
    assert "step     4  loss 1.250  validation 2.500 bits per byte" in out
    assert "  a [bold]word[/] and x x" in out
    [written] = [line for line in out.splitlines() if "word" in line]
    assert written.rstrip() == "  a [bold]word[/] and" + " x" * 90  # 200 characters, no more
    assert "4/9" in out
    assert "loss 1.250  1,234 tokens/s" in out
