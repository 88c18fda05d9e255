"""Promises of `longshore run`, seen from the shell: what is written where, and what it ends with."""

import json
import os
import re
from collections.abc import Callable
from typing import Any

import pytest

Command = Any  # the fixture's class: test modules cannot import a conftest
Lines = Callable[[bytes | str], dict[str, dict[str, Any]]]  # Any: JSON


@pytest.mark.slow
def test_data_goes_to_stdout_and_all_else_to_stderr(longshore: Command, lines: Lines) -> None:
    """Without -o, stdout is one JSON line an input and nothing else, whatever the user's module prints."""
    longshore.inputs(["a.txt", "b.txt"])
    ran = longshore("run", "job:size", "in")
    assert ran.returncode == 0, ran.stderr.decode()
    assert lines(ran.stdout) == {
        name: {"input": f"in/{name}", "status": "completed", "result": {"size": 4, "name": name}, "error": None}
        for name in ("a.txt", "b.txt")
    }
    assert b"printed while the module is imported" in ran.stderr
    assert b"2 inputs in" in ran.stderr


@pytest.mark.slow
def test_one_bad_input_costs_one_line(longshore: Command, lines: Lines) -> None:
    """An exception, a crash, a time-out and a result that is no JSON each cost one input; exit 1, all named."""
    longshore.inputs({"ok": "fine", "locked": "raise", "set": "unjson", "dead": "die", "slow": "hang"})
    ran = longshore("run", "job:picky", "in", "-o", "out.jsonl", "--timeout", "2", "--progress", "none")
    assert ran.returncode == 1, ran.stderr.decode()
    assert ran.stdout == b""
    told = lines((longshore.folder / "out.jsonl").read_bytes())
    status = {name: entry["status"] for name, entry in told.items()}
    assert status == {"ok": "completed", "locked": "failed", "set": "failed", "dead": "failed", "slow": "timed_out"}
    assert told["ok"]["result"] == "fine"
    assert told["locked"]["error"] == {"type": "longshore.errors.DocumentError", "reason": "encrypted"}
    assert told["set"]["error"]["type"] == "longshore.errors.PayloadError"
    assert told["dead"]["error"]["type"] == "longshore.errors.WorkerDied"
    assert told["slow"]["error"] == {"type": "longshore.errors.TaskTimeout", "reason": "timeout"}
    for name in ("locked", "set", "dead", "slow"):
        assert f"    in/{name}" in ran.stderr.decode()


@pytest.mark.parametrize("name", ["unjson", "unjson_later"])
def test_a_result_that_is_no_json_is_a_failed_task(inside: Command, lines: Lines, name: str) -> None:
    """Where a result cannot be written, the task has failed for events, summary and output alike, and is told why."""
    inside.inputs(["a"])
    (inside.folder / "stages.py").write_text(
        "def unjson(path):\n    return {1, 2}\nasync def unjson_later(path):\n    return {1, 2}\n"
    )
    code, out, errors = inside(
        *("run", f"stages:{name}", "in", "--set", "executor=threads", "--progress", "none"),
        *("--sink", "jsonl", "--set", "sinks.jsonl.path=events.jsonl"),
    )
    assert code == 1, errors
    assert lines(out)["a"]["error"]["type"] == "longshore.errors.PayloadError"
    assert "the result is not JSON" in lines(out)["a"]["error"]["reason"]
    assert "1 input in" in errors
    assert "1 failed" in errors
    types = [json.loads(line).get("type") for line in (inside.folder / "events.jsonl").read_text().splitlines()]
    assert "task_failed" in types
    assert "task_completed" not in types


def test_two_runs_write_the_same(inside: Command) -> None:
    """The output holds only what the inputs determine: two runs are equal once sorted."""
    inside.inputs({"ok": "fine", "locked": "raise", "set": "unjson"})
    run = ("run", "job:picky", "in", "--progress", "none", "--executor", "threads")
    first, second = (inside(*run)[1] for _ in range(2))
    assert len(first.splitlines()) == 3
    assert sorted(first.splitlines()) == sorted(second.splitlines())


