"""Keys are equal if and only if the arguments are, for whatever Hypothesis makes of them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from longshore._canonical import canonical
from longshore._identity import key_of

hashable = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.binary(max_size=4),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
values = st.recursive(
    hashable,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(hashable, inner, max_size=3)
        | st.sets(hashable, max_size=3)
        | st.tuples(inner)
    ),
    max_leaves=10,
)


def told_apart(value: Any) -> Any:
    """Return something equal for values that are to have one key only: types told apart, floats by their text."""
    match value:
        case dict():
            return "dict", frozenset((told_apart(key), told_apart(of)) for key, of in value.items())
        case set() | frozenset():
            return type(value).__name__, frozenset(told_apart(one) for one in value)
        case list() | tuple():
            return type(value).__name__, tuple(told_apart(one) for one in value)
        case float():
            return "float", value.hex()
        case _:
            return type(value).__name__, value


@given(values, values)
def test_equal_keys_if_and_only_if_equal_values(one: Any, other: Any) -> None:
    """Two values have the same bytes exactly if they are equal, type by type."""
    assert (canonical(one) == canonical(other)) is (told_apart(one) == told_apart(other))


@given(st.lists(st.binary(max_size=80), max_size=4), st.lists(st.binary(max_size=80), max_size=4))
def test_no_part_is_taken_for_another(one: list[bytes], other: list[bytes]) -> None:
    """What stands side by side, short or long enough to be hashed, never runs together."""
    assert (canonical(one) == canonical(other)) is (one == other)


@given(st.dictionaries(hashable, values, max_size=5), st.randoms(use_true_random=False))
def test_order_of_a_dict_does_not_count(value: dict[Any, Any], random: Any) -> None:
    """Whatever order a dict was filled in, and a set: one key."""
    items = list(value.items())
    random.shuffle(items)
    assert canonical(dict(items)) == canonical(value)


def call(first: Any, second: Any = None, *, third: Any = 0) -> None:
    """Stand for a task."""


@given(values, values, values)
def test_the_way_arguments_are_given_does_not_count(one: Any, two: Any, three: Any) -> None:
    """By position or by name: one key."""
    assert key_of(call, (one, two), {"third": three}) == key_of(call, (), {"third": three, "second": two, "first": one})


@given(st.tuples(values, values), st.tuples(values, values))
def test_calls_have_one_key_if_and_only_if_they_are_equal(one: tuple[Any, Any], other: tuple[Any, Any]) -> None:
    """Of the same function: exactly if all arguments are equal."""
    assert (key_of(call, one) == key_of(call, other)) is (told_apart(one) == told_apart(other))
