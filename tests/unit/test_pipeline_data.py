"""Promises of pipelines as data: their tables, their ranges, and what is made ready of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from longshore._pipeline_tables import load_pipeline
from longshore._processors import Processors
from longshore.errors import PluginError, SettingsError
from longshore.pipeline import Pipeline, PipelineLimits, Stage, Step, load_function, plan, prepare
from longshore.processor import ProcessorContext
from longshore.settings import LoadedSettings, load_settings
from longshore.task import Resources, RetryPolicy
from longshore.testing import plugin_host

Load = Callable[[str], LoadedSettings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return a loader of settings from a longshore.toml with the given text."""

    def load_text(text: str) -> LoadedSettings:
        (tmp_path / "longshore.toml").write_text(text)
        return load_settings(tmp_path, {}, (), tmp_path / "user.toml")

    return load_text


def _processors(load: Load) -> Processors:
    return Processors(load("").settings, plugin_host())


def test_a_pipeline_is_read_from_the_settings(load: Load) -> None:
    """A table gives stages in the order that `after` allows; retries count what comes after the first attempt."""
    loaded = load(
        '[pipelines.p]\nstages = [{ name = "b", processor = "m:f", after = ["a"], timeout = 5, retries = 2,'
        ' resources = { cpu = 1, custom = { licence = 2 } } }, { name = "a", processor = "x", executor = "threads" }]'
    )
    pipeline = load_pipeline("p", loaded, plugin_host())
    first, second = pipeline.ordered()
    assert (first.name, first.executor, first.retry) == ("a", "threads", None)
    assert (second.name, second.timeout, second.retry) == ("b", 5.0, RetryPolicy(attempts=3))
    assert second.resources is not None
    assert second.resources.amounts() == {"cpu": 1.0, "licence": 2.0}


def test_what_is_wrong_with_a_pipeline_is_told_with_its_line(load: Load) -> None:
    """A table that is wrong is a SettingsError with file, line and key."""
    loaded = load('[pipelines.p]\n[[pipelines.p.stages]]\nname = "a"\nprocesor = "x"\n[pipelines.q]\n')
    with pytest.raises(SettingsError) as caught:
        load_pipeline("p", loaded, plugin_host())
    text = str(caught.value)
    assert (
        "longshore.toml:4 (project): pipelines.p.stages.0.procesor (stage a): unknown key; did you mean 'processor'?"
        in text
    )
    assert "longshore.toml:2 (project): pipelines.p.stages.0.processor (stage a): is missing" in text
    with pytest.raises(SettingsError, match=r"longshore.toml:5 .*pipelines.q.stages: is missing"):
        load_pipeline("q", loaded, plugin_host())


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ("{ cpus = 2 }", "resources.cpus (stage a): unknown key; did you mean 'cpu'?"),
        ("{ cpu = 1, memry_mb = 7 }", "resources.memry_mb (stage a): unknown key; did you mean 'memory_mb'?"),
        ("{ licence = 1 }", "resources.licence (stage a): unknown key; one of your own stands in custom, as"),
        ("{ cpu = -1 }", "resources.cpu (stage a): should be greater than or equal to 0"),
        ("{ custom = { licence = inf } }", "resources.custom.licence (stage a): should be a finite number"),
    ],
)
def test_a_resource_that_would_reserve_nothing_is_refused(load: Load, resources: str, message: str) -> None:
    """A mistyped resource is refused with the near name; one of the user's own is told where to stand."""
    loaded = load(f'[pipelines.p]\nstages = [{{ name = "a", processor = "m:f", resources = {resources} }}]')
    with pytest.raises(SettingsError) as caught:
        load_pipeline("p", loaded, plugin_host())
    assert message in str(caught.value)


