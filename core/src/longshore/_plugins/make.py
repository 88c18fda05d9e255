"""From a sound class and the user's table to an instance. Called by the front, and by the check with an empty table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import AliasChoices, AliasPath, BaseModel, ValidationError

from longshore._plugins.advice import nearest
from longshore._plugins.contract import instance_problems
from longshore._plugins.load import in_a_line
from longshore._plugins.records import Candidate
from longshore.errors import PluginError, SettingsError

Table = Mapping[str, Any]  # Any: TOML values


def make(cls: type[Any], candidate: Candidate, table: Table) -> Any:  # Any: a plugin of whatever kind
    """Return an instance that keeps the contract; SettingsError for a fault of the table, else PluginError."""
    settings = validated(cls, candidate, table)
    try:
        plugin = cls() if settings is None else cls(settings)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginError(
            f"{candidate.label} could not be made: {in_a_line(error)}", **facts(candidate, reason="not made")
        ) from error
    problems = instance_problems(candidate.kind, plugin)
    if problems:
        raise PluginError(
            f"{candidate.label} does not keep its contract: {'; '.join(problems)}",
            **facts(candidate, reason="; ".join(problems)),
        )
    return plugin


def validated(cls: type[Any], candidate: Candidate, table: Table) -> BaseModel | None:  # Any: a plugin's class
    """Return the class's settings made from the table, None for a class that has none; SettingsError names the key."""
    model: type[BaseModel] | None = getattr(cls, "Settings", None)
    if model is None:
        if table:
            raise _wrong(candidate, next(iter(table)), "this plugin has no settings")
        return None
    _refuse_unknown(model, candidate, table)
    try:
        return model.model_validate(dict(table))
    except ValidationError as error:
        # the input is left out on purpose: it may be a token
        first, *others = error.errors(include_input=False, include_url=False)
        more = f" (and {len(others)} more)" if others else ""
        key = ".".join(map(str, first["loc"]))
        raise _wrong(candidate, key, f"{first['msg']}{more}") from None


def facts(candidate: Candidate, *, reason: str) -> dict[str, str]:
    """Return what is known of a candidate, for an error's `facts`."""
    return {
        "kind": candidate.kind,
        "name": candidate.name,
        "distribution": candidate.distribution,
        "version": candidate.version,
        "state": candidate.state.value,
        "reason": reason,
    }


def _refuse_unknown(model: type[BaseModel], candidate: Candidate, table: Table) -> None:
    """Refuse keys the model does not have, whatever it says itself short of allowing them: a typo must not pass."""
    if model.model_config.get("extra") == "allow":
        return
    known = set(_keys(model))
    for key in table:
        if key not in known:
            near = nearest(key, known)
            have = f"; it has {', '.join(sorted(known))}" if known else ""
            raise _wrong(candidate, key, f"no such setting{f'; did you mean {near}?' if near else have}")


def _keys(model: type[BaseModel]) -> Iterator[str]:
    by_name = model.model_config.get("populate_by_name") or model.model_config.get("validate_by_name")
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        if alias is None or by_name:
            yield name
        for choice in alias.choices if isinstance(alias, AliasChoices) else [alias]:
            if isinstance(choice, AliasPath):
                yield str(choice.path[0])
            elif choice is not None:
                yield choice


def _wrong(candidate: Candidate, key: str, message: str) -> SettingsError:
    table = f"{candidate.kind}.{candidate.name}"
    return SettingsError(
        f"[tool.longshore.{table}] {key}: {message} (settings of {candidate.label})",
        table=table,
        key=key,
        distribution=candidate.distribution,
    )
