"""Laws outside the repository: over objects in memory, in a notebook or in any pytest suite."""

import contextlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import settings

from litspec.examples import Watch
from litspec.implementations import open_module
from litspec.judge import Verdict, judge_object
from litspec.outcomes import MISSING
from litspec.pages import Concept, Law, Project

PACKAGED = Path(__file__).with_name("book")  # where the distribution carries pages and laws


@lru_cache(maxsize=1)
def book() -> Project:
    """Return the book: of this repository, or what the distribution carries of it.

    Examples:
        >>> book().concepts["attention/causal"].page.title
        'Causal attention'
    """
    return Project.find(PACKAGED if PACKAGED.exists() else Path(__file__))


def judge(
    code: Any = None,
    concept: str = "",
    *,
    seconds: float = 20.0,
    explain: bool = True,
    **names: Any,
) -> Verdict:
    """Return what the laws of a concept say of code in memory.

    Args:
        code: A module, or a class or function that is called as on the concept's page.
        concept: The concept's path.
        seconds: Time limit of each law.
        explain: When a law is broken, look for the mistake that the code resembles.
        names: More of what the page names, by its name there.

    Raises:
        ValueError: If there is no such concept, or nothing to judge.

    Examples:
        >>> from gptspec.attention.simplified import attend, attention_weights
        >>> print(judge(attend, "attention/simplified", attention_weights=attention_weights))
        attention/simplified: ... of ... laws hold
        ...
    """
    page = _concept(concept)
    module = _module(page, code, names)
    with _torch_as_it_was():
        return judge_object(
            book(), page, module, "--hypothesis-profile=yours", seconds=seconds, explain=explain
        )


def laws(concept: str, code: Any = None, **names: Any) -> type:
    """Return a test class for pytest, with a test for each law of a concept, over your code.

    ```
    from gptspec_laws import laws
    from mine import CausalAttention

    TestCausalAttention = laws("attention/causal", CausalAttention)
    ```

    A law that fails says what it states and shows the smallest example on which it breaks. One
    that asks for what the code does not offer is skipped, and says what that is.

    Args:
        concept: The concept's path.
        code: As in `judge`.
        names: As in `judge`.

    Raises:
        ValueError: As `judge`.
    """
    page = _concept(concept)
    module = open_module(_module(page, code, names))
    properties = vars(_law_module(page.law_file))
    tests = {
        law.property: _test(page, law, properties[law.property], module)
        for law in page.page.laws
        if not getattr(properties[law.property], "pytestmark", ())  # slow ones stay here
    }
    return type(f"Test{page.name.title().replace('_', '')}", (), tests)


def _concept(path: str) -> Concept:
    found = book().concepts.get(path)
    if found is None:
        raise ValueError(f"concept must be one of {', '.join(book().concepts)}, got {path!r}")
    return found


def _module(concept: Concept, code: Any, names: dict[str, Any]) -> ModuleType:
    """Return a module that holds code under the names that the concept's page gives it."""
    if isinstance(code, ModuleType):
        return code
    named = ({code.__name__: code} if code is not None else {}) | names
    if not named:
        raise ValueError(f"nothing to judge as {concept.path}: hand over a class, say")
    module = ModuleType(f"yours.{concept.name}")
    vars(module).update(named)
    return module


def _test(page: Concept, law: Law, property: Callable[..., None], module: ModuleType) -> Any:
    def test() -> None:
        watch = Watch(ours=lambda file: Path(file).is_relative_to(book().tests))
        try:
            with _torch_as_it_was(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.set_default_dtype(torch.float64)
                torch.set_num_threads(1)
                with watch.over(property, str(page.law_file)):
                    property(module)
        except MISSING as error:
            pytest.skip(f"not offered: {', '.join(watch.lacks) or error}")
        except BaseException as error:
            error.add_note(f"{law.id}: {law.statement}")
            raise

    test.__name__ = test.__qualname__ = law.property
    test.__doc__ = law.statement
    return staticmethod(test)


@lru_cache(maxsize=64)
def _law_module(file: Path) -> ModuleType:
    """Return a law file as a module, which finds its helpers and leaves no trace of them."""
    helpers = {one.stem for one in book().tests.glob("*.py")}
    hidden = {name: sys.modules.pop(name) for name in helpers & sys.modules.keys()}
    profile = settings.get_current_profile_name()
    sys.path.insert(0, str(book().tests))
    try:
        with _torch_as_it_was():
            torch.set_default_dtype(torch.float64)
            importlib.import_module("profiles").register()
            settings.load_profile("peers")
            name = f"gptspec_laws.laws.{file.stem}"
            spec = importlib.util.spec_from_file_location(name, file)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    finally:
        settings.load_profile(profile)
        sys.path.remove(str(book().tests))
        for name in helpers & sys.modules.keys():
            del sys.modules[name]
        sys.modules.update(hidden)


@contextlib.contextmanager
def _torch_as_it_was() -> Iterator[None]:
    """Put back, after the block, what the laws set for the whole process."""
    dtype, threads, state = (
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.get_rng_state(),
    )
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)
        torch.set_rng_state(state)
