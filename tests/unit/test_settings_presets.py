"""Promises of presets: what they set, that anything explicit wins, and that one knows where a value is from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from longshore import ResourceLimits, Settings, SettingsError, WorkerConfig
from longshore.settings import LoadedSettings, load_settings, settings_schema
from pydantic import ValidationError

Load = Callable[..., LoadedSettings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return `load_settings` that sees only the test's folder."""

    def load_here(*overrides: str, environ: dict[str, str] | None = None) -> LoadedSettings:
        return load_settings(tmp_path, environ or {}, overrides, tmp_path / "user.toml")

    return load_here


def shape(settings: Settings) -> tuple[int, int, float, float]:
    workers, limits = settings.workers, settings.limits
    return workers.async_workers, workers.thread_workers, limits.max_cpu_percent, limits.max_memory_percent


PRESETS = {
    "default": (4, 2, 80.0, 75.0),
    "throughput": (8, 4, 90.0, 85.0),
    "lean": (2, 1, 70.0, 60.0),
}


@pytest.mark.requirement("req:L12")
@pytest.mark.parametrize("name", PRESETS)
def test_what_a_preset_sets(load: Load, name: str) -> None:
    """Default is 4 coroutines, 2 threads, 80 and 75 %; throughput 8, 4, 90, 85; lean 2, 1, 70, 60: however named."""
    assert shape(Settings(preset=name)) == PRESETS[name]
    assert shape(load(f"preset={name}").settings) == PRESETS[name]
    assert shape(load(environ={"LONGSHORE_PRESET": name}).settings) == PRESETS[name]
    assert shape(Settings()) == PRESETS["default"]


def test_what_is_explicit_wins(load: Load, tmp_path: Path) -> None:
    """A key that any source sets wins over the preset, wherever the preset is named; origins tell the two apart."""
    (tmp_path / "longshore.toml").write_text("[workers]\nasync_workers = 3\n")
    loaded = load("preset=throughput", environ={"LONGSHORE_LIMITS__MAX_CPU_PERCENT": "50"})
    assert shape(loaded.settings) == (3, 4, 50.0, 85.0)
    assert loaded.origins["workers.async_workers"].layer == "project"
    assert loaded.origins["limits.max_cpu_percent"].layer == "environment"
    assert str(loaded.origins["workers.thread_workers"]) == "preset throughput"
    assert str(loaded.origins["preset"]) == "--set preset=throughput"
    assert str(loaded.origins["workers.process_workers"]) == "default"


def test_the_last_preset_counts(load: Load, tmp_path: Path) -> None:
    """Where two sources name a preset, only that of the later one is used."""
    (tmp_path / "longshore.toml").write_text('preset = "throughput"\n')
    assert shape(load("preset=lean").settings) == PRESETS["lean"]


def test_in_python() -> None:
    """Tables and models given beside a preset win key by key."""
    made = Settings(preset="lean", workers=WorkerConfig(async_workers=7), limits={"max_cpu_percent": 55.0})
    assert shape(made) == (7, 1, 55.0, 60.0)
    assert made.limits.warning_memory_percent <= 60.0
    assert shape(Settings(preset="lean", limits=ResourceLimits())) == PRESETS["lean"]


def test_an_unknown_preset_is_refused(load: Load, tmp_path: Path) -> None:
    """A misspelt preset is a SettingsError with place and suggestion; what is no name at all is refused as well."""
    (tmp_path / "longshore.toml").write_text('preset = "throughputt"\n')
    with pytest.raises(SettingsError, match=r"longshore\.toml:1.*preset: must be one of .*did you mean 'throughput'"):
        load()
    for wrong in (["lean"], 3, "fast and loose"):
        with pytest.raises(ValidationError, match="must be one of default, throughput, lean"):
            Settings(preset=wrong)


def test_the_schema_names_them() -> None:
    """Editors that read the JSON Schema can offer the names."""
    assert set(settings_schema()["properties"]["preset"]["enum"]) == {*PRESETS, None}
