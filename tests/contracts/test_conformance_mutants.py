"""The conformance suites notice: each of their tests refuses a plugin that breaks its promise, and no good one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("mutation", Path(__file__).with_name("mutation.py"))
assert _spec is not None
assert _spec.loader is not None
mutation = importlib.util.module_from_spec(_spec)
sys.modules["mutation"] = mutation
_spec.loader.exec_module(mutation)


@pytest.mark.slow
@pytest.mark.parametrize("kind", mutation.kinds())
def test_each_test_of_a_suite_refuses_its_mutant(kind: str) -> None:
    """Each test has a mutant and fails for it, by an assertion; a plugin that keeps the contract passes them all."""
    assert mutation.missed(kind, mutation.attempt(kind, whole=False)) == []