def test_a_coroutine_function_runs_on_asyncio(inside: Command, lines: Lines) -> None:
    """A coroutine function needs no option; named for processes it is refused as a usage error, in a line."""
    inside.inputs(["a"])
    code, out, errors = inside("run", "job:wait", "in", "--progress", "none")
    assert code == 0, errors
    assert lines(out)["a"]["result"] == "in/a"
    code, _, errors = inside("run", "job:wait", "in", "--executor", "processes", "--progress", "none")
    assert code == 2
    assert "Traceback" not in errors


@pytest.mark.parametrize("executor", ["threads", "inline"])
def test_another_executor_can_be_named(inside: Command, lines: Lines, executor: str) -> None:
    """--executor decides where a function runs."""
    inside.inputs(["a"])
    code, out, errors = inside("run", "job:size", "in", "--executor", executor, "--progress", "none")
    assert code == 0, errors
    assert lines(out)["a"]["status"] == "completed"


@pytest.mark.slow
def test_a_failed_input_is_tried_again(inside: Command, lines: Lines) -> None:
    """--retries says how often; the settings' way to set a value is heeded as well."""
    inside.inputs(["a"])
    code, out, errors = inside(
        "run", "job:fails_once", "in", "--retries", "1", "--set", "executor=threads", "--progress", "none"
    )
    assert code == 0, errors
    assert lines(out)["a"]["result"] == "second try"


def test_a_pipeline_of_the_settings_runs(inside: Command, lines: Lines) -> None:
    """A pipeline written in longshore.toml runs by its name, a stage with the results of the one before."""
    inside.inputs({"one.txt": "a b c", "two.txt": "d"})
    (inside.folder / "stages.py").write_text(
        "import pathlib\n"
        "def words(context):\n    return pathlib.Path(context.file_path).read_text().split()\n"
        "def count(context):\n    words = context.previous_results['words']\n"
        "    return {'count': len(words) // (words != ['d'])}\n"
    )
    (inside.folder / "longshore.toml").write_text(
        '[pipelines.counting]\nstages = [{ name = "words", processor = "stages:words", executor = "threads" },'
        ' { name = "count", processor = "stages:count", after = ["words"], executor = "threads" }]\n'
    )
    code, out, errors = inside("run", "counting", "in", "--progress", "none")
    assert code == 1, errors
    told = lines(out)
    assert told["one.txt"]["result"] == {"count": 3}
    assert told["two.txt"]["error"]["type"] == "ZeroDivisionError"
    assert told["two.txt"]["result"] is None


@pytest.mark.slow
def test_documents_run_out_of_the_box(longshore: Command, lines: Lines) -> None:
    """The installed pipeline `documents` reads text, and says of an empty file what is wrong with it."""
    longshore.inputs({"a.txt": "some words", "empty.txt": ""})
    ran = longshore("run", "documents", "in", "-o", "out.jsonl", "--progress", "lines")
    assert ran.returncode == 1, ran.stderr.decode()
    told = lines((longshore.folder / "out.jsonl").read_bytes())
    assert told["a.txt"]["result"]["text"] == "some words"
    assert told["empty.txt"]["error"] == {"type": "longshore.errors.DocumentError", "reason": "empty"}
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", ran.stderr), "a control character in the log"


def test_names_of_odd_bytes_survive(inside: Command) -> None:
    """A name of odd bytes and control characters: the output is valid JSON and gives it back, the log is clean."""
    raw = b"in/odd-\xff-\x1b[31m-\xc3\xa9"
    inside.inputs([])
    name = os.fsdecode(raw)
    (inside.folder / name).write_text("raise")
    code, out, errors = inside("run", "job:picky", name, "--progress", "lines")
    assert code == 1, errors
    assert os.fsencode(json.loads(out)["input"]) == raw
    assert "\x1b" not in errors
    assert "odd-\\xff-\\x1b[31m" in errors


