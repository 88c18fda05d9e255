"""Does a class, and then its instance, keep the contract of its kind? A list of what is wrong comes out.

The contract is the Protocol in `hookspecs`: its marked methods and its properties. pluggy is asked first, on a manager
made for this one candidate, since a misspelt plugin would spoil every later `check_pending()`; what pluggy lets pass
(missing, unmarked, async or sync, an argument left out) is looked for by ourselves.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import pluggy
from pydantic import BaseModel

from longshore._packing import described
from longshore._plugins.advice import nearest
from longshore.hookspecs import (
    API,
    PROJECT,
    Capabilities,
    Diagnosed,
    Elsewhere,
    Executor,
    Hooks,
    InputValidator,
    Journal,
    PipelineSource,
    Probe,
    Processor,
    Sink,
)
from longshore.processor import ProcessorMetadata

PROTOCOLS: Final[Mapping[str, type]] = MappingProxyType(
    {
        "executors": Executor,
        "probes": Probe,
        "sinks": Sink,
        "journals": Journal,
        "processors": Processor,
        "pipelines": PipelineSource,
        "hooks": Hooks,
    }
)
OPTIONAL: Final[Mapping[str, Sequence[type]]] = MappingProxyType(
    {"hooks": (Hooks,), "processors": (InputValidator,), "executors": (Diagnosed, Elsewhere)}
)
"""Contracts of which each method may be left out."""
EITHER: Final = frozenset({("processors", "process")})
"""Methods that may be a plain function or a coroutine function."""

Marks = Mapping[str, Mapping[str, Any]]  # Any: pluggy's options, of several types
Method = Callable[..., Any]  # Any: a plugin's method, checked here


def manager(kind: str) -> pluggy.PluginManager:
    """Return a new pluggy manager that knows the contract of this kind and no plugin."""
    made = pluggy.PluginManager(PROJECT)
    for protocol in _protocols(kind):
        made.add_hookspecs(protocol)
    return made


def unsupported_api(kind: str, cls: object, distribution: str) -> str | None:
    """Return why the version of the contract that a class needs is not to be had, else None; without `api` it is 1."""
    api, window = getattr(cls, "api", 1), API[kind]
    if not isinstance(api, int) or isinstance(api, bool) or api in window:
        return None
    if api > window.current:
        return (
            f"it needs version {api} of the {_one(kind)} contract, and this core has {window.current}: "
            "upgrade longshore-core"
        )
    return (
        f"it is written for version {api} of the {_one(kind)} contract, and this core takes plugins from "
        f"{window.floor} on: upgrade {distribution}"
    )


def class_problems(kind: str, cls: object) -> list[str]:
    """Return what is wrong with a plugin's class, without making an instance."""
    if not inspect.isclass(cls):
        return [f"the entry point must name a class, not {_a(cls)}"]
    api = getattr(cls, "api", 1)
    problems = [] if isinstance(api, int) and not isinstance(api, bool) else [f"api must be an integer, not {_a(api)}"]
    settings = getattr(cls, "Settings", None)
    if settings is not None and not (inspect.isclass(settings) and issubclass(settings, BaseModel)):
        problems.append(f"Settings must be a pydantic model class, not {_a(settings)}")
    refused = _refused(kind, cls)
    marks = marked(cls)
    own = _strangers(kind, marks)
    for name in specs(kind):
        own += _method_problems(kind, cls, name, marks)
    return problems + (own or refused)


def instance_problems(kind: str, plugin: object) -> list[str]:
    """Return what is wrong with an instance whose class is sound: its attributes, and what pluggy says of it."""
    problems = _refused(kind, plugin)
    for name in attributes(kind):
        try:
            value = getattr(plugin, name)
        except AttributeError:
            problems.append(f"attribute {name} is missing")
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a property is the plugin's code and may raise anything
            problems.append(f"attribute {name} raised {described(error)}")
        else:
            problems += _wrong_value(name, value)
    return problems


def specs(kind: str) -> dict[str, Method]:
    """Return the functions of the contract by name, in the order they are written."""
    members = [item for protocol in _protocols(kind) for item in vars(protocol).items()]
    return {name: value for name, value in members if hasattr(value, f"{PROJECT}_spec")}


def attributes(kind: str) -> list[str]:
    """Return the names of what the contract wants as an attribute or property."""
    return [name for name, value in vars(PROTOCOLS[kind]).items() if isinstance(value, property)]


def marked(plugin: object) -> Marks:
    """Return pluggy's options of each attribute that carries `@hookimpl`."""
    reader = pluggy.PluginManager(PROJECT)
    found = ((name, reader.parse_hookimpl_opts(plugin, name)) for name in dir(plugin))
    return {name: dict(options) for name, options in found if options is not None}


def _may_lack(kind: str, name: str) -> bool:
    return any(name in vars(protocol) for protocol in OPTIONAL.get(kind, ()))


