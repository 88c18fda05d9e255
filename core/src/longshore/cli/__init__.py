"""The command line: arguments in, an exit code out; data on stdout, all else on stderr.

One module per command; each is a plain function whose signature and docstring are its help. What goes wrong comes here
as an exception, and is told in one line.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version

from cyclopts import App, CycloptsError

from longshore.cli.bench import bench
from longshore.cli.check import check
from longshore.cli.config import schema, show, validate
from longshore.cli.console import DASH, ExitCode, UsageError, say
from longshore.cli.doctor import doctor
from longshore.cli.failures import failures
from longshore.cli.new import new
from longshore.cli.plugins import info, list_
from longshore.cli.report import report
from longshore.cli.resume import resume
from longshore.cli.run import run
from longshore.cli.runs import list_ as list_runs
from longshore.cli.runs import prune, show_
from longshore.cli.serve import serve
from longshore.cli.simulate import simulate
from longshore.cli.top import top
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


def build_app() -> App:
    """Return the application with all commands."""
    app = App(
        name="longshore",
        help="Run work on many inputs: in coroutines, threads or processes, with live progress and nothing lost.",
        version=f"longshore {version('longshore-core')}",
    )
    app.command(run)
    app.command(resume)
    runs = App(name="runs", help="See what is recorded of earlier runs, and delete it.")
    runs.command(list_runs, name="list")
    runs.command(show_, name="show")
    runs.command(prune)
    app.command(runs)
    app.command(failures)
    app.command(serve)
    app.command(simulate)
    app.command(top)
    app.command(report)
    plugins = App(name="plugins", help="See which plugins there are, whether they work, and begin one of your own.")
    plugins.command(list_, name="list")
    plugins.command(info)
    plugins.command(check)
    plugins.command(new)
    app.command(plugins)
    config = App(name="config", help=_CONFIG)
    config.command(show)
    config.command(schema)
    config.command(validate)
    app.command(config)
    app.command(doctor)
    app.command(bench)
    app.register_install_completion_command(add_to_startup=False, help=_COMPLETION)  # start-up files are their owner's
    return app


def run_command(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code; raises nothing."""
    # a lone dash reads to the parser like an option without a name
    tokens = [DASH if argument == "-" else argument for argument in arguments]
    try:
        code = build_app()(tokens, exit_on_error=False, print_error=False, result_action="return_value")
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
    if not isinstance(error, UsageError | LongshoreError):
        say("".join(traceback.format_exception(error)))
        say("longshore: this is a fault of longshore or of a plugin, not of what you gave it")
        return ExitCode.FAULT
    if isinstance(error, SettingsError) and error.__cause__ is not None and "importing" in str(error):
        say("".join(traceback.format_exception(error.__cause__)))
    say(f"longshore: {error}")
    named = isinstance(error, PluginError | JournalError) and error.facts.get("reason") in ("unknown", "held")
    return ExitCode.USAGE if named or isinstance(error, UsageError | SettingsError) else ExitCode.FAULT


_COMMANDS = (
    "run",
    "resume",
    "runs",
    "failures",
    "report",
    "top",
    "serve",
    "simulate",
    "plugins",
    "config",
    "doctor",
    "bench",
)


def _forget_stdout() -> None:
    # the interpreter flushes stdout once more on leaving, and would complain that nobody reads it
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


__all__ = ["build_app", "run_command"]