def test_names_from_stdin(inside: Command, lines: Lines) -> None:
    """A dash reads the inputs from stdin."""
    inside.inputs(["a", "b", "c"])
    code, out, errors = inside(
        "run", "job:size", "-", "--executor", "threads", "--progress", "none", stdin=b"in/a\nin/c\n"
    )
    assert code == 0, errors
    assert set(lines(out)) == {"a", "c"}


def test_too_many_failures_stop_the_run(inside: Command, lines: Lines) -> None:
    """--max-failures stops with exit 3; every input has its line, those not run as cancelled."""
    inside.inputs([f"{number:03}" for number in range(300)])
    code, _out, errors = inside(
        *("run", "job:always_fails", "in", "--executor", "threads", "--workers", "1"),
        *("--max-failures", "1%", "--progress", "none", "-o", "out.jsonl"),
    )
    assert code == 3, errors
    told = lines((inside.folder / "out.jsonl").read_bytes())
    states = [entry["status"] for entry in told.values()]
    assert len(told) == 300
    assert states.count("failed") >= 3
    assert states.count("cancelled") > 0
    assert states.count("failed") + states.count("cancelled") == 300
    assert "inputs left" in errors


def test_a_dry_run_runs_nothing(inside: Command) -> None:
    """--dry-run prints the inputs on stdout and the plan on stderr."""
    inside.inputs(["a", "b"])
    code, out, errors = inside("run", "job:always_fails", "in", "--dry-run")
    assert code == 0
    assert out == "in/a\nin/b\n"
    assert "executor=processes" in errors


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('journal = "sqlit"', "did you mean 'sqlite'"),
        ('probes = ["nvm"]', "did you mean 'nvml'"),
        ('hooks = ["audit"]', "no hook named 'audit'"),
        ('[sinks.jsonl]\npth = "x"', "did you mean path"),
        ('executor = "threads"\n[workers]\nthread_workers = 0', "thread_workers is 0"),
        ("[executors.processes]\nblas_threads = 0", "blas_threads"),
    ],
)
def test_what_cannot_start_leaves_the_output_as_it_was(inside: Command, settings: str, message: str) -> None:
    """A plugin that is missing or wrongly set is told in a line: old results are kept, no line is made up, no progress
    is shown, and no new file is left."""
    inside.inputs(["a"])
    (inside.folder / "longshore.toml").write_text(settings)
    (inside.folder / "old.jsonl").write_text("kept\n")
    for output in ("old.jsonl", "new.jsonl"):
        code, out, errors = inside("run", "job:size", "in", "-o", output, "--progress", "lines")
        assert code == 2, errors
        assert message in errors
        assert out == ""
        assert " inputs" not in errors
        assert "0 tasks" not in errors
    assert (inside.folder / "old.jsonl").read_text() == "kept\n"
    assert not (inside.folder / "new.jsonl").exists()


def test_results_replace_those_of_the_run_before(inside: Command, lines: Lines) -> None:
    """A run that starts leaves nothing of what the output held."""
    inside.inputs(["a"])
    (inside.folder / "out.jsonl").write_text("of the run before, and longer than what comes now\n" * 50)
    code, _, errors = inside("run", "job:size", "in", "-o", "out.jsonl", "--executor", "inline", "--progress", "none")
    assert code == 0, errors
    assert set(lines((inside.folder / "out.jsonl").read_bytes())) == {"a"}


@pytest.mark.parametrize("executor", ["processes", "threads", "inline"])
def test_a_task_that_asks_to_exit_fails_like_any_other(inside: Command, lines: Lines, executor: str) -> None:
    """SystemExit of a task is that input's failure, and not how the command ends."""
    inside.inputs(["a"])
    (inside.folder / "stages.py").write_text("def leave(path):\n    raise SystemExit(3)\n")
    code, out, errors = inside("run", "stages:leave", "in", "--executor", executor, "--progress", "none")
    assert code == 1, errors
    assert lines(out)["a"]["error"]["type"] == "SystemExit"