def test_an_unknown_pipeline_is_told_what_to_try(load: Load) -> None:
    """A name nobody provides is told with the near one, or with what to install."""
    loaded = load('[pipelines.invoices]\nstages = [{ name = "a", processor = "x" }]')
    with pytest.raises(SettingsError, match="did you mean 'invoices'"):
        load_pipeline("invoice", loaded, plugin_host())
    with pytest.raises(PluginError, match="pip install longshore-documents"):
        load_pipeline("documents", loaded, plugin_host())


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "has no stages"),
        ([Stage("a", "x"), Stage("a", "y")], "two stages named 'a'"),
        ([Stage("extract", "x"), Stage("b", "x", after=["extrat"])], "did you mean 'extract'"),
        ([Stage("a", "x", after=["b"]), Stage("b", "x", after=["a"])], "wait for each other"),
        ([Stage("a", "x", after=["a"])], "wait for each other"),
        ([Stage("aa", "x", after=["aaa"]), Stage("b", "x")], r"no stage \(other stages: b\)"),
        ([Stage("aa", "x", after=["aaa"])], r"no stage \(other stages: none\)"),
    ],
)
def test_a_graph_that_cannot_run_is_refused(stages: list[Stage], message: str) -> None:
    """Names given twice or unknown, and circles, are refused when the pipeline is made."""
    with pytest.raises(SettingsError, match=message):
        Pipeline("p", stages)


def test_independent_stages_keep_the_order_they_were_written_in() -> None:
    """The order is fixed by `after`, and else by how the stages were written."""
    stages = [Stage("d", "x", after=["b", "c"]), Stage("c", "x"), Stage("b", "x")]
    assert [stage.name for stage in Pipeline("p", stages).ordered()] == ["c", "b", "d"]


