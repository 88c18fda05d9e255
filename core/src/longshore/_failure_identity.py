"""Which failures are the same one, time after time: a short id from what does not change from input to input.

In: what is known of a failure, as text. Out: 12 hexadecimal digits, the same in every run. Pure; the tracker calls it
for each failure, and the command for its summary.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final

_MESSAGE_MOST: Final = 400  # characters of a message that are looked at: the rest tells of the input, if of anything
_QUOTED: Final = re.compile(r"""(?<!\w)(?:'[^'\n]*'|"[^"\n]*"|`[^`\n]*`)(?!\w)""")
_SPACED_PATH: Final = re.compile(
    r"""(?:[A-Za-z]:)?[\w.~%+@()-]*[/\\](?:[^\s:;,'"`]+\x20+){0,8}?[^\s:;,'"`]*\.[A-Za-z]\w{0,4}(?=[\s:;,'"`)\].!?]|$)"""
)
"""A path whose names may have blanks: it goes on to the first word that ends as a name of a file does."""
_PATH: Final = re.compile(r"(?:[A-Za-z]:)?[\w.~%+@-]*[/\\][\w.~%+@/\\-]*|\b[\w-]+(?:\.[\w-]+)*\.[A-Za-z]\w{0,4}\b")
_WITH_DIGIT: Final = re.compile(r"[\w.:+-]*\d[\w.:+%-]*")
_FRAME: Final = re.compile(r'^[ |+-]*File "([^"\n]*)", line \d+, in (.+)$', re.MULTILINE)
_OTHERS: Final = re.compile(r"[/\\](?:site|dist)-packages[/\\]|[/\\]lib[/\\]python\d|[/\\]src[/\\]longshore|^<frozen")


def failure_identity(kind: str, message: str, reason: str | None = None, traceback: str = "") -> str:
    """Return the id of a failure: of its type, its message without what varies, and where in the user's code it arose.

    Numbers, hexadecimal ones, ids, paths (of names with blanks too), names of files and quoted values are what varies.
    A reason, one word for machines, says more than a message, and stands in its place and the code's.
    """
    told = ("reason", reason) if reason else ("message", normalised(message), _where(traceback))
    return blake2b("\0".join((kind, *told)).encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def normalised(message: str) -> str:
    """Return a message without what varies from input to input."""
    text = _QUOTED.sub("'…'", message[:_MESSAGE_MOST])
    text = _PATH.sub("…", _SPACED_PATH.sub("…", text))
    return " ".join(_WITH_DIGIT.sub("#", text).split())


def _where(traceback: str) -> str:
    """Return file and function of the innermost frame in the user's own code, without the line, which edits move."""
    frames = _FRAME.findall(traceback)
    own = [frame for frame in frames if not _OTHERS.search(frame[0])]
    if not frames:
        return ""
    file, function = (own or frames)[-1]
    return "/".join(re.split(r"[/\\]", file)[-2:]) + f":{function}"