def test_a_condition_that_asks_to_exit_is_told(inside: Command, lines: Lines) -> None:
    """SystemExit of a stage's condition does not end the command in silence: it is named, and the input has a line."""
    inside.inputs(["a"])
    (inside.folder / "stages.py").write_text("def leave(context):\n    raise SystemExit(3)\ndef work(context): ...\n")
    (inside.folder / "longshore.toml").write_text(
        '[pipelines.p]\nstages = [{ name = "a", processor = "stages:work", condition = "stages:leave" }]\n'
    )
    code, out, errors = inside("run", "p", "in", "--progress", "none")
    assert code in (1, 4), errors
    assert "SystemExit" in errors
    assert lines(out)["a"]["status"] in ("failed", "cancelled")


def test_largest_first(inside: Command) -> None:
    """--order largest-first begins with the largest input."""
    inside.inputs({"a": "x", "b": "xxx", "c": "xx"})
    _, out, _ = inside("run", "job:size", "in", "--order", "largest-first", "--dry-run")
    assert out == "in/b\nin/c\nin/a\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("run", "job:size", "nowhere"), 2, "no such file or folder: nowhere"),
        (("run", "job:siz", "in"), 2, "did you mean 'size'"),
        (("run", "nomodule:size", "in"), 2, "no module 'nomodule'"),
        (("run", "broken:f", "in"), 2, "ZeroDivisionError"),
        (("run", "docments", "in"), 2, "did you mean 'documents'"),
        (("run", "job:size", "in", "--executor", "nope"), 2, "no executor named 'nope'"),
        (("run", "job:size", "in", "--executor", "raay"), 2, "did you mean 'ray'"),
        (("run", "job:size", "in", "--sink", "nope"), 2, "no sink named 'nope'"),
        (("run", "job:size", "in", "--executor", "asyncio"), 2, "cannot run the function job:size"),
        (("run", "job:size", "in", "--timeout", "0"), 2, "--timeout 0"),
        (("run", "job:size", "in", "--workers", "0"), 2, "--workers 0"),
        (("run", "job:size", "in", "--workers", "many"), 2, "--workers"),
        (("run", "job:size", "in", "--max-failures", "0"), 2, "--max-failures 0"),
        (("run", "job:size", "in", "--set", "executer=threads"), 2, "did you mean 'executor'"),
        (("run", "job:size", "in", "--bogus"), 2, "--bogus"),
        (("run", "job:size", "in", "-o", "no/such/folder/out"), 2, "cannot write no/such/folder/out"),
        (("run", "job:size", "empty"), 5, "nothing to do"),
        (("run", "job:size"), 5, "nothing to do"),
        (("run",), 2, "TARGET"),
        (("rum",), 2, "rum"),
    ],
)
def test_what_cannot_be_meant_is_told_in_a_line(
    inside: Command, arguments: tuple[str, ...], code: int, message: str
) -> None:
    """Wrong arguments end with 2 and say what is wrong, without a traceback of ours; no input ends with 5."""
    inside.inputs(["a"])
    (inside.folder / "empty").mkdir()
    (inside.folder / "broken.py").write_text("1 / 0\n")
    got, out, errors = inside(*arguments)
    assert got == code, errors
    assert message in errors
    assert out == ""
    assert ("Traceback" in errors) == ("broken:f" in arguments)


@pytest.mark.slow
def test_a_reader_that_leaves_is_no_disaster(longshore: Command) -> None:
    """When nobody reads stdout any more, the run stops without a traceback."""
    longshore.inputs([f"{number:03}" for number in range(200)])
    process = longshore.start("run", "job:size", "in", "--executor", "threads", "--progress", "none")
    process.stdout.close()
    assert process.wait(timeout=30) == 141
    assert b"Traceback" not in process.stderr.read()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_told_in_a_line(inside: Command) -> None:
    """Where the output cannot be written the run ends with 4 and says so (fault:E2)."""
    inside.inputs(["a"])
    code, _, errors = inside("run", "job:size", "in", "--executor", "threads", "--progress", "none", "-o", "/dev/full")
    assert code == 4
    assert "the output cannot be written: No space left" in errors
    assert "Traceback" not in errors