def test_a_function_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """module:function gives the function, and each way to be wrong has its own message."""
    (tmp_path / "usermodule_ok.py").write_text(
        "class A:\n    @staticmethod\n    def b(x): return x\nn = 1\ndef total(x): return x\n"
    )
    (tmp_path / "usermodule_bad.py").write_text("1 / 0\n")
    (tmp_path / "usermodule_exit.py").write_text("import sys\nsys.exit(3)\n")
    (tmp_path / "usermodule_needs.py").write_text("import not_installed_at_all\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_function("usermodule_ok:A.b")(3) == 3
    for name, message in [
        ("usermodule_none:f", "there is no module 'usermodule_none'"),
        ("usermodule_ok:totl", "did you mean 'total'"),
        ("usermodule_ok:n", "is no function but int"),
        ("usermodule_ok:", "has no ''"),
        (":f", "module:function"),
        ("usermodule_bad:f", "importing usermodule_bad failed"),
        ("usermodule_exit:f", "importing usermodule_exit failed"),
        ("usermodule_needs:f", "importing usermodule_needs failed"),
    ]:
        with pytest.raises(SettingsError, match=message):
            load_function(name)


def _work(context: ProcessorContext) -> str:
    return context.document_id


def _big(context: ProcessorContext) -> bool:
    return bool(context.previous_results)


def test_functions_take_the_context_or_the_path(load: Load) -> None:
    """A stage's function gets the context with the results there are; one run on its own gets the path."""
    context = ProcessorContext(document_id="d", file_path="/d", previous_results={"before": 0})
    step = Step(name="x", function=_work, after=("a", "b"))
    given = step.context(context, {"a": 1, "other": 2})
    assert given.previous_results == {"before": 0, "a": 1}
    assert step.arguments(given) == (given,)
    assert Step(name="x", function=len, takes="path").arguments(context) == ("/d",)
    pipeline = Pipeline("p", [Stage("a", _work, timeout=2, retry=RetryPolicy(2))])
    assert prepare(pipeline, _processors(load), 300.0).steps[0].options == {"timeout": 2, "retry": RetryPolicy(2)}


def test_all_of_a_stage_can_be_said_in_toml(load: Load) -> None:
    """Each field of Stage, of the pipeline and of its limits has its key in the table."""
    loaded = load(
        "[pipelines.p]\ntimeout = 60\nlimits = { max_memory_mb = 100, max_cpu_cores = 2, max_parallel_stages = 1 }\n"
        '[[pipelines.p.stages]]\nname = "a"\nprocessor = "m:f"\ntimeout_multiplier = 2\nmax_parallel = 3\n'
        'max_per_second = 4\ncritical = false\ncondition = "m:g"\n'
    )
    pipeline = load_pipeline("p", loaded, plugin_host())
    assert (pipeline.timeout, pipeline.limits) == (
        60.0,
        PipelineLimits(max_memory_mb=100, max_cpu_cores=2, max_parallel_stages=1),
    )
    assert pipeline.stages[0] == Stage(
        "a",
        "m:f",
        timeout_multiplier=2.0,
        max_parallel=3,
        max_per_second=4.0,
        critical=False,
        condition="m:g",
    )


def test_what_is_wrong_in_toml_is_told_with_its_place_and_the_near_key(load: Load) -> None:
    """A value out of range and a key that is nearly right are named with line and key."""
    loaded = load('[pipelines.p]\nlimits = { max_cpu = 2 }\nstages = [{ name = "a", processor = "x", timeout = 4000 }]')
    with pytest.raises(SettingsError) as caught:
        load_pipeline("p", loaded, plugin_host())
    text = str(caught.value)
    assert "longshore.toml:2 (project): pipelines.p.limits.max_cpu: unknown key; did you mean 'max_cpu_cores'?" in text
    assert "pipelines.p.stages.0.timeout (stage a): should be less than or equal to 3600, not 4000" in text


@pytest.mark.requirement("req:J02")
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"timeout": 0.9}, "timeout must be from 1 to 3600, not 0.9"),
        ({"timeout": 3601}, "timeout must be from 1 to 3600"),
        ({"timeout_multiplier": 0.09}, "timeout_multiplier must be from 0.1 to 10"),
        ({"timeout_multiplier": 10.1}, "timeout_multiplier must be from 0.1 to 10"),
        ({"max_parallel": 0}, "max_parallel must be from 1 to 100"),
        ({"max_parallel": 101}, "max_parallel must be from 1 to 100"),
        ({"max_parallel": 1.5}, "max_parallel must be a whole number"),
        ({"max_per_second": 0}, "max_per_second must be greater than 0"),
        ({"condition": 3}, "condition must be a plain function"),
        ({"condition": "x"}, "condition must be a plain function or \"module:function\", not 'x'"),
    ],
)
def test_a_stage_refuses_what_is_out_of_range(values: dict[str, Any], message: str) -> None:
    """The bounds of a stage are checked when it is made."""
    with pytest.raises(ValueError, match=message):
        Stage("a", _work, **values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"processor": None}, "stage a: processor must be a function"),
        ({"processor": ""}, "stage a: processor must be a function"),
        ({"after": "aa"}, r"after must be a list of the names of stages: after=\['aa'\]"),
        ({"executor": 3}, "executor must be the name of an executor, not 3"),
        ({"retry": 3}, r"retry must be a RetryPolicy\(...\), not 3"),
        ({"resources": {"cpu": 1}}, r"resources must be Resources\(...\), not {'cpu': 1}"),
        ({"critical": "no"}, "critical must be True or False, not 'no'"),
    ],
)
def test_a_stage_refuses_what_is_of_another_kind(values: dict[str, Any], message: str) -> None:
    """What can't be meant is told in words that say what is wanted."""
    with pytest.raises(TypeError, match=message):
        Stage(**{"name": "a", "processor": _work, **values})


@pytest.mark.parametrize("name", ["", None, 3])
def test_names_are_texts_that_are_not_empty(name: Any) -> None:
    """A stage or a pipeline without a name could not be told from others."""
    with pytest.raises(ValueError, match="the name of a stage must be"):
        Stage(name, _work)
    with pytest.raises(ValueError, match="the name of a pipeline must be"):
        Pipeline(name, [Stage("a", _work)])


def test_a_pipeline_refuses_what_is_of_another_kind() -> None:
    """Stages are Stages, and limits are PipelineLimits."""
    with pytest.raises(TypeError, match=r"its stages must be Stage\(...\), not 'a'"):
        Pipeline("p", ["a"])  # type: ignore[list-item]  # the point
    with pytest.raises(TypeError, match="limits must be PipelineLimits"):
        Pipeline("p", [Stage("a", _work)], limits={})  # type: ignore[arg-type]  # the point


