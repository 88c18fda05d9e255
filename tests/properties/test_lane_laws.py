"""Lanes: how many wait is known without looking at them, whatever was put in and taken out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from longshore._columns import AttemptColumns
from longshore._engine.lanes import Gate, Lane, lane_key
from longshore.task import Attempt, Priority, TaskSpec

SPEC = TaskSpec(function=len, name="len", executor="quay")
STEPS = st.one_of(
    st.tuples(st.sampled_from(["columns", "singles", "take"]), st.integers(1, 5)),
    st.tuples(st.sampled_from(["take_one"]), st.just(1)),
    st.tuples(st.sampled_from(["remove", "give_up"]), st.integers(0, 40)),
)


OTHER = lane_key(TaskSpec(function=len, name="len", executor="yard"))


def give_up(lane: Lane, stranger: str) -> None:
    """Take out one task, as if another lane was its own by now."""
    lane.give_up(
        lambda attempt: OTHER if attempt.task_id == stranger else lane.key,
        lambda columns: stranger in columns.ids,
    )


@given(steps=st.lists(st.tuples(STEPS, st.sampled_from(list(Priority))), max_size=40))
def test_the_depth_of_a_lane_is_how_many_wait_in_it(steps: list[tuple[tuple[str, int], Priority]]) -> None:
    """After any history each priority's depth is the number of attempts that it would yield."""
    lane = Lane(lane_key(SPEC), Gate(None, None, None))
    made = 0
    for (act, count), priority in steps:
        names = [f"t{made + number}" for number in range(count)]
        match act:
            case "columns":
                lane.put(priority, AttemptColumns(SPEC, names, [(n,) for n in names], made, 0.0))
                made += count
            case "singles":
                lane.put(priority, [Attempt(name, SPEC) for name in names])
                made += count
            case "take":
                lane.take(priority, count)
            case "take_one":
                if lane.queues[priority]:
                    lane.take_one(priority)
            case "remove":
                lane.remove({f"t{count}", f"t{count + 1}"})
            case _:
                give_up(lane, f"t{count}")
        assert [lane.depth(level) for level in Priority] == [len([*lane.waiting(level)]) for level in Priority]
        assert lane.count() == sum(len([*lane.waiting(level)]) for level in Priority)
