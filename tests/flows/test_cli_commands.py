"""Promises of the commands that look at an installation: plugins, config, doctor, --version, --help."""

import json
import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from longshore.cli.machine import Finding

Command = Any  # the fixture's class: test modules cannot import a conftest

NO_PLUGIN = """
import sys
from longshore.__main__ import main
code = main(sys.argv[1:])
found = sorted(name for name in sys.modules if name.startswith("longshore_"))
assert not found, found
sys.exit(code)
"""


def _python(code: str, *arguments: str, cwd: Path) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, timeout=30, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [("--version",), ("--help",), ("plugins", "list"), ("doctor",), ("run", "--help")]
)
def test_looking_imports_no_plugin(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """--version, --help, plugins list and doctor import no plugin, so that a broken one locks nobody out."""
    ran = _python(NO_PLUGIN, *arguments, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr.decode()
    assert ran.stdout


def test_the_version_is_told_without_a_command_line_library(tmp_path: Path) -> None:
    """--version imports neither cyclopts nor pydantic: it is at once there."""
    code = (
        "import sys; from longshore.__main__ import main; main(['--version']);"
        "assert not {'cyclopts', 'pydantic', 'rich', 'longshore.cli'} & set(sys.modules)"
    )
    ran = _python(code, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr.decode()
    assert ran.stdout.decode().split() == ["longshore", version("longshore-core")]


def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path) -> None:
    """Where cyclopts is not installed, a line names what to install: exit 2, no traceback."""
    code = (
        "import sys, importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'cyclopts' else find(name, *rest)\n"
        "from longshore.__main__ import main\nsys.exit(main(['run', 'documents', '.']))"
    )
    ran = _python(code, cwd=tmp_path)
    assert ran.returncode == 2
    assert ran.stderr.decode().count("\n") == 1
    assert "pip install longshore" in ran.stderr.decode()


def test_plugins_are_listed_with_their_state(inside: Command) -> None:
    """plugins list names each plugin with kind, distribution, version, state and reason; as JSON too."""
    (inside.folder / "longshore.toml").write_text('[plugins]\ndisable = ["jsonl"]\n')
    code, out, errors = inside("plugins", "list", "--json")
    assert code == 0, errors
    found = {(entry["kind"], entry["name"]): entry for entry in json.loads(out)}
    assert found["executors", "threads"]["state"] == "available"
    assert found["executors", "threads"]["distribution"] == "longshore-threads"
    assert found["sinks", "jsonl"]["state"] == "disabled"
    assert "jsonl" in found["sinks", "jsonl"]["reason"]
    _, table, _ = inside("plugins", "list", "sinks")
    assert re.search(r"^sinks +jsonl +longshore-jsonl .* disabled +disable lists", table, re.MULTILINE)
    assert "threads" not in table
    assert inside("plugins", "list", "sink")[1] == table
    code, _, errors = inside("plugins", "list", "snk")
    assert code == 2
    assert "did you mean sinks" in errors


def test_broken_settings_do_not_hide_the_plugins(inside: Command) -> None:
    """plugins list and doctor work where the settings do not, and say so."""
    (inside.folder / "longshore.toml").write_text("executer = 'threads'\n")
    code, out, errors = inside("plugins", "list")
    assert code == 0
    assert "threads" in out
    assert "did you mean 'executor'" in errors
    told = json.loads(inside("doctor", "--json")[1])
    assert any("did you mean 'executor'" in finding["note"] for finding in told["findings"])


@pytest.mark.slow
def test_a_plugin_is_checked_in_a_process_of_its_own(inside: Command) -> None:
    """plugins check loads what is named and ends with 0; an unknown name ends with 2; info tells what is known."""
    code, out, errors = inside("plugins", "check", "executors:threads", "--json")
    assert code == 0, errors
    (result,) = json.loads(out)
    assert result["state"] == "loaded"
    assert inside("plugins", "check", "nosuch")[0] == 2
    assert "longshore-threads" in inside("plugins", "info", "threads")[1]


def test_settings_are_shown_with_their_origin(inside: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """config show names the place of each value, and hides what looks like a secret."""
    monkeypatch.setattr("longshore._plugins.advice.FIRST_PARTY", {("executors", "steamboat"): "longshore-steamboat"})
    text = '[workers]\nasync_workers = 7\n[executors.steamboat]\napi_token = "hush"\n'
    (inside.folder / "longshore.toml").write_text(text)
    code, text, errors = inside(
        "config", "show", "--origin", "--set", "executor=threads", LONGSHORE_LIMITS__MAX_CPU_PERCENT="90"
    )
    assert code == 0, errors
    assert re.search(r"^workers.async_workers = 7 +# .*longshore.toml:2$", text, re.MULTILINE)
    assert re.search(r'^executor = "threads" +# --set executor=threads$', text, re.MULTILINE)
    assert re.search(r"^limits.max_cpu_percent = 90.0 +# LONGSHORE_LIMITS__MAX_CPU_PERCENT$", text, re.MULTILINE)
    assert "hush" not in text
    assert "pip install longshore-steamboat" in errors
    preset = inside("config", "show", "--origin", "--set", "preset=lean")[1]
    assert re.search(r"^workers.thread_workers = 1 +# preset lean$", preset, re.MULTILINE)
    assert re.search(r"^workers.async_workers = 7 +# .*longshore.toml:2$", preset, re.MULTILINE)
    told = json.loads(inside("config", "show", "--origin", "--json")[1])
    assert told["workers.async_workers"]["value"] == 7
    assert told["workers.async_workers"]["origin"]["line"] == 2


def test_a_wrong_secret_is_not_shown(inside: Command) -> None:
    """A message about a wrong setting names its key, and not the value of what looks like a token or a password."""
    (inside.folder / "longshore.toml").write_text("[plugins]\nprefer = { token = 7712 }\n")
    code, _, errors = inside("config", "validate")
    assert code == 2
    assert "plugins.prefer.token" in errors
    assert "7712" not in errors


def test_settings_are_validated_with_those_of_plugins(inside: Command) -> None:
    """config validate names what is wrong in the core's keys, in a plugin's table, and in a pipeline."""
    assert inside("config", "validate")[0] == 0
    (inside.folder / "longshore.toml").write_text(
        "[processors.chunk]\nmax_chars = 3\n[pipelines.p]\nstages = [{ name = 'a', processor = 'x', after = ['b'] }]\n"
    )
    code, _, errors = inside("config", "validate")
    assert code == 2
    assert re.search(r"longshore.toml:2 \(project\): processors.chunk.max_chars: ", errors)
    assert "pipeline p: a comes after 'b', which is no stage" in errors


WRONG = """executor = "treads"
sinks = ["rihc", "jsonl"]
probes = ["nvm"]
journal = "sqlit"
hooks = ["audit"]
[plugins]
disable = ["jsonl"]
[pipelines.p]
[[pipelines.p.stages]]
name = "a"
processor = "extrct"
executor = "raay"
resources = { cpu = 20 }
[[pipelines.p.stages]]
name = "b"
processor = "nowhere:function"
executor = "inline"
"""


def test_names_of_plugins_are_validated(inside: Command) -> None:
    """config validate finds each plugin that is named and not usable, and a stage above its pipeline's limits, with
    file, line and the hint that run gives; it imports none of what stages name."""
    (inside.folder / "longshore.toml").write_text(WRONG)
    code, out, errors = inside("config", "validate")
    assert code == 2
    assert out == ""
    for line, message in (
        (1, "executor: there is no executor named 'treads' installed: did you mean 'threads'?"),
        (2, "sinks.rihc: there is no sink named 'rihc' installed: did you mean 'rich'?"),
        (2, "sinks.jsonl: sink jsonl cannot be used, it is disabled"),
        (3, "probes.nvm: there is no probe named 'nvm' installed: did you mean 'nvml'"),
        (4, "journal: there is no journal named 'sqlit' installed: did you mean 'sqlite'?"),
        (5, "hooks.audit: there is no hook named 'audit' installed"),
        (
            11,
            "pipelines.p.stages.0.processor (stage a): there is no processor named 'extrct' installed: did",
        ),
        (
            12,
            "pipelines.p.stages.0.executor (stage a): there is no executor named 'raay' installed: did you mean 'ray'",
        ),
        (13, "pipelines.p.stages.0.resources (stage a): a asks for cpu 20, and the limit is 8"),
    ):
        assert f"longshore.toml:{line} (project): {message}" in errors
    assert errors.count("(project)") == 9


def test_a_folder_of_the_settings_name_is_refused(inside: Command) -> None:
    """A longshore.toml that is a folder is told, and not passed over."""
    (inside.folder / "longshore.toml").mkdir()
    code, _, errors = inside("config", "validate")
    assert code == 2
    assert "longshore.toml: cannot be read: it is a folder" in errors


def test_the_schema_names_core_and_plugins(inside: Command) -> None:
    """config schema is one JSON Schema with the core's keys and those of the installed plugins."""
    code, out, errors = inside("config", "schema")
    assert code == 0, errors
    schema = json.loads(out)
    assert "executor" in schema["properties"]
    assert "max_chars" in schema["properties"]["processors"]["properties"]["chunk"]["properties"]


def test_doctor_tells_what_a_pool_finds(inside: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """doctor tells of cores, memory, cgroup, ways to start processes, limits, the terminal and every plugin."""
    read = Finding("memory now", "40 %", "4 of 10 MB of host")
    monkeypatch.setattr(import_module("longshore.cli.doctor"), "readings", lambda loaded: [read])
    text = inside("doctor")[1]
    for word in ("python", "cores", "memory", "cgroup", "start methods", "pidfd", "/dev/shm", "open files", "terminal"):
        assert word in text
    assert re.search(r"^memory now: +40 %  \(4 of 10 MB of host\)$", text, re.MULTILINE)
    told = json.loads(inside("doctor", "--json")[1])
    assert {plugin["name"] for plugin in told["plugins"]} >= {"asyncio", "threads", "processes", "rich"}
    assert {"name": "memory now", "value": "40 %", "note": "4 of 10 MB of host"} in told["findings"]


@pytest.mark.slow
def test_doctor_tells_which_limits_are_in_force_and_what_is_read(inside: Command) -> None:
    """With the level and the setting each limit comes from; a probe that can't be read costs a line of its own."""
    (inside.folder / "longshore.toml").write_text(
        'probes = ["psutil", "nosuch"]\n[limits]\nmax_memory_percent = 50\nmax_disk_io_mbps = 200\n'
        '[workers]\ntask_memory_limit_mb = 300\n[executors.processes]\nmemory_limit_by = "polling"\n'
    )
    code, out, errors = inside("doctor", "--json")
    assert code == 0, errors
    found = {one["name"]: one for one in json.loads(out)["findings"]}
    memory = found["limit of memory"]
    assert re.fullmatch(r"50 % \(limits\.max_memory_percent: \S*longshore\.toml:3\) of .+", memory["note"])
    most, there = memory["value"].removesuffix(" MB").split(" of ")
    assert abs(int(most) - int(there) / 2) <= 1
    assert "(limits.max_cpu_percent: default)" in found["limit of cpu"]["note"]
    assert found["limit of disk_io"]["value"] == "200 MB/s"
    assert found["limit of one task"]["value"] == "300 MB of memory"
    assert found["limits of tasks"]["value"] == "polling"
    assert "13 MB beyond the limit were measured" in found["limits of tasks"]["note"]
    assert re.search(r"^\S+ %, the limit is 50 %, the warning level is \S+ %$", found["memory now"]["value"])
    assert re.search(r"\d+ of \d+ MB of host", found["memory now"]["note"])
    assert found["probe nosuch"]["value"] == "reads nothing"
    assert "nosuch" in found["probe nosuch"]["note"]


def test_every_command_has_help_with_an_example(inside: Command) -> None:
    """Each command's help shows how to call it."""
    for command in (
        *(("plugins", "list"), ("plugins", "info"), ("plugins", "check")),
        *(("config", "show"), ("config", "schema"), ("config", "validate"), ("doctor",)),
    ):
        text = " ".join(inside(*command, "--help")[1].split())
        assert f"longshore {' '.join(command)}" in text.split("For example", 1)[1], command
