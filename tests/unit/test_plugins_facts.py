"""What is installed is read from metadata, and nothing else."""

from __future__ import annotations

from importlib.metadata import distributions
from typing import Any

import pytest
from longshore._plugins.facts import normalised, read_facts


def test_facts_carry_kind_name_distribution_version_and_requirements(fake_distributions: Any) -> None:
    """A distribution's entry points are known with all that policy needs, without an import."""
    fake_distributions.add("acme-sinks", "1/0", version="2.5", requires=["longshore-core>=0.1"], sinks={"acme": "Sink"})
    (fact,) = read_facts(fake_distributions()).plugins
    assert (fact.kind, fact.name, fact.distribution, fact.version) == ("sinks", "acme", "acme-sinks", "2.5")
    assert fact.value == "tmp_acme_sinks:Sink"
    assert fact.requires == ("longshore-core>=0.1",)
    assert fake_distributions.imported() == set()


def test_facts_are_sorted_whatever_the_order_on_disk(fake_distributions: Any) -> None:
    """Listings come out the same everywhere: by kind, then name."""
    fake_distributions.add("zeta", sinks={"b": "B", "a": "A"}, executors={"z": "Z"})
    fake_distributions.add("alpha", sinks={"c": "C"})
    found = [(fact.kind, fact.name) for fact in read_facts(fake_distributions()).plugins]
    assert found == [("executors", "z"), ("sinks", "a"), ("sinks", "b"), ("sinks", "c")]


def test_first_distribution_of_a_name_counts(fake_distributions: Any) -> None:
    """Of two installed copies of one distribution, however its name is spelt, the first on the path counts."""
    fake_distributions.add("acme-sinks", version="2.0", folder="first", sinks={"new": "Sink"})
    fake_distributions.add("Acme.Sinks", version="1.0", folder="second", sinks={"old": "Sink"})
    path = [str(fake_distributions.folder / name) for name in ("first", "second")]
    assert [fact.name for fact in read_facts(distributions(path=path)).plugins] == ["new"]


@pytest.mark.parametrize("file", ["METADATA", "entry_points.txt"])
@pytest.mark.requirement("req:K03")
def test_unreadable_metadata_costs_only_its_own_distribution(fake_distributions: Any, file: str) -> None:
    """A malformed distribution is told of as a problem, and every other plugin is found."""
    fake_distributions.add("good", sinks={"good": "Sink"})
    fake_distributions.add("broken", sinks={"broken": "Sink"})
    (fake_distributions.folder / "broken-1.0.dist-info" / file).write_text("[longshore.sinks]\nno equals sign\n")
    facts = read_facts(fake_distributions())
    assert [fact.name for fact in facts.plugins] == ["good"]
    (problem,) = facts.problems
    assert "broken" in problem
    assert "metadata cannot be read" in problem


def test_unknown_group_is_told_of_with_the_kind_that_was_meant(fake_distributions: Any) -> None:
    """An entry point under a misspelt group would be lost in silence, so it is named."""
    fake_distributions.add("acme", sink={"acme": "Sink"})
    facts = read_facts(fake_distributions())
    assert facts.plugins == ()
    assert "did you mean longshore.sinks?" in facts.problems[0]


def test_names_are_compared_as_package_indexes_do() -> None:
    """Case and separators make no difference between distributions."""
    assert normalised("Acme_Sinks.Extra") == "acme-sinks-extra"
