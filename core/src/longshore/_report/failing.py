"""What failed in a run, told together: by its tasks, and by inputs of which no task failed; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from longshore._report.untasked import FailedInput
from longshore.runs import FailureView

_KEYS_MOST = 3


def with_inputs(groups: Sequence[FailureView], found: Iterable[FailedInput], most: int) -> list[FailureView]:
    """Return failures with those of inputs among them, the same ones together, the most frequent first."""
    views = {group.fingerprint: group for group in groups}
    for fingerprint, inputs in _by_fingerprint(found).items():
        known = views.get(fingerprint)
        views[fingerprint] = _group(fingerprint, inputs) if known is None else _joined(known, inputs)
    return sorted(views.values(), key=lambda group: -group.count)[:most]


def _by_fingerprint(found: Iterable[FailedInput]) -> Mapping[str, list[FailedInput]]:
    groups: dict[str, list[FailedInput]] = {}
    for one in found:
        groups.setdefault(one.fingerprint, []).append(one)
    return groups


def _group(fingerprint: str, inputs: Sequence[FailedInput]) -> FailureView:
    return FailureView(
        fingerprint=fingerprint,
        type=inputs[0].type,
        message=inputs[0].reason,
        reason=None,
        count=len(inputs),
        first=None,
        last=None,
        keys=[one.key for one in inputs[:_KEYS_MOST]],
        state=inputs[0].state,
    )


def _joined(group: FailureView, inputs: Sequence[FailedInput]) -> FailureView:
    keys = [*group.keys, *(one.key for one in inputs)][: max(_KEYS_MOST, len(group.keys))]
    return msgspec.structs.replace(group, count=group.count + len(inputs), keys=keys)
