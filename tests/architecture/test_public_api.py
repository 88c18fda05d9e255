"""What is public: written down, so that a change of it is meant; listed, typed and explained."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import griffe
import longshore
import pytest


@pytest.fixture(scope="module")
def api() -> ModuleType:
    """Return the script that lists the API, as a module."""
    spec = importlib.util.spec_from_file_location("public_api", Path(__file__).with_name("api.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def listing(api: ModuleType) -> Any:  # Any: a class of the script
    """Return the API as the source has it."""
    return api.Listing(api.load())


@pytest.fixture(scope="module")
def described(api: ModuleType, listing: Any) -> dict[str, griffe.Object]:  # Any: as above
    """Return all that is public and can be explained, by its path: modules, classes, functions, methods, properties."""
    found: dict[str, griffe.Object] = {module.path: module for module in listing.modules}
    for module in listing.modules:
        for name in api.public_names(module):
            target = api.final(module[name])
            if target.is_attribute or target.is_module or listing.homes[target.path] != module.path:
                continue
            found[f"{module.path}.{name}"] = target
            for member, inner in listing.members(target) if target.is_class else ():
                if inner.is_function or "property" in inner.labels:
                    found[f"{module.path}.{name}.{member}"] = inner
    return found


def test_the_public_api_changes_only_where_that_is_meant(api: ModuleType, listing: Any) -> None:
    """Every public name, member and signature is as in `api.txt`; who means to change one writes that file anew."""
    told = api.difference(listing)
    assert not told, f"if this is meant: uv run python tests/architecture/api.py --write\n\n{told}"


def test_a_changed_signature_is_seen(api: ModuleType, tmp_path: Path) -> None:
    """A parameter that is gone, a field in another place and a new name each have their line in the difference."""

    def listed(code: str) -> list[str]:
        (tmp_path / "some.py").write_text(code, encoding="utf-8")
        module = griffe.GriffeLoader(search_paths=[tmp_path]).load("some")
        return list(api.Listing(module).lines())

    before = listed(
        "__all__ = ['C', 'f']\nclass C:\n    a: int\n    b: str = ''\ndef f(a: int, *, b: int = 1) -> int: ...\n"
    )
    after = listed(
        "__all__ = ['C', 'X', 'f']\nX = 1\nclass C:\n    b: str = ''\n    a: int\ndef f(a: int) -> int: ...\n"
    )
    assert before == [
        "module some",
        "  class C",
        "    a: int",
        "    b: str = ''",
        "  def f(a: int, *, b: int = 1) -> int",
    ]
    assert after == ["module some", "  class C", "    b: str = ''", "    a: int", "  X = 1", "  def f(a: int) -> int"]


def test_a_public_module_lists_all_its_public_names(api: ModuleType, listing: Any) -> None:
    """What does not begin with an underscore is in `__all__`; whoever defines a helper names it as one."""
    for module in listing.modules[1:]:
        own = {
            name
            for name, member in module.members.items()
            if not (member.is_alias or member.is_module or name.startswith("_"))
            and not str(getattr(member, "value", "")).startswith("TypeVar(")
        }
        assert own <= set(api.public_names(module)), f"{module.path}.__all__"


def test_what_is_public_can_be_imported(api: ModuleType, listing: Any) -> None:
    """Each public module and name is there; the modules of the first level after nothing but `import longshore`."""
    for module in listing.modules:
        found = importlib.import_module(module.path)
        assert [name for name in api.public_names(module) if getattr(found, name, None) is None] == [], module.path
        if module.path.count(".") == 1:
            assert module.path.split(".")[1] in dir(longshore)


@pytest.mark.requirement("req:N03")
def test_what_is_public_is_explained(described: dict[str, griffe.Object]) -> None:
    """Every public module, class, function, method and property has a docstring; generated `__init__`s aside."""
    assert [
        path
        for path, target in described.items()
        if not (
            target.has_docstring
            or (path.endswith(".__init__") and target.parent and "dataclass" in target.parent.labels)
        )
    ] == []


@pytest.mark.requirement("req:N03")
def test_what_is_public_is_typed(described: dict[str, griffe.Object]) -> None:
    """Every parameter and result of a public function or method is annotated, and every property has its type."""
    bare = []
    for path, target in described.items():
        if isinstance(target, griffe.Function):
            parameters = [p.name for p in target.parameters if p.name not in ("self", "cls") and p.annotation is None]
            bare += [f"{path}({name})" for name in parameters] + ([path] if target.returns is None else [])
        elif isinstance(target, griffe.Attribute) and target.annotation is None:
            bare.append(path)
    assert bare == []
