"""What a training shows while it runs, and when it ends."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text
from uniplot import plot_to_string

from gptspec import files, plots

console = Console(highlight=False)
NARROW = 80  # columns that the whole line of progress needs


def line(text: str) -> None:
    """Print a line that stays one line, however narrow the terminal is, to be copied from it."""
    console.print(text, markup=False, soft_wrap=True)


class Display:
    """A progress bar of the training at the bottom, what was measured and written above it."""

    def __init__(self, progress: Progress, steps: int, done: int) -> None:
        self.progress = progress
        self.task = progress.add_task("step", total=steps, completed=done, state="")

    def step(self, step: int, loss: float, tokens_per_second: float) -> None:
        """Show where the training stands."""
        state = f"loss {loss:.3f}  {tokens_per_second:,.0f} tokens/s"
        self.progress.update(self.task, completed=step, state=state)

    def evaluation(self, step: int, loss: float, bits_per_byte: float, text: str) -> None:
        """Write down how well the model does on text it has not seen, and what it writes."""
        self.progress.console.print(
            f"[bold]step {step:5}[/]  loss {loss:.3f}  "
            f"validation [bold]{bits_per_byte:.3f}[/] bits per byte"
        )
        shown = " ".join(text.split())[:200]
        self.progress.console.print(f"  [dim]{escape(shown)}[/]")


@contextmanager
def training(steps: int, done: int) -> Iterator[Display]:
    """Show a training of `steps` steps, of which `done` were made before."""
    columns = [
        TextColumn("{task.description}"),
        MofNCompleteColumn(),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    ]
    if console.width < NARROW:  # the step and the time left
        columns = [columns[0], columns[1], columns[-1]]
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        yield Display(progress, steps, done)


def loss_curve(
    path: Path, steps: Sequence[int], losses: Sequence[float], validation: Mapping[int, float]
) -> None:
    """Draw the loss over the steps: as SVG into a file, and into the terminal.

    Args:
        path: The SVG file.
        steps: Numbers of the steps.
        losses: Loss of each step in nats per token.
        validation: Loss on the validation text, by step.
    """
    figure, (axes,) = plots.panels()
    axes.plot(steps, losses, color=plots.GRAY, linewidth=0.6, label="training, each step")
    axes.plot(list(validation), list(validation.values()), color=plots.TEAL, label="validation")
    axes.set_xlabel("step")
    axes.set_ylabel("nats per token")
    axes.legend()
    figure_text = plots.picture(figure, "Training and validation loss over the steps.")
    files.write(path, figure_text.encode())
    drawn = plot_to_string(
        [list(losses), list(validation.values())],
        [list(steps), list(validation)],
        lines=True,
        legend_labels=["training", "validation"],
        title="nats per token, over the steps",
        width=max(min(console.width - 12, 80), 16),
        height=12,
    )
    console.print(Text.from_ansi(drawn))


def comparison(bits_per_byte: Mapping[str, float]) -> None:
    """Show a table of what each way needs for the validation text."""
    table = Table("the validation text, as told by", "bits per byte", box=box.SIMPLE_HEAD)
    table.columns[1].justify = "right"
    for name, value in sorted(bits_per_byte.items(), key=lambda item: item[1]):
        table.add_row(name, f"{value:.3f}")
    console.print(table)
