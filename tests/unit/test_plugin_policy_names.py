"""Names in the policy that nothing installed has: told, for a misspelt one does nothing."""

from __future__ import annotations

import pytest
from longshore._plugins.policy import PluginPolicy, strange_names
from longshore._plugins.records import Fact

FACTS = [
    Fact(kind="sinks", name="jsonl", distribution="longshore-jsonl", version="1.0", value="a:B", requires=()),
    Fact(kind="executors", name="ray", distribution="Longshore_Ray", version="1.0", value="a:C", requires=()),
]


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (PluginPolicy(), []),
        (PluginPolicy(disable=["jsonl", "executors:ray", "longshore-ray"], allow=["longshore.jsonl"]), []),
        (PluginPolicy(prefer={"ray": "longshore-ray", "sinks:jsonl": "longshore-jsonl"}), []),
        (
            PluginPolicy(disable=["longshore-jsonll"]),
            ['plugins.disable names "longshore-jsonll", which is not installed: is longshore-jsonl meant?'],
        ),
        (PluginPolicy(allow=["quite-another"]), ['plugins.allow names "quite-another", which is not installed']),
        (
            PluginPolicy(prefer={"rai": "longshore-raay"}),
            [
                'plugins.prefer names "longshore-raay", which is not installed: is Longshore_Ray meant?',
                'plugins.prefer is about "rai", which no plugin is named: is ray meant?',
            ],
        ),
    ],
)
def test_names_that_nothing_has_are_told(policy: PluginPolicy, said: list[str]) -> None:
    """Each with the list it stands in, and what may have been meant; distributions are compared as everywhere."""
    assert list(strange_names(policy, FACTS)) == said
