"""The user's policy decides before anything is imported: first hit wins, and each candidate says why."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from longshore._plugins.policy import PluginPolicy, decide
from longshore._plugins.records import Candidate, Fact, PluginState
from pydantic import ValidationError


def fact(
    name: str = "ray", distribution: str = "longshore-ray", kind: str = "executors", requires: tuple[str, ...] = ()
) -> Fact:
    """Return a fact with the usual rest."""
    return Fact(kind=kind, name=name, distribution=distribution, version="1.0", value="m:C", requires=requires)


def decided(
    *facts: Fact, core_version: str | None = "0.1.0", autoload: bool = True, **policy: object
) -> list[Candidate]:
    """Return the candidates under a policy with these fields."""
    return decide(facts, PluginPolicy.model_validate(policy), core_version=core_version, autoload=autoload)


RIVALS = (fact(), fact(distribution="other-ray"))


def test_a_plugin_nobody_objects_to_is_available() -> None:
    """Without a policy everything installed may be used."""
    (candidate,) = decided(fact())
    assert (candidate.state, candidate.reason) == (PluginState.AVAILABLE, "")


@pytest.mark.requirement("req:K03")
def test_two_distributions_with_one_name_are_a_conflict_naming_both() -> None:
    """Neither of two claimants wins by chance; each says who the other is and how to choose."""
    for candidate in decided(*RIVALS):
        assert candidate.state is PluginState.CONFLICT
        assert "longshore-ray and other-ray both claim this name" in candidate.reason
        assert 'prefer = { ray = "longshore-ray" }' in candidate.reason


@pytest.mark.parametrize("key", ["ray", "executors:ray"])
@pytest.mark.parametrize("preferred", ["other-ray", "Other_Ray"])
def test_prefer_breaks_a_conflict(key: str, preferred: str) -> None:
    """The preferred distribution provides the name, the other one is disabled and says so."""
    ours, other = decided(*RIVALS, prefer={key: preferred})
    assert other.state is PluginState.AVAILABLE
    assert ours.state is PluginState.DISABLED
    assert "other-ray" in ours.reason


def test_prefer_for_a_stranger_leaves_the_conflict() -> None:
    """Preferring a distribution that does not claim the name decides nothing, and that is said."""
    ours, other = decided(*RIVALS, prefer={"ray": "third-ray"})
    assert {ours.state, other.state} == {PluginState.CONFLICT}
    assert "prefer names third-ray, which does not" in ours.reason


def test_conflict_comes_before_disable() -> None:
    """The order of the rules is fixed: a conflict is told of even where disable would hit too."""
    assert {each.state for each in decided(*RIVALS, disable=["ray"])} == {PluginState.CONFLICT}


def test_one_name_in_two_kinds_is_no_conflict() -> None:
    """Names are per kind."""
    both = decided(
        fact(name="documents", kind="pipelines"), fact(name="documents", kind="processors", distribution="x")
    )
    assert {each.state for each in both} == {PluginState.AVAILABLE}


def test_a_distribution_that_declares_a_name_twice_is_told_so() -> None:
    """A doubled entry point is the distribution's own mistake, and prefer cannot mend it."""
    twice = decided(fact(), fact(), prefer={"ray": "longshore-ray"})
    assert {each.state for each in twice} == {PluginState.CONFLICT}
    assert "declares this name 2 times" in twice[0].reason


def test_the_cores_own_executor_cannot_be_replaced() -> None:
    """`inline` is the core's: a distribution that claims it is refused."""
    (candidate,) = decided(fact(name="inline"))
    assert candidate.state is PluginState.CONFLICT
    assert "the core's own" in candidate.reason


@pytest.mark.parametrize("entry", ["ray", "executors:ray", "longshore-ray", "Longshore_Ray"])
@pytest.mark.requirement("req:K02")
def test_disable_takes_names_kinds_and_distributions(entry: str) -> None:
    """What is disabled is named in any of three ways, and the reason shows which."""
    (candidate,) = decided(fact(), disable=[entry])
    assert candidate.state is PluginState.DISABLED
    assert f'disable lists "{entry}"' in candidate.reason


def test_disable_of_another_kind_does_not_hit() -> None:
    """`kind:name` is exact."""
    assert decided(fact(), disable=["sinks:ray"])[0].state is PluginState.AVAILABLE


