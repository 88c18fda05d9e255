"""The public API as text: what is in `__all__` of every public module, with members and signatures.

    uv run python tests/architecture/api.py           # show how the code differs from api.txt
    uv run python tests/architecture/api.py --write   # write api.txt anew: the change is meant

It is read from the source by griffe, and nothing is imported: the text is the same under every Python.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import griffe

ROOT = Path(__file__).parents[2]
SNAPSHOT = Path(__file__).with_name("api.txt")
APART = ("cli", "__main__")  # the command line: what it promises is in `--help`
FOR_PYTHON = {
    f"__{name}__" for name in ("repr", "str", "hash", "reduce", "getstate", "setstate", "del", "dir", "post_init")
}
DESCRIPTION = re.compile(r"""(, )?description=('[^']*'|"[^"]*")""")  # words for people may change
VALUE_MOST = 80  # a longer one is a table, whose rows other tests look at


def load() -> griffe.Module:
    """Return the package `longshore` as its source has it."""
    loader = griffe.GriffeLoader(search_paths=[ROOT / "core/src"])
    package = loader.load("longshore")
    loader.resolve_aliases()
    assert isinstance(package, griffe.Module)
    return package


def public_modules(module: griffe.Module) -> Iterator[griffe.Module]:
    """Yield a module and all public ones below it."""
    yield module
    for name, inner in sorted(module.modules.items()):
        if not (inner.is_alias or name.startswith("_") or name in APART):
            yield from public_modules(inner)


def public_names(module: griffe.Module) -> list[str]:
    """Return a module's `__all__`; that of the package is computed, and is what it imports for type checkers."""
    if module.exports:
        return sorted(str(name) for name in module.exports)
    ours = [n for n, found in module.members.items() if found.is_alias and not n.startswith("_")]
    return sorted(name for name in ours if module[name].target_path.startswith("longshore."))


def final(found: griffe.Object | griffe.Alias) -> griffe.Object:
    """Return what a name stands for, wherever it is imported from."""
    return found.final_target if isinstance(found, griffe.Alias) else found


class Listing:
    """The lines of the API of a package."""

    def __init__(self, package: griffe.Module) -> None:
        """List `package`."""
        self.modules = list(public_modules(package))
        self.homes: dict[str, str] = {}  # where each thing is described: in its own module if that is public
        first, *others = self.modules
        named = [(module, final(module[name])) for module in (*others, first) for name in public_names(module)]
        for module, target in (*(pair for pair in named if pair[1].module is pair[0]), *named):
            self.homes.setdefault(target.path, module.path)

    def lines(self) -> list[str]:
        """Return all lines."""
        told: list[str] = []
        for module in self.modules:
            told += ["", f"module {module.path}"]
            told += [f"  {line}" for name in public_names(module) for line in self.named(module, name)]
        return told[1:]

    def named(self, module: griffe.Module, name: str) -> Iterator[str]:
        """Yield the lines of one public name: what it is, or where it is described."""
        target = final(module[name])
        home = self.homes[target.path]
        if isinstance(target, griffe.Module):
            yield f"{name}: a module"
        elif home != module.path:
            yield f"{name}: see {home}"
        else:
            yield from self.described(name, target)

    def described(self, name: str, target: griffe.Object) -> Iterator[str]:
        """Yield the lines of a class with its members, of a function with its overloads, or of a value."""
        if isinstance(target, griffe.Class):
            settings = (f"{key}={given}" for key, given in target.keywords.items())  # kw_only, total and the like
            bases = ", ".join([*(str(base) for base in target.bases), *settings])
            yield f"class {name}({bases})" if bases else f"class {name}"
            for member, found in self.members(target):
                yield from (f"  {line}" for line in self.described(member, found))
        elif isinstance(target, griffe.Function):
            yield from (signature(name, form) for form in target.overloads or [target])
        else:
            yield value(name, target)

    def members(self, target: griffe.Class) -> Iterator[tuple[str, griffe.Object]]:
        """Yield what a class offers, inherited from unlisted classes too: fields in their order, then methods."""
        found = [
            (name, final(member))
            for name, member in target.all_members.items()
            if not name.startswith("_") or (name.startswith("__") and member.is_function and name not in FOR_PYTHON)
        ]
        own = [(name, member) for name, member in found if self.is_told_here(member, target)]
        yield from ((name, member) for name, member in own if not member.is_function)
        yield from sorted((pair for pair in own if pair[1].is_function), key=lambda pair: pair[0])

    def is_told_here(self, member: griffe.Object, target: griffe.Class) -> bool:
        """Tell whether a member is the class's own, or comes from one of ours that has no line of its own."""
        home = member.parent
        return home is target or (
            home is not None and home.path.startswith("longshore.") and home.path not in self.homes
        )


def signature(name: str, function: griffe.Function) -> str:
    """Return a function's line."""
    marks = [f"@{mark} " for mark in ("classmethod", "staticmethod") if mark in function.labels]
    kind = "async def" if "async" in function.labels else "def"
    return f"{''.join(marks)}{kind} {function.signature(return_type=True, name=name)}"


def value(name: str, target: griffe.Object) -> str:
    """Return the line of a constant, a field or a property."""
    annotation, given = getattr(target, "annotation", None), getattr(target, "value", None)
    kind = "property " if "property" in target.labels else ""
    is_set_inside = kind or target.labels & {"instance-attribute", "class-attribute"} == {"instance-attribute"}
    text = DESCRIPTION.sub("", str(given))
    shown = f" = {text}" if given is not None and len(text) <= VALUE_MOST and not is_set_inside else ""
    return f"{kind}{name}{f': {annotation}' if annotation is not None else ''}{shown}"


def difference(listing: Listing) -> str:
    """Return how the code differs from the snapshot, as a unified diff; empty if it does not."""
    before = SNAPSHOT.read_text("utf-8").splitlines() if SNAPSHOT.exists() else []
    return "\n".join(difflib.unified_diff(before, listing.lines(), "api.txt", "the code", lineterm="", n=2))


def main(arguments: Sequence[str]) -> int:
    """Show the difference, or write the snapshot anew; return the exit status."""
    listing = Listing(load())
    if "--write" in arguments:
        SNAPSHOT.write_text("\n".join(listing.lines()) + "\n", "utf-8")
        return 0
    told = difference(listing)
    print(told or "the public API is what api.txt says")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
