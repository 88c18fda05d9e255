"""What is told of an exception, however much it says."""

from __future__ import annotations

from longshore.worker import pack_error


def raise_long() -> None:
    raise ValueError("x" * 10_000_000)


def test_a_long_message_does_not_push_out_where_it_was_raised() -> None:
    """Message and traceback are cut, and the traceback still names the function and ends with the exception."""
    try:
        raise_long()
    except ValueError as error:
        record = pack_error(error, 1, None)
    assert len(record.message) <= 16_384
    assert len(record.traceback) <= 16_384
    assert "in raise_long" in record.traceback
    assert "ValueError: xxx" in record.traceback
