"""Promises of the two models of the specification, and of Settings as a record."""

import math
import pickle

import pytest
from longshore.settings import ResourceLimits, ResourceType, Settings, WorkerConfig, settings_schema
from pydantic import ValidationError

DEFAULTS = {
    "async_workers": (4, 1),
    "thread_workers": (2, 0),
    "process_workers": (0, 0),
    "max_queue_size": (1000, 10),
    "priority_queue_size": (100, 10),
    "max_concurrent_tasks": (50, 1),
    "task_memory_limit_mb": (1024, 64),
}


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.requirement("req:A01", "req:A02", "req:A03", "req:A04", "req:A05", "req:A06", "req:A07", "req:A08")
def test_a_worker_number_has_its_default_and_its_lower_bound(name: str) -> None:
    """Each count has the specification's default, and one below its minimum is refused by name."""
    default, minimum = DEFAULTS[name]
    assert getattr(WorkerConfig(), name) == default
    assert getattr(WorkerConfig.model_validate({name: minimum}), name) == minimum
    with pytest.raises(ValidationError) as caught:
        WorkerConfig.model_validate({name: minimum - 1})
    assert caught.value.errors()[0]["loc"] == (name,)


@pytest.mark.parametrize(("name", "default"), [("default_timeout", 300.0), ("worker_heartbeat_interval", 10.0)])
@pytest.mark.parametrize("wrong", [0, -1, math.nan, True, "soon"])
@pytest.mark.requirement("req:A06", "req:A07")
def test_a_time_is_positive(name: str, default: float, wrong: object) -> None:
    """Times default as specified; zero, negative, NaN, a flag and a word are refused."""
    assert getattr(WorkerConfig(), name) == default
    with pytest.raises(ValidationError, match=name):
        WorkerConfig.model_validate({name: wrong})


@pytest.mark.requirement("req:A10")
def test_models_round_trip_and_carry_an_example() -> None:
    """A configuration survives dict and JSON, and its schema has an example that is itself valid."""
    for made in (WorkerConfig(async_workers=7), ResourceLimits(max_disk_io_mbps=50.0)):
        assert type(made).model_validate(made.model_dump()) == made
        assert type(made).model_validate_json(made.model_dump_json()) == made
        type(made).model_validate(type(made).model_json_schema()["example"])


@pytest.mark.requirement("req:A11")
def test_resource_types_are_the_five_words() -> None:
    """The resources with limits are exactly the specification's."""
    assert [str(kind.value) for kind in ResourceType] == ["cpu", "memory", "disk_io", "network_io", "gpu"]


@pytest.mark.parametrize(
    ("name", "default", "good", "bad"),
    [
        ("max_cpu_percent", 80.0, 100.0, 100.5),
        ("warning_cpu_percent", 70.0, 10.0, 9.0),
        ("max_memory_percent", 75.0, 70.0, 9.9),
        ("warning_memory_percent", 65.0, 75.0, 101.0),
        ("max_disk_io_mbps", None, 1.0, 0.9),
        ("warning_disk_io_mbps", None, 1.0, 0.0),
        ("max_network_io_mbps", None, 1.0, 0.5),
        ("max_gpu_percent", None, 10.0, 9.0),
        ("max_gpu_memory_mb", None, 100, 99),
    ],
)
@pytest.mark.requirement("req:A12", "req:A13", "req:A14")
def test_a_limit_has_its_default_and_bounds(name: str, default: object, good: float, bad: float) -> None:
    """Each limit has the specification's default and refuses what is out of bounds."""
    assert getattr(ResourceLimits(), name) == default
    assert getattr(ResourceLimits.model_validate({name: good}), name) == good
    with pytest.raises(ValidationError, match=name):
        ResourceLimits.model_validate({name: bad})


@pytest.mark.requirement("req:A17")
def test_limits_and_warnings_can_be_asked_for() -> None:
    """No limit is infinity; a warning that is not set comes at 80 % of the limit."""
    limits = ResourceLimits(max_gpu_percent=90.0, max_disk_io_mbps=100.0, warning_disk_io_mbps=30.0)
    assert limits.get_limit(ResourceType.CPU) == 80.0
    assert limits.get_limit(ResourceType.NETWORK_IO) == math.inf
    assert limits.get_warning_threshold(ResourceType.GPU) == pytest.approx(72.0)
    assert limits.get_warning_threshold(ResourceType.DISK_IO) == 30.0
    assert limits.get_warning_threshold("memory") == 65.0


@pytest.mark.requirement("req:A18")
def test_a_warning_above_its_limit_is_refused_by_name() -> None:
    """A warning level must not be above its limit; the field is named, and unknown keys are refused."""
    with pytest.raises(ValidationError) as caught:
        ResourceLimits(max_cpu_percent=60.0, warning_cpu_percent=61.0)
    assert caught.value.errors()[0]["loc"] == ("warning_cpu_percent",)
    with pytest.raises(ValidationError):
        ResourceLimits.model_validate({"max_cpu": 1})


def test_a_lower_limit_takes_the_unset_warning_along() -> None:
    """Lowering a limit below the default warning is accepted, and the warning follows it."""
    assert ResourceLimits(max_memory_percent=60.0).warning_memory_percent == pytest.approx(48.0)
    assert ResourceLimits(max_memory_percent=70.0).warning_memory_percent == 65.0


@pytest.mark.requirement("req:A18")
def test_settings_cannot_be_changed() -> None:
    """Settings and their parts are frozen."""
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.executor = "threads"  # type: ignore[misc]  # the point of the test
    with pytest.raises(ValidationError):
        settings.workers.async_workers = 1  # type: ignore[misc]  # the point of the test


def test_a_table_enables_its_plugin_unless_it_says_otherwise() -> None:
    """Both forms of `sinks` give names and options, and both survive being dumped and pickled."""
    settings = Settings.model_validate(
        {"sinks": {"rich": {}, "jsonl": {"path": "x", "enabled": False}}, "hooks": ["a"]}
    )
    assert settings.sinks == ("rich",)
    assert settings.table("sinks", "jsonl") == {"path": "x"}
    assert settings.table("sinks", "nobody") == {}
    assert Settings.model_validate(settings.model_dump()) == settings
    assert Settings.model_validate_json(settings.model_dump_json()) == settings
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert settings.probes == ("psutil",)


@pytest.mark.parametrize("wrong", ["rich", {"jsonl": 3}, {"jsonl": {"enabled": "no"}}, [1], 5])
def test_what_names_no_plugins_is_refused(wrong: object) -> None:
    """`sinks` is a list of names or a table of tables, nothing else."""
    with pytest.raises(ValidationError, match="sinks"):
        Settings.model_validate({"sinks": wrong})


def test_the_schema_holds_core_and_plugins() -> None:
    """The JSON Schema describes the core's keys, and those of the plugins it is given."""

    schema = settings_schema({("sinks", "jsonl"): WorkerConfig, ("executors", "threads"): ResourceLimits})
    forms = schema["properties"]["sinks"]["anyOf"]
    assert forms[0] == {"type": "array", "items": {"type": "string"}}
    assert forms[1]["properties"]["jsonl"]["properties"]["async_workers"]["minimum"] == 1
    assert "enabled" in forms[1]["properties"]["jsonl"]["properties"]
    assert "max_cpu_percent" in schema["properties"]["executors"]["properties"]["threads"]["properties"]
    assert schema["additionalProperties"] is False
