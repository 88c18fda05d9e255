"""What may stand on a terminal, and how numbers read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from longshore_rich._text import (
    ASCII,
    UNICODE,
    bar,
    duration,
    glyphs_for,
    megabytes,
    per_second,
    percent,
    span,
    visible,
)
from rich.text import Text

NASTY = st.text(
    st.sampled_from(
        "aZ[/] :\n\r\t\x00\x07\x1b\x7f\x85\x9b\u00e9\u202e\u2066\u2028\u200b\u00ad\u3000\u0301\ufeff\ud800\udce9岸🚢"
    ),
    max_size=40,
)


@given(NASTY)
def test_nothing_acts_on_the_terminal(text: str) -> None:
    """No control, bidi or hidden mark, no lone surrogate is left of any string, all else stays as it is (fault:E2)."""
    shown = visible(text)
    shown.encode("utf-8")
    assert not any(ord(c) < 0x20 or 0x7F <= ord(c) <= 0x9F or c in "\u202e\u2066\u2028\u200b\ufeff\xad" for c in shown)
    assert visible(shown) == shown


def test_escapes_can_be_read() -> None:
    """What is taken out is spelled out."""
    assert visible("a\x1b[1m\n\x85\u202e\udce9") == "a\\x1b[1m\\n\\x85\\u202e\\udce9"
    assert visible("a\u200bb\u00adc") == "a\\u200bb\\xadc"
    assert visible("報告\u3000書 e\u0301 🚢") == "報告\u3000書 e\u0301 🚢"
    assert len(visible("\x00" * 1_000_000, limit=10)) == 43


@given(NASTY, st.integers(min_value=0, max_value=20))
def test_a_row_never_passes_its_width(text: str, width: int) -> None:
    """Cut text is at most as wide as it may be, wide characters included, in both character sets."""
    for glyphs in (ASCII, UNICODE):
        assert glyphs.fit(Text(glyphs.clean(text)), width).cell_len <= width


@given(NASTY)
def test_ascii_only_is_ascii_only(text: str) -> None:
    """On a stream that is not UTF-8 everything shown is ASCII."""
    assert ASCII.clean(text).isascii()


@pytest.mark.parametrize(
    ("encoding", "env", "glyphs"),
    [
        ("utf-8", {}, UNICODE),
        ("UTF8", {"LANG": "de_DE.UTF-8"}, UNICODE),
        ("utf-8", {"LC_ALL": "C.UTF-8", "LANG": "C"}, UNICODE),
        ("utf-8", {"LC_ALL": "C", "LANG": "de_DE.UTF-8"}, ASCII),
        ("utf-8", {"LC_CTYPE": "POSIX"}, ASCII),
        ("utf-8", {"TERM": "dumb"}, ASCII),
        ("latin-1", {}, ASCII),
        ("ascii", {}, ASCII),
        (None, {}, ASCII),
        ("nonsense", {}, ASCII),
    ],
)
def test_encoding_locale_and_terminal_choose_the_glyphs(
    encoding: str | None, env: dict[str, str], glyphs: object
) -> None:
    """Anything but UTF-8 gets ASCII, and so do the locale C and a dumb terminal."""
    assert glyphs_for(encoding, env) is glyphs


def test_numbers_read_well() -> None:
    """Durations, rates, amounts, shares and ranges as people write them; 100% only when all is done."""
    assert [duration(s) for s in (0.44, 11.8, 59.9, 192, 7500, 97_200)] == [
        "0.4s",
        "12s",
        "1m00s",
        "3m12s",
        "2h05m",
        "1d03h",
    ]
    assert [per_second(r) for r in (0.34, 12.4, 1840)] == ["0.3/s", "12.4/s", "1,840/s"]
    assert [megabytes(mb) for mb in (0.3, 612, 13_100)] == ["0.3MB", "612MB", "13.1GB"]
    assert [percent(1, 3), percent(999, 1000), percent(5, 4), percent(1, None), percent(0, 0)] == [
        "33%",
        "99%",
        "100%",
        "",
        "",
    ]
    assert [span(480, 720), span(None, 12), span(5, 5), span(None, None)] == ["8m00s-12m00s", "12s", "5.0s", ""]
    assert [bar(1, 4, 8, ASCII), bar(9, 4, 4, ASCII), bar(1, None, 3, ASCII)] == ["##......", "####", "..."]
