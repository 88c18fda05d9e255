"""Promises of where settings come from, which one wins, and how what is wrong with them is told."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from longshore.errors import SettingsError
from longshore.settings import LoadedSettings, load_settings

Load = Callable[..., LoadedSettings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return `load_settings` that sees only the test's folder."""

    def load_here(*overrides: str, environ: Mapping[str, str] | None = None, below: str = "") -> LoadedSettings:
        return load_settings(tmp_path / below, environ or {}, overrides, tmp_path / "user.toml")

    return load_here


def test_later_sources_win(load: Load, tmp_path: Path) -> None:
    """Defaults < user file < pyproject.toml < longshore.toml < environment < arguments; each value knows its own."""
    (tmp_path / "user.toml").write_text("[workers]\nasync_workers=11\nthread_workers=11\nmax_queue_size=11\n")
    (tmp_path / "pyproject.toml").write_text(
        "[tool.other]\nx=1\n\n[tool.longshore.workers]\nthread_workers=12\nmax_queue_size=12\npriority_queue_size=12\n"
    )
    (tmp_path / "longshore.toml").write_text("[workers]\nmax_queue_size=13\npriority_queue_size=13\n")
    environ = {"LONGSHORE_WORKERS__PRIORITY_QUEUE_SIZE": "14", "LONGSHORE_EXECUTOR": "threads", "OTHER": "1"}
    loaded = load("executor=asyncio", environ=environ)
    workers = loaded.settings.workers
    got = (workers.async_workers, workers.thread_workers, workers.max_queue_size, workers.priority_queue_size)
    assert got == (11, 12, 13, 14)
    assert loaded.settings.executor == "asyncio"
    origins = {key: (origin.layer, origin.line) for key, origin in loaded.origins.items()}
    assert origins["workers.process_workers"] == ("default", None)
    assert origins["workers.async_workers"] == ("user", 2)
    assert origins["workers.thread_workers"] == ("pyproject", 5)
    assert origins["workers.max_queue_size"] == ("project", 2)
    assert str(loaded.origins["workers.priority_queue_size"]) == "LONGSHORE_WORKERS__PRIORITY_QUEUE_SIZE"
    assert str(loaded.origins["executor"]) == "--set executor=asyncio"


def test_the_nearest_project_above_is_used(load: Load, tmp_path: Path) -> None:
    """The first folder upwards with our table counts; a pyproject.toml without it, or a broken one, is passed by."""
    (tmp_path / "pyproject.toml").write_text('[tool.longshore]\nexecutor = "threads"\n')
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.black]\n")
    (tmp_path / "a" / "b" / "pyproject.toml").write_text("this is not TOML")
    assert load(below="a/b").settings.executor == "threads"
    (tmp_path / "a" / "longshore.toml").write_text('executor = "processes"\n')
    assert load(below="a/b").settings.executor == "processes"


def test_values_of_arguments_are_toml_or_text(load: Load) -> None:
    """A value that reads as TOML is that value, anything else is the text; a key may be quoted."""
    settings = load(
        "hooks=['a', 'b']", "executor=some name", "sinks.'my-sink'.path=a b", environ={"LONGSHORE_JOURNAL": "false"}
    ).settings
    assert settings.hooks == ("a", "b")
    assert settings.executor == "some name"
    assert settings.table("sinks", "my-sink") == {"path": "a b"}
    assert settings.journal is False
    assert load("executor=x\nsubmit_timeout=1").settings.submit_timeout == 30.0


@pytest.mark.parametrize("wrong", ["executor", "=3", "a b=3", ""])
def test_an_argument_that_is_no_assignment_is_refused(load: Load, wrong: str) -> None:
    """What is not key=value is refused with an example."""
    with pytest.raises(SettingsError, match="write it as key=value"):
        load(wrong)


