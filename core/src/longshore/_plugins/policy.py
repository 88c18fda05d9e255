"""Which facts may become plugins: facts and the user's policy in, candidates with state and reason out. Pure.

The rules are asked in order and the first hit wins: conflict, disable, allow, incompatible.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from pydantic import BaseModel, ConfigDict, Field

from longshore._plugins.advice import nearest
from longshore._plugins.facts import CORE, normalised
from longshore._plugins.records import Candidate, Fact, PluginState

RESERVED: Final = frozenset({("executors", "inline")})
"""What the core provides itself, so that no distribution can stand in for it."""

Verdict = tuple[PluginState, str]


class PluginPolicy(BaseModel):
    """What the user says about plugins: the table `[tool.longshore.plugins]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefer: dict[str, str] = Field(
        default_factory=dict,
        description='Which distribution provides a name that several claim, as in {ray = "longshore-ray"}.',
    )
    disable: list[str] = Field(
        default_factory=list,
        description='What is never loaded: plugin names, "kind:name", or distribution names.',
    )
    allow: list[str] | None = Field(
        default=None,
        description="The only distributions whose plugins may be loaded; left out, all may.",
    )

    def preferred(self, kind: str, name: str) -> str | None:
        """Return the distribution preferred for this plugin; "kind:name" comes before the plain name."""
        return self.prefer.get(f"{kind}:{name}", self.prefer.get(name))


def strange_names(policy: PluginPolicy, facts: Sequence[Fact]) -> Iterator[str]:
    """Yield a line for each name in the policy that nothing installed has: it does nothing, and may be misspelt."""
    owners = {normalised(fact.distribution): fact.distribution for fact in facts}
    names = {each for fact in facts for each in (fact.name, f"{fact.kind}:{fact.name}")}
    told = {
        "disable": [entry for entry in policy.disable if entry not in names and normalised(entry) not in owners],
        "allow": [entry for entry in policy.allow or () if normalised(entry) not in owners],
        "prefer": [entry for entry in policy.prefer.values() if normalised(entry) not in owners],
    }
    known = {"disable": {*names, *owners.values()}, "allow": set(owners.values()), "prefer": set(owners.values())}
    for key, entries in told.items():
        for entry in entries:
            meant = nearest(entry, known[key])
            yield f'plugins.{key} names "{entry}", which is not installed' + (f": is {meant} meant?" if meant else "")
    for entry in policy.prefer:
        if entry not in names:
            meant = nearest(entry, names)
            yield f'plugins.prefer is about "{entry}", which no plugin is named' + (
                f": is {meant} meant?" if meant else ""
            )


def decide(
    facts: Iterable[Fact], policy: PluginPolicy, *, core_version: str | None, autoload: bool = True
) -> list[Candidate]:
    """Return a candidate for each fact, in the same order; without `autoload` only what `allow` lists stays available.

    With `core_version` None nothing is called incompatible.
    """
    claims: dict[tuple[str, str], list[Fact]] = defaultdict(list)
    listed = list(facts)
    for fact in listed:
        claims[fact.kind, fact.name].append(fact)
    candidates = []
    for fact in listed:
        state, reason = (
            _conflict(fact, claims[fact.kind, fact.name], policy)
            or _disabled(fact, policy)
            or _not_allowed(fact, policy, autoload)
            or _incompatible(fact, core_version)
            or (PluginState.AVAILABLE, "")
        )
        candidates.append(
            Candidate(
                kind=fact.kind,
                name=fact.name,
                distribution=fact.distribution,
                version=fact.version,
                value=fact.value,
                state=state,
                reason=reason,
            )
        )
    return candidates


def _conflict(fact: Fact, claims: Sequence[Fact], policy: PluginPolicy) -> Verdict | None:
    if (fact.kind, fact.name) in RESERVED:
        return PluginState.CONFLICT, f"the name {fact.name} is the core's own: {fact.distribution} must use another"
    if len(claims) == 1:
        return None
    owners = list(dict.fromkeys(claim.distribution for claim in claims))
    if len(owners) == 1:
        return PluginState.CONFLICT, f"{fact.distribution} declares this name {len(claims)} times"
    preferred = policy.preferred(fact.kind, fact.name)
    mine = [claim for claim in claims if preferred and normalised(claim.distribution) == normalised(preferred)]
    if len(mine) == 1:
        if mine[0] is fact:
            return None
        return PluginState.DISABLED, f"prefer gives the name {fact.name} to {mine[0].distribution}"
    text = f"{_and(owners)} both claim this name" if len(owners) == 2 else f"{_and(owners)} claim this name"
    if preferred and not mine:
        return PluginState.CONFLICT, f"{text}, and prefer names {preferred}, which does not"
    return PluginState.CONFLICT, f'{text}: choose one, as in prefer = {{ {fact.name} = "{owners[0]}" }}'


def _and(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _disabled(fact: Fact, policy: PluginPolicy) -> Verdict | None:
    for entry in policy.disable:
        if entry in (fact.name, f"{fact.kind}:{fact.name}") or normalised(entry) == normalised(fact.distribution):
            return PluginState.DISABLED, f'disable lists "{entry}"'
    return None


def _not_allowed(fact: Fact, policy: PluginPolicy, autoload: bool) -> Verdict | None:
    if policy.allow is None:
        if autoload:
            return None
        return (
            PluginState.DISABLED,
            f"LONGSHORE_DISABLE_PLUGIN_AUTOLOAD is set, and allow does not list {fact.distribution}",
        )
    if normalised(fact.distribution) in map(normalised, policy.allow):
        return None
    return PluginState.DISABLED, f"allow does not list {fact.distribution}"


def _incompatible(fact: Fact, core_version: str | None) -> Verdict | None:
    if core_version is None:
        return None
    for line in fact.requires:
        try:
            wanted = Requirement(line)
        except InvalidRequirement:
            if normalised(line).startswith(CORE):
                return PluginState.INCOMPATIBLE, f"its requirement {line!r} cannot be read"
            continue
        if normalised(wanted.name) != CORE or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        if not wanted.specifier.contains(core_version, prereleases=True):
            return PluginState.INCOMPATIBLE, f"it wants {CORE}{wanted.specifier}, and {core_version} is installed"
    return None
