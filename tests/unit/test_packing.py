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


def test_a_deep_traceback_keeps_the_innermost_frames() -> None:
    """Of an exception that came up through hundreds of frames, what is kept is where it was raised."""

    def down(left: int) -> None:
        if left:
            down(left - 1)
        else:
            raise ValueError("at the bottom")

    try:
        down(400)
    except ValueError as error:
        record = pack_error(error, 1, None)
    assert 'raise ValueError("at the bottom")' in record.traceback
    assert record.traceback.count("File ") <= 64
