"""The command line: arguments in, an exit code out; data on stdout, all else on stderr.

One module per command; each is a plain function whose signature and docstring are its help. What goes wrong comes here
as an exception, and is told in one line.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Final, Literal

from cyclopts import App, CycloptsError

from longshore.cli.console import DASH, ExitCode, UsageError, say
from longshore.errors import JournalError, LongshoreError, PluginError, SettingsError

_CONFIG = """See the settings, where each comes from, and what may be set.

They are read from, the later ones winning: your own config.toml, `[tool.longshore]` in pyproject.toml, longshore.toml,
the environment (`LONGSHORE_WORKERS__ASYNC_WORKERS=8`), and `--set workers.async_workers=8`.

To begin with: `longshore config show --origin`, or with more of the machine in use,
`longshore config show --set preset=throughput`; after a change: `longshore config validate`.
"""

_COMPLETION = """Have a shell complete commands and options: bash, zsh, fish or powershell.

Writes one file where the shell looks for it, or at `--output`; changes no start-up file, and says what else it takes.

For example: `longshore --install-completion --shell bash`
"""


# Where each is. Importing all of them takes longer than most commands do, so that only the one that is called is.
_COMMANDS: Final[Mapping[str, str | Mapping[str, str]]] = {
    "run": "run:run",
    "resume": "resume:resume",
    "runs": {"list": "runs:list_", "show": "runs:show_", "prune": "runs:prune"},
    "failures": "failures:failures",
    "serve": "serve:serve",
    "simulate": "simulate:simulate",
    "top": "top:top",
    "report": "report:report",
    "plugins": {"list": "plugins:list_", "info": "plugins:info", "check": "check:check", "new": "new:new"},
    "config": {"show": "config:show", "schema": "config:schema", "validate": "config:validate"},
    "doctor": "doctor:doctor",
    "bench": "bench:bench",
}
_GROUPS: Final = {
    "runs": "See what is recorded of earlier runs, and delete it.",
    "plugins": "See which plugins there are, whether they work, and begin one of your own.",
    "config": _CONFIG,
}


class _App(App):
    """An application whose script for bash offers names of files wherever it has no words of its own."""

    def install_completion(
        self,
        *,
        shell: Literal["zsh", "bash", "fish", "powershell"] | None = None,
        output: Path | None = None,
        add_to_startup: bool = True,
    ) -> Path:
        """Write the script for a shell, and return where; UsageError where that can't be."""
        try:
            return super().install_completion(shell=shell, output=output, add_to_startup=add_to_startup)
        except OSError as error:
            place = output if output is not None else error.filename
            raise UsageError(f"cannot write {place}: {error.strerror}; name a file by --output") from error

    def generate_completion(
        self, *, prog_name: str | None = None, shell: Literal["zsh", "bash", "fish", "powershell"] | None = None
    ) -> str:
        """Return the script for a shell."""
        script = super().generate_completion(prog_name=prog_name, shell=shell)
        return script.replace("\ncomplete -F ", "\ncomplete -o bashdefault -o default -F ")


def build_app(arguments: Sequence[str] = ()) -> App:
    """Return the application with the command that these call; with all, where they call none that there is."""
    app = _App(
        name="longshore",
        help="Run work on many inputs: in coroutines, threads or processes, with live progress and nothing lost.",
        version=f"longshore {version('longshore-core')}",
    )
    called = arguments[0] if arguments else ""
    for name in [called] if called in _COMMANDS else _COMMANDS:
        place = _COMMANDS[name]
        if isinstance(place, str):
            _add(app, name, place)
            continue
        group = App(name=name, help=_GROUPS[name])
        for part, its_place in place.items():
            _add(group, part, its_place)
        app.command(group)
    app.register_install_completion_command(add_to_startup=False, help=_COMPLETION)  # start-up files are their owner's
    return app


def _add(app: App, name: str, place: str) -> None:
    module, _, function = place.partition(":")
    app.command(getattr(import_module(f"longshore.cli.{module}"), function), name=name)


def run_command(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code; raises nothing."""
    # a lone dash reads to the parser like an option without a name
    tokens = [DASH if argument == "-" else argument for argument in arguments]
    try:
        code = build_app(tokens)(tokens, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
        return ExitCode.BROKEN_PIPE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last one to hear of it: a fault of ours or of a plugin
        return _told(error, arguments)
    return code if isinstance(code, int) else ExitCode.OK


def _told(error: Exception, arguments: Sequence[str]) -> ExitCode:
    """Tell a person what went wrong, and return the exit code for it."""
    if isinstance(error, CycloptsError):
        command = next((name for name in arguments if not name.startswith("-")), "")
        say(f"longshore: {error}")
        say(f"Try: longshore {command + ' ' if command in _COMMANDS else ''}--help")
        return ExitCode.USAGE
    if isinstance(error, OSError) and _is_given(error.filename, arguments):
        say(f"longshore: {os.fsdecode(error.filename)}: {error.strerror}")
        return ExitCode.USAGE
    if not isinstance(error, UsageError | LongshoreError):
        say("".join(traceback.format_exception(error)))
        say("longshore: this is a fault of longshore or of a plugin, not of what you gave it")
        return ExitCode.FAULT
    if isinstance(error, SettingsError) and error.__cause__ is not None and "importing" in str(error):
        say("".join(traceback.format_exception(error.__cause__)))
    say(f"longshore: {error}")
    named = isinstance(error, PluginError | JournalError) and error.facts.get("reason") in ("unknown", "held")
    return ExitCode.USAGE if named or isinstance(error, UsageError | SettingsError) else ExitCode.FAULT


def _is_given(name: object, arguments: Sequence[str]) -> bool:
    """Tell whether a file that something is wrong with is one that the arguments name, or lies below one."""
    if not isinstance(name, str | bytes | Path):
        return False
    place = Path(os.path.abspath(os.fsdecode(name)))
    named = (argument.partition("=")[2] if argument.startswith("-") else argument for argument in arguments)
    given = [Path(os.path.abspath(os.path.expanduser(each))) for each in named if each]
    return any(each in (place, *place.parents) for each in given)


def _forget_stdout() -> None:
    # the interpreter flushes stdout once more on leaving, and would complain that nobody reads it
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


__all__ = ["build_app", "run_command"]