def test_allow_admits_only_what_it_lists() -> None:
    """With an allow-list, a distribution that is not on it provides nothing."""
    allowed, other = decided(fact(), fact(name="x", distribution="x-dist"), allow=["LONGSHORE.ray"])
    assert allowed.state is PluginState.AVAILABLE
    assert (other.state, other.reason) == (PluginState.DISABLED, "allow does not list x-dist")


def test_without_autoload_only_the_allow_list_is_left() -> None:
    """Without autoload and allow-list nothing may be loaded; the reason names the variable."""
    (candidate,) = decided(fact(), autoload=False)
    assert candidate.state is PluginState.DISABLED
    assert "LONGSHORE_DISABLE_PLUGIN_AUTOLOAD" in candidate.reason
    assert decided(fact(), autoload=False, allow=["longshore-ray"])[0].state is PluginState.AVAILABLE


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("longshore-core>=99", PluginState.INCOMPATIBLE),
        ("Longshore_Core<0.1", PluginState.INCOMPATIBLE),
        ("longshore-core ==0.1.*", PluginState.AVAILABLE),
        ("longshore-core>=99 ; extra == 'new'", PluginState.AVAILABLE),
        ("longshore-core>=99 ; python_version < '3'", PluginState.AVAILABLE),
        ("longshore>=99", PluginState.AVAILABLE),
        ("not a requirement !!", PluginState.AVAILABLE),
        ("longshore-core >> 3", PluginState.INCOMPATIBLE),
    ],
)
def test_incompatible_by_its_own_requirement(line: str, state: PluginState) -> None:
    """What a distribution requires of the core decides, as an installer would read it."""
    (candidate,) = decided(fact(requires=(line,)))
    assert candidate.state is state


def test_incompatible_names_both_versions() -> None:
    """The reason says what is wanted and what is there."""
    (candidate,) = decided(fact(requires=("longshore-core>=99",)))
    assert candidate.reason == "it wants longshore-core>=99, and 0.1.0 is installed"


def test_a_prerelease_of_the_core_counts_as_its_version() -> None:
    """Developers of the core itself are not locked out of their plugins."""
    assert decided(fact(requires=("longshore-core>=0.1",)), core_version="0.2.0.dev1")[0].state is PluginState.AVAILABLE


def test_without_a_known_core_version_nothing_is_incompatible() -> None:
    """A core run from its source tree takes any plugin."""
    assert decided(fact(requires=("longshore-core>=99",)), core_version=None)[0].state is PluginState.AVAILABLE


def test_policy_is_frozen_and_refuses_unknown_keys() -> None:
    """A policy cannot change under a host, and a typo in it is an error."""
    with pytest.raises(ValidationError):
        PluginPolicy.model_validate({"disabel": []})
    with pytest.raises(ValidationError):
        PluginPolicy().allow = []


NAMES = st.sampled_from(["a", "b"])
OWNERS = st.sampled_from(["one", "two", "three"])
FACTS = st.lists(
    st.builds(fact, name=NAMES, distribution=OWNERS, kind=st.sampled_from(["sinks", "probes"])), max_size=6
)


@pytest.mark.slow
@given(
    FACTS,
    st.dictionaries(st.one_of(NAMES, st.just("sinks:a")), OWNERS),
    st.lists(st.one_of(NAMES, OWNERS, st.just("sinks:a")), max_size=2),
    st.one_of(st.none(), st.lists(OWNERS, max_size=2)),
    st.booleans(),
)
def test_policy_laws(
    facts: list[Fact], prefer: Any, disable: list[str], allow: list[str] | None, autoload: bool
) -> None:
    """Whatever is installed and said: a candidate each, at most one usable per kind and name, none of them refused, and
    every refused one says why.
    """
    candidates = decided(*facts, prefer=prefer, disable=disable, allow=allow, autoload=autoload)
    assert [(each.kind, each.name, each.distribution) for each in candidates] == [
        (each.kind, each.name, each.distribution) for each in facts
    ]
    usable = [each for each in candidates if each.state is PluginState.AVAILABLE]
    assert len({(each.kind, each.name) for each in usable}) == len(usable)
    for each in usable:
        assert not {each.name, f"{each.kind}:{each.name}", each.distribution} & set(disable)
        assert each.distribution in allow if allow is not None else autoload
    assert all(bool(each.reason) is (each not in usable) for each in candidates)