def test_jsonl_can_be_told_as_well(inside: Command) -> None:
    """--sink adds a sink, with its options from --set."""
    inside.inputs(["a"])
    code, _out, errors = inside(
        *("run", "job:size", "in", "--executor", "threads", "--progress", "none"),
        *("--sink", "jsonl", "--set", "sinks.jsonl.path=events.jsonl"),
    )
    assert code == 0, errors
    events = [json.loads(line) for line in (inside.folder / "events.jsonl").read_text().splitlines()]
    assert any(event.get("type") == "task_completed" for event in events)


def test_every_option_is_explained_with_an_example(inside: Command) -> None:
    """--help of run names every option, shows how to call it, and tells the exit codes."""
    code, text, _ = inside("run", "--help")
    assert code == 0
    for option in (
        *("--output", "--executor", "--workers", "--timeout", "--retries", "--order", "--max-failures"),
        *("--set", "--sink", "--progress", "--dry-run"),
    ):
        assert option in text
    assert "longshore run documents papers/ -o out.jsonl" in text
    assert "143 after a signal" in text
    assert "--set preset=throughput" in text
    assert '"status": "completed"' in text


def test_the_help_of_config_teaches_where_settings_stand(inside: Command) -> None:
    """--help of config names the sources in their order, the presets, and the commands to begin with."""
    code, text, _ = inside("config", "--help")
    assert code == 0
    places = [text.index(place) for place in ("config.toml", "pyproject.toml", "longshore.toml", "LONGSHORE_WORKERS__")]
    assert places == sorted(places)
    assert "preset=throughput" in text
    assert "longshore config show --origin" in text


def test_a_missing_name_on_stdin_costs_one_line(inside: Command, lines: Lines) -> None:
    """A name on stdin that is no file fails with the reason "missing", and the others are done; exit 1. As an argument
    it is a usage error, and nothing is run."""
    inside.inputs(["a", "b"])
    named = ("run", "job:size", "-", "--executor", "threads", "--progress", "none")
    code, out, errors = inside(*named, stdin=b"in/a\nin/gone\nin/b\n")
    assert code == 1, errors
    told = lines(out)
    assert {name: entry["status"] for name, entry in told.items()} == {
        "a": "completed",
        "b": "completed",
        "gone": "failed",
    }
    assert told["gone"]["error"] == {"type": "FileNotFoundError", "reason": "missing"}
    assert "3 inputs in" in errors
    assert inside(*named, stdin=b"in/gone\n")[0] == 1
    code, out, errors = inside("run", "job:size", "in/a", "in/gone", "--progress", "none")
    assert (code, out) == (2, "")
    assert "no such file or folder: in/gone" in errors


def test_missing_names_count_as_failures_and_are_seen_before_a_run(inside: Command, lines: Lines) -> None:
    """--max-failures counts them, so that nothing is begun once there are too many; --dry-run names them."""
    inside.inputs(["a", "b"])
    run = ("run", "job:size", "-", "--executor", "threads", "--progress", "none")
    code, out, errors = inside(*run, "--max-failures", "2", stdin=b"in/a\nin/b\ngone\nlost\n")
    assert code == 3, errors
    assert {name: entry["status"] for name, entry in lines(out).items()} == {
        "a": "cancelled",
        "b": "cancelled",
        "gone": "failed",
        "lost": "failed",
    }
    code, out, errors = inside(*run, "--dry-run", stdin=b"in/a\ngone\n")
    assert (code, out) == (0, "in/a\n")
    assert "  gone: missing" in errors


def test_links_that_lead_nowhere_are_counted(inside: Command, lines: Lines) -> None:
    """A dangling link in a folder is no input, and stderr says how many there were."""
    folder = inside.inputs(["a"])
    for name in ("one", "two"):
        (folder / name).symlink_to("nowhere")
    code, out, errors = inside("run", "job:size", "in", "--executor", "threads", "--progress", "none")
    assert code == 0, errors
    assert list(lines(out)) == ["a"]
    assert "note: 2 links lead nowhere below the folders given: passed over" in errors