def test_a_list_replaces_and_a_table_adds(load: Load, tmp_path: Path) -> None:
    """A later list says what is enabled and keeps options; a later table adds its plugin, or takes it out."""
    (tmp_path / "user.toml").write_text(
        '[sinks.jsonl]\npath = "a"\nflush = true\n[sinks.otel]\nenabled = false\nurl = "u"\n'
    )
    (tmp_path / "pyproject.toml").write_text('[tool.longshore]\nsinks = ["rich"]\n')
    (tmp_path / "longshore.toml").write_text('[sinks.jsonl]\npath = "b"\n[probes.nvml]\n')
    settings = load().settings
    assert settings.sinks == ("rich", "jsonl")
    assert settings.table("sinks", "jsonl") == {"path": "b", "flush": True}
    assert settings.table("sinks", "otel") == {"url": "u"}
    assert settings.probes == ("psutil", "nvml")
    assert load("sinks=[]").settings.sinks == ()
    assert load("probes.psutil.enabled=false").settings.probes == ("nvml",)
    assert load("sinks=['otel']").settings.sinks == ("otel",)
    environ = {"LONGSHORE_SINKS": '["otel"]', "LONGSHORE_SINKS__JSONL__PATH": "c"}
    assert load(environ=environ).settings.sinks == ("otel", "jsonl")


def test_an_origin_is_told_for_lists_and_tables(load: Load, tmp_path: Path) -> None:
    """Whether a plugin is enabled has the origin of the list or the table that said so."""
    (tmp_path / "longshore.toml").write_text('\nsinks = ["rich"]\n')
    loaded = load("sinks.jsonl.path=a")
    assert loaded.origins["sinks.rich.enabled"].line == 2
    assert loaded.origins["sinks.jsonl.enabled"].layer == "argument"
    assert (loaded.is_list("sinks"), load("probes.nvml.enabled=true").is_list("probes")) == (True, False)


