"""`longshore plugins new`: a folder with a distribution that works, to write one's own plugin from."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from longshore.cli.console import ExitCode, UsageError, say, show, show_json
from longshore.cli.options import Json, KindName
from longshore.cli.plugins import host_of_settings, kind_of
from longshore.cli.scaffold import Names, check_free, files_of, names_of

Kind = Annotated[
    KindName,
    Parameter(
        show_choices=False,
        help="executors, probes, sinks, journals, processors, pipelines or hooks; `sink` will do too.",
    ),
]
Name = Annotated[str, Parameter(help="What settings and `--sink` call it: `chat`.")]
Output = Annotated[
    str | None,
    Parameter(help="The folder to make it in, which must not be there, or be empty. Left out: one of its name, here."),
]
Distribution = Annotated[
    str | None,
    Parameter(help="What it is called on an index: `--distribution acme-chat`. Left out: longshore-NAME."),
]


def new(
    kind: Kind, name: Name, /, *, output: Output = None, distribution: Distribution = None, json: Json = False
) -> int:
    """Make a new plugin: a distribution that builds, is typed, and passes the tests of its kind as it is.

    It does something small and real, to be changed step by step into what you want; its README says how to work on it.

    For example: `longshore plugins new sinks chat`, then `cd longshore-chat`, or into a folder that you name:
    `longshore plugins new processors invoices --distribution acme-invoices --output plugins/invoices`
    """
    names = names_of(kind_of(kind), name, distribution)
    for note in check_free(names, host_of_settings().candidates()):
        say(f"note: {note}")
    folder = Path(names.distribution if output is None else output)
    made = files_of(names)
    _write(folder, made)
    if json:
        show_json(
            {
                "kind": names.kind,
                "name": names.name,
                "distribution": names.distribution,
                "package": names.package,
                "folder": str(folder),
                "files": list(made),
            }
        )
        return ExitCode.OK
    for line in _next_steps(names, folder, len(made)):
        show(line)
    return ExitCode.OK


def _write(folder: Path, made: dict[str, str]) -> None:
    """Write the files; UsageError where something is there already, or can't be written."""
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} is there already, and not an empty folder: name another by --output")
        for path, text in made.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{folder} can't be written: {error}") from error


def _next_steps(names: Names, folder: Path, count: int) -> list[str]:
    return [
        f"{folder}: {names.distribution}, {count} files",
        "",
        "To work on it:",
        f"  cd {shlex.quote(str(folder))}",
        "  python -m venv .venv && . .venv/bin/activate",
        "  pip install --editable . --group dev    # pip 25.1 or newer; or: uv sync",
        "  pytest && mypy && ruff check",
        f"  longshore plugins check {names.distribution}",
        "",
        "Before you publish it, choose a licence: README.md says where it goes.",
    ]
