"""What leaves the process by value, and what is refused."""

from __future__ import annotations

import functools
import importlib
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from longshore._runtime.specs import make_spec
from longshore.errors import PayloadError
from longshore.hookspecs import Capabilities
from longshore.pickling import dump_by_value
from longshore.task import TaskOptions, TaskSpec

AWAY = Capabilities(
    worker_type="process", runs=frozenset({"function"}), timeout="kill", pickles=True, isolation=frozenset({"task"})
)


def cached(maxsize: int | None = 7) -> Callable[[int], int]:
    """Return a function under `lru_cache` that nobody can import, and that calls itself."""

    @functools.lru_cache(maxsize=maxsize)
    def fib(number: int) -> int:
        return number if number < 2 else fib(number - 1) + fib(number - 2)

    return fib


def spec_of(function: Callable[..., object]) -> TaskSpec:
    return make_spec(function, TaskOptions(), "away", AWAY, default_timeout_s=10.0)


def test_a_local_cached_function_travels() -> None:
    """A function under `lru_cache` that can't be imported is carried by value, with an empty cache of the same size."""
    fib = cached()
    fib(20)
    back = pickle.loads(dump_by_value(fib))
    assert back.cache_info().currsize == 0
    assert back(60) == 1548008755920
    assert back.cache_parameters()["maxsize"] == 7
    assert back.cache_info().hits > 0, "what calls itself finds the cache"


def test_an_importable_cached_function_goes_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that others can import is the one they have."""
    (tmp_path / "remembering.py").write_text("import functools\n@functools.cache\ndef known(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    known = importlib.import_module("remembering").known
    assert pickle.loads(dump_by_value(known)) is known


def test_code_keeps_the_name_of_its_file() -> None:
    """Tracebacks in a worker show the lines of a function that went by value."""
    back = pickle.loads(dump_by_value(cached()))
    assert back.__wrapped__.__code__.co_filename == __file__


@pytest.mark.parametrize("how", ["itself", "called by another", "an initializer"])
def test_what_can_be_carried_is_not_refused(how: str) -> None:
    """What runs in another process is let through where that is asked beforehand: at submitting."""
    fib = cached()
    if how == "an initializer":
        options = TaskOptions(initializer=functools.lru_cache(maxsize=1)(lambda: None))
        assert make_spec(len, options, "away", AWAY, default_timeout_s=10.0).initializer is options.initializer
    else:
        spec_of(fib if how == "itself" else lambda number: fib(number))


def test_an_open_file_is_refused(tmp_path: Path) -> None:
    """A function that holds an open file is refused at submitting, and told to be given its path."""
    (tmp_path / "notes").write_text("x")
    said = r"cannot be sent to executor 'away': cannot pickle an open file .*path"
    with open(tmp_path / "notes", encoding="utf-8") as file, pytest.raises(PayloadError, match=said):
        spec_of(lambda: file.read())
