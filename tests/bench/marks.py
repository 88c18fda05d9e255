"""Pages of which a part is written by a command: what stands between two markers is its own, the rest is left alone."""

from __future__ import annotations

from pathlib import Path


class Part:
    """A part of a page, between `<!-- NAME: begin -->` and `<!-- NAME: end -->`."""

    def __init__(self, page: Path, name: str) -> None:
        """Look for it; ValueError if the page has none, so that nothing is measured in vain."""
        self._page = page
        self._begin, self._end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        self._around()

    def write(self, text: str) -> None:
        """Put the text there, in the page as it is by now."""
        before, after = self._around()
        self._page.write_text(f"{before}{self._begin}\n{text.strip()}\n{self._end}{after}", encoding="utf-8")

    def _around(self) -> tuple[str, str]:
        before, found, rest = self._page.read_text(encoding="utf-8").partition(self._begin)
        _, closed, after = rest.partition(self._end)
        if not found or not closed:
            raise ValueError(f"{self._page}: there is no {self._begin} with {self._end} after it")
        return before, after