def _protocols(kind: str) -> list[type]:
    return list(dict.fromkeys([PROTOCOLS[kind], *OPTIONAL.get(kind, ())]))


def _refused(kind: str, plugin: object) -> list[str]:
    candidate = manager(kind)
    try:
        candidate.register(plugin, name="candidate")
        candidate.check_pending()
    except pluggy.PluginValidationError as error:
        return [" ".join(str(error).split())]
    return []


def _strangers(kind: str, marks: Marks) -> list[str]:
    """Name marked methods the contract does not have, and marks it cannot honour."""
    known = specs(kind)
    problems = []
    for name, options in marks.items():
        spec = options.get("specname") or name
        if spec not in known and not options.get("optionalhook"):
            near = nearest(spec, known)
            hint = f" (did you mean {near}?)" if near else f" (it has {', '.join(known)})"
            problems.append(f"method {name} is marked but no method of the {_one(kind)} contract has this name{hint}")
        elif options.get("wrapper") or options.get("hookwrapper"):
            problems.append(f"method {name} is a hook wrapper, and plugins here cannot wrap each other")
        elif spec != name and kind != "hooks":
            problems.append(f"method {name} is marked with specname={spec!r}, but {_one(kind)}s are called by name")
    return problems


def _method_problems(kind: str, cls: type, name: str, marks: Marks) -> list[str]:
    function = _implementation(kind, cls, name)
    if function is None:
        if _may_lack(kind, name) or any(nearest(other, [name]) for other in marks if other not in specs(kind)):
            return []  # optional, or told of already as the misspelt one
        return [f"method {name} is missing"]
    if not callable(function):
        return [f"{name} must be a method, not {_a(function)}"]
    if name not in marks:
        return [f"method {name} of {cls.__qualname__} is not marked with @hookimpl"]
    return _colour_problems(kind, name, function) + _argument_problems(kind, cls, name, function)


def _implementation(kind: str, cls: type, name: str) -> Any:  # Any: whatever the class holds under this name
    """Return what the class itself brings under this name; None when there is nothing, or only the Protocol's own."""
    static = inspect.getattr_static(cls, name, None)
    function = static.__func__ if isinstance(static, staticmethod | classmethod) else static
    return None if function is specs(kind)[name] else function


def _colour_problems(kind: str, name: str, function: Method) -> list[str]:
    wants_coroutine = inspect.iscoroutinefunction(specs(kind)[name])
    is_coroutine = inspect.iscoroutinefunction(function)
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        return [f"{name} must not be a generator function"]
    if (kind, name) in EITHER or wants_coroutine == is_coroutine:
        return []
    if wants_coroutine:
        return [f"{name} must be a coroutine function (async def)"]
    return [f"{name} must be a plain function, not a coroutine function (async def)"]


def _argument_problems(kind: str, cls: type, name: str, function: Method) -> list[str]:
    wanted = list(inspect.signature(specs(kind)[name]).parameters)[1:]
    own = list(inspect.signature(function).parameters.values())
    if not isinstance(inspect.getattr_static(cls, name), staticmethod):
        own = own[1:]
    call = f"{name}({', '.join(wanted)})"
    required = [
        each for each in own if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    for each in required:
        if each.name not in wanted:
            return [f"argument {each.name} of {name} is not in the contract, which is {call}"]
        if each.kind is each.KEYWORD_ONLY:
            return [f"argument {each.name} of {name} is keyword-only, and arguments are given by place: {call}"]
    if kind == "hooks":
        idle = [each.name for each in own if each.name in wanted and each.default is not each.empty]
        return [f"argument {idle[0]} of {name} has a default, and so would never be given"] if idle else []
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if [each.name for each in own if each.kind in by_place][: len(wanted)] != wanted:
        return [f"{name} must take what the contract gives: it is called as {call}, and is {_shown(name, own)}"]
    return []


def _shown(name: str, parameters: Sequence[inspect.Parameter]) -> str:
    return f"{name}({', '.join(str(each).split(':')[0].split('=')[0] for each in parameters)})"


def _wrong_value(name: str, value: object) -> list[str]:
    if name == "capabilities" and not isinstance(value, Capabilities):
        return [f"attribute capabilities must be a Capabilities record, not {_a(value)}"]
    if name == "metadata" and not isinstance(value, ProcessorMetadata):
        return [f"attribute metadata must be a ProcessorMetadata record, not {_a(value)}"]
    if name == "resources" and not _is_names(value):
        return ["attribute resources must be a sequence of names, such as ('cpu',)"]
    if name == "period_s" and not (isinstance(value, int | float) and value > 0):
        return ["attribute period_s must be a number of seconds above 0"]
    return []


def _is_names(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(name, str) for name in value)


def _one(kind: str) -> str:
    return kind.removesuffix("s")


def _a(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
