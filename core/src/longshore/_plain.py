"""Text from tasks, files and exceptions, made safe for a terminal or a log."""

from __future__ import annotations


def safe(text: str) -> str:
    """Return the text with visible escapes for all that a terminal would act on or cannot show, but for line ends."""
    return "".join(char if char.isprintable() or char == "\n" else escaped(char) for char in text)


def line(text: str) -> str:
    """Return the text on one line, safe as above."""
    return safe(" ".join(text.split("\n")))


def escaped(char: str) -> str:
    """Return a visible escape for a character."""
    if "\udc80" <= char <= "\udcff":  # a byte of a file name that is no UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