def test_all_problems_are_told_at_once(load: Load, tmp_path: Path) -> None:
    """One error names each problem with file, line, key and what was meant, whatever source it is from."""
    file = tmp_path / "pyproject.toml"
    file.write_text(
        "[project]\nname = 'x'\n[tool.longshore]\n# the number of\n\nexecuter = 'threads'\n"
        "[tool.longshore.workers]\nasync_worker = 3\nthread_workers = -1\n[tool.longshore.plugins]\ndisabled = []\n"
    )
    with pytest.raises(SettingsError) as caught:
        load("journal=true", environ={"LONGSHORE_LIMITS__MAX_CPU_PERCENT": "much"})
    text = str(caught.value)
    assert f"{file}:6 (pyproject): executer: unknown key; did you mean 'executor'?" in text
    assert f"{file}:8 (pyproject): workers.async_worker: unknown key; did you mean 'async_workers'?" in text
    assert f"{file}:9 (pyproject): workers.thread_workers: " in text
    assert f"{file}:11 (pyproject): plugins.disabled: unknown key; did you mean 'disable'?" in text
    assert "--set journal=true (argument): journal: must be the name of a journal" in text
    assert "LONGSHORE_LIMITS__MAX_CPU_PERCENT (environment): limits.max_cpu_percent: " in text
    assert [problem["line"] for problem in caught.value.facts["problems"]].count(None) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('sinks = "rich"', """sinks: should be a list of names, such as ["rich"], not 'rich'"""),
        ("workers = 3", "workers: should be a table, not 3"),
        ("executor = 3", "executor: should be text, not 3"),
        ('[workers]\nasync_workers = "many"', "workers.async_workers: should be a whole number, not 'many'"),
        ("default_timeout = 3", "default_timeout: unknown key; did you mean 'workers.default_timeout'?"),
        ("max_memory_percnt = 3", "max_memory_percnt: unknown key; did you mean 'limits.max_memory_percent'?"),
        ("[workers]\nsubmit_timeout = 3", "workers.submit_timeout: unknown key; did you mean 'submit_timeout'?"),
        ("[limits]\nzzz = 3", "limits.zzz: unknown key; one of your own stands in custom, as custom = { zzz = 1 }"),
    ],
)
def test_problems_are_told_in_the_words_of_toml(load: Load, tmp_path: Path, text: str, message: str) -> None:
    """Types are called what TOML calls them, and a key that stands in the wrong table is told the right one."""
    (tmp_path / "longshore.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        load()
    assert str(caught.value).endswith(message)


def test_names_in_a_variable_are_a_toml_list(load: Load) -> None:
    """Names with commas are refused with the list that was meant."""
    with pytest.raises(SettingsError) as caught:
        load(environ={"LONGSHORE_SINKS": "rich,jsonl"})
    assert """LONGSHORE_SINKS (environment): sinks: should be a list of names, such as ["rich", "jsonl"]""" in str(
        caught.value
    )


def test_an_unknown_variable_is_refused(load: Load) -> None:
    """A variable that is a misspelt setting is no silent no-op."""
    with pytest.raises(SettingsError, match=r"LONGSHORE_EXECUTER .*did you mean 'executor'"):
        load(environ={"LONGSHORE_EXECUTER": "threads"})


def test_a_file_that_is_not_toml_is_named_with_its_line(load: Load, tmp_path: Path) -> None:
    """A syntax error is told with file and line, also at the end of the file; unreadable bytes are told too."""
    file = tmp_path / "longshore.toml"
    file.write_text("executor = 'a'\nsinks = [\n")
    with pytest.raises(SettingsError, match=rf"{file}:\d: not TOML"):
        load()
    file.write_bytes(b"executor = '\xff'\n")
    with pytest.raises(SettingsError, match="cannot be read"):
        load()
    file.unlink()
    (tmp_path / "pyproject.toml").write_text("[tool.longshore]\nexecutor = \n")
    with pytest.raises(SettingsError, match=r"pyproject.toml:2: not TOML"):
        load()


def test_lines_are_found_in_every_way_to_write_a_key(load: Load, tmp_path: Path) -> None:
    """Dotted keys, inline tables, lists over lines and tables of lists are all found where they begin."""
    (tmp_path / "longshore.toml").write_text(
        'limits.max_cpu_percent = 90\nworkers = { async_workers = 2,  thread_workers = 3 }\nhooks = [\n  "a",\n]\n\n'
        '# about it\n[[pipelines.p.stages]]\nname = "one"\n[[pipelines.p.stages]]\nname = "two"\n'
    )
    loaded = load()
    lines = {key: origin.line for key, origin in loaded.origins.items() if origin.line}
    assert lines["limits.max_cpu_percent"] == 1
    assert lines["workers.async_workers"] == lines["workers.thread_workers"] == 2
    assert loaded.origin("hooks").line == 3
    assert lines["pipelines.p.stages"] == 8
    assert loaded.origin("pipelines", "p", "stages", "1", "name").line == 11
    assert loaded.origin("pipelines", "p", "stages", "1", "nothing").line == 10


def test_a_hint_for_a_table_in_the_wrong_file(load: Load, tmp_path: Path) -> None:
    """Whoever writes [tool.longshore] into longshore.toml is told that keys stand there without it."""
    (tmp_path / "longshore.toml").write_text("[tool.longshore]\nexecutor = 'threads'\n")
    with pytest.raises(SettingsError, match=r"without \[tool.longshore\]"):
        load()


def test_options_for_a_plugin_that_is_not_there_warn(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table for a plugin that is not installed is no error, and says what to install."""
    ours = {("sinks", "steamboat"): "longshore-steamboat"}  # the real ones are installed here
    monkeypatch.setattr("longshore._plugins.advice.FIRST_PARTY", ours)
    loaded = load("sinks.steamboat.path=x")
    assert any("pip install longshore-steamboat" in warning for warning in loaded.warnings)
    assert load().warnings == ()


def test_a_table_alone_enables_only_what_is_installed(load: Load, tmp_path: Path) -> None:
    """A table for a sink that is not installed warns and tells nobody; one enabled in so many words stays asked for."""
    (tmp_path / "longshore.toml").write_text("[sinks.steamboat]\nwhistle = true\n[sinks.jsonl]\npath = 'x'\n")
    loaded = load()
    assert loaded.settings.sinks == ("jsonl",)
    assert ["steamboat" in warning for warning in loaded.warnings] == [True]
    assert load("sinks.steamboat.enabled=true").settings.sinks == ("steamboat", "jsonl")
    assert load("sinks=['steamboat']").settings.sinks == ("steamboat",)


def test_without_a_current_folder_there_is_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the current folder was deleted the other sources hold, which a warning says; to look from it is refused."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    (tmp_path / "user.toml").write_text("[workers]\nasync_workers=11\n")
    loaded = load_settings(None, {}, ["executor=threads"], tmp_path / "user.toml")
    assert (loaded.settings.workers.async_workers, loaded.settings.executor) == (11, "threads")
    assert "the current folder was deleted" in loaded.warnings[0]
    with pytest.raises(SettingsError, match="the current folder is gone"):
        load_settings(Path("below"), {}, (), tmp_path / "user.toml")