@pytest.mark.requirement("req:J03")
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_parallel_stages": 0}, "from 1 to 20"),
        ({"max_parallel_stages": 21}, "from 1 to 20"),
        ({"max_memory_mb": 0}, "greater than 0"),
        ({"max_cpu_cores": -1}, "greater than 0"),
    ],
)
def test_limits_refuse_what_is_out_of_range(values: dict[str, Any], message: str) -> None:
    """The bounds of the limits are checked when they are made; the defaults are 8192 MB, 8 cores, 4 stages."""
    with pytest.raises(ValueError, match=message):
        PipelineLimits(**values)
    default = PipelineLimits()
    assert (default.max_memory_mb, default.max_cpu_cores, default.max_parallel_stages) == (8192, 8, 4)


@pytest.mark.requirement("req:J02")
@pytest.mark.parametrize(
    ("stage", "whole", "deadline_s"),
    [
        ({"timeout": 10}, None, 10.0),
        ({"timeout": 10, "timeout_multiplier": 2.5}, None, 25.0),
        ({"timeout": 100, "timeout_multiplier": 0.1}, 60, 10.0),
        ({"timeout": 3600, "timeout_multiplier": 10}, 90, 90.0),
        ({"timeout": 61}, 60, 60.0),
        ({}, 90, 90.0),
        ({}, 600, 300.0),
        ({"timeout_multiplier": 0.5}, None, 150.0),
        ({}, None, 300.0),
    ],
)
def test_the_time_of_an_attempt_is_the_least_of_all(
    load: Load, stage: dict[str, Any], whole: float | None, deadline_s: float
) -> None:
    """It is the stage's timeout times its multiplier, or the pool's default in its place, at most the pipeline's."""
    prepared = prepare(Pipeline("p", [Stage("a", _work, **stage)], timeout=whole), _processors(load), 300.0)
    (planned,) = plan(prepared, "threads", 300.0)
    assert planned.timeout_s == pytest.approx(deadline_s)


@pytest.mark.requirement("req:J02")
def test_a_pipeline_has_at_least_a_minute() -> None:
    """The timeout over all stages is at least 60 s."""
    assert Pipeline("p", [Stage("a", _work)], timeout=60).timeout == 60
    with pytest.raises(ValueError, match="timeout must be at least 60, not 59"):
        Pipeline("p", [Stage("a", _work)], timeout=59)


@pytest.mark.requirement("req:J03")
def test_a_stage_that_never_fits_its_pipeline_is_refused(load: Load) -> None:
    """Asking for more than the limits is told when the pipeline is made ready, with the numbers."""
    for asked, message in [
        (Resources(memory_mb=9000), "memory_mb 9000, and the limit is 8192"),
        (Resources(cpu=9), "8"),
    ]:
        with pytest.raises(SettingsError, match=message):
            prepare(Pipeline("p", [Stage("a", _work, resources=asked)]), _processors(load), 300.0)


def test_a_condition_is_found_by_name(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """module:function names a condition; one that is a coroutine function is refused."""
    (tmp_path / "conditions_ok.py").write_text("def big(context): return True\nasync def late(context): return True\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    processors = _processors(load)
    prepared = prepare(Pipeline("p", [Stage("a", _work, condition="conditions_ok:big")]), processors, 300.0)
    (planned,) = plan(prepared, "threads", 300.0)
    assert planned.condition == "big"
    with pytest.raises(ValueError, match="condition must be a plain function"):
        prepare(Pipeline("p", [Stage("a", _work, condition="conditions_ok:late")]), processors, 300.0)


@pytest.mark.requirement("req:J06")
def test_a_plan_says_what_each_stage_would_be_run_with(load: Load) -> None:
    """The stages come in the order they can be run in, each with executor, limits, retries and condition."""
    stages = [
        Stage("b", _work, after=["a"], executor="processes", retry=RetryPolicy(3), condition=_big, critical=False),
        Stage("a", _work, timeout=7, resources=Resources(cpu=2), max_parallel=5, max_per_second=6),
    ]
    first, second = plan(prepare(Pipeline("p", stages), _processors(load), 300.0), "threads", 300.0)
    assert (first.name, first.executor, first.timeout_s, first.resources) == ("a", "threads", 7, {"cpu": 2})
    assert (first.max_parallel, first.max_per_second, first.attempts, first.condition) == (5, 6, 1, None)
    assert (second.name, second.executor, second.after, second.attempts) == ("b", "processes", ("a",), 3)
    assert (second.critical, second.condition, second.processor) == (False, "_big", "_work")
