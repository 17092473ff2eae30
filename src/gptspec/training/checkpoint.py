"""Checkpoints: a run on disk, to go on as if it had never stopped."""

import dataclasses
import shutil
from pathlib import Path

import torch

from gptspec import files
from gptspec.gpt.model import GPT
from gptspec.training.loop import Run, TrainConfig
from gptspec.training.muon import Muon
from gptspec.training.optimizer import AdamW

PARTIAL = ".partial"
MOMENTS: dict[type, tuple[str, ...]] = {
    AdamW: ("step", "exp_avg", "exp_avg_sq"),
    Muon: ("momentum_buffer",),
}


def save(folder: Path, run: Run) -> None:
    """Write a checkpoint that a kill or a full disk cannot spoil.

    Save between two steps, which is where `train` and Ctrl-C leave a run.

    It is written aside, file by file, into a folder of its own; then that folder is renamed,
    which happens at once or not at all. Until that moment the old checkpoint counts, from it on
    the new one, and what no longer counts is removed.

    Raises:
        OSError: If the disk is full or cannot be written; the old checkpoint still counts.
    """
    _sweep(folder)  # what a killed save left behind, before more space is needed
    number = max(_saves(folder), default=0) + 1
    fresh = folder / f"save-{number:06}"
    aside = fresh.with_suffix(PARTIAL)
    run.model.save(aside)
    moments = {
        f"{name}/{moment}": value
        for name, parameter in run.model.named_parameters()
        for optimizer in run.optimizers
        for moment, value in optimizer.state.get(parameter, {}).items()
    }
    files.write_tensors(aside / "moments.safetensors", moments)
    training = {"step": run.step, "config": dataclasses.asdict(run.config)}
    files.write_json(aside / "training.json", "training", training)
    aside.rename(fresh)
    _sweep(folder)


def latest(folder: Path) -> Path:
    """Return the checkpoint in `folder` that counts; `GPT.load` reads its model.

    Raises:
        ValueError: If there is none.
    """
    saves = _saves(folder)
    if not saves:
        raise ValueError(f"{folder} holds no checkpoint: save a run there first")
    return saves[max(saves)]


def discard(folder: Path) -> None:
    """Remove what `save` wrote into a folder, and nothing else."""
    for save in [*_saves(folder).values(), *folder.glob(f"save-*{PARTIAL}")]:
        shutil.rmtree(save)


def _saves(folder: Path) -> dict[int, Path]:
    numbered = ((save.name.removeprefix("save-"), save) for save in folder.glob("save-*"))
    return {int(number): save for number, save in numbered if number.isdecimal()}


def _sweep(folder: Path) -> None:
    saves = _saves(folder)
    older = [save for number, save in saves.items() if number < max(saves)]
    for leftover in [*older, *folder.glob(f"save-*{PARTIAL}")]:
        shutil.rmtree(leftover, ignore_errors=True)  # what stays is tried again by the next save


def resume(folder: Path, *, device: torch.device | str | None = None) -> Run:
    """Return the run as it was when it was saved, to go on as if it had never stopped.

    Args:
        folder: Where `save` wrote.
        device: Where the weights go; torch's default device if None.

    Raises:
        ValueError: If a file is missing, cut short, foreign, or from a newer gptspec.
    """
    checkpoint = latest(folder)
    file = checkpoint / "training.json"
    saved = files.read_json(file, "training")
    model = GPT.load(checkpoint).to(device)
    try:
        config = {**saved["config"], "betas": tuple(saved["config"]["betas"])}
        run = Run(model, TrainConfig(**config))
        run.step = saved["step"]
        if type(run.step) is not int or not 0 <= run.step <= run.config.steps:
            raise ValueError(f"it took {run.step} steps of {run.config.steps}")
    except (KeyError, TypeError, ValueError) as error:
        why = "a setting is missing or unknown"
        why = files.reason(error) if isinstance(error, ValueError) else why
        raise ValueError(f"{file} describes no training: {why}") from error
    _restore(run, checkpoint / "moments.safetensors")
    return run


def _restore(run: Run, file: Path) -> None:
    moments = files.read_tensors(file)
    names = {parameter: name for name, parameter in run.model.named_parameters()}
    moved = [
        (parameter, optimizer)
        for optimizer in run.optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
        if run.step
    ]
    fitting = {
        f"{names[parameter]}/{moment}": torch.Size() if moment == "step" else parameter.shape
        for parameter, optimizer in moved
        for moment in MOMENTS[type(optimizer)]
    }
    found = {name: value.shape for name, value in moments.items() if value.is_floating_point()}
    if fitting != found or len(found) != len(moments):
        raise ValueError(f"{file} does not hold the moments of the model beside it")
    for parameter, optimizer in moved:
        optimizer.state[parameter] = {
            moment: moments[f"{names[parameter]}/{moment}"].to(parameter.device)
            for moment in MOMENTS[type(optimizer)]
        }
