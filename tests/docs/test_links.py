"""Links lead somewhere in the repository; in the site, `mkdocs build --strict` sees to that."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = re.compile(r"^ *```.*?^ *```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """Return all pages of the repository that people read."""
    return [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *ROOT.glob("*/README.md"),
        *ROOT.glob("plugins/*/README.md"),
    ]


def anchors(page: Path) -> set[str]:
    """Return what headings of a page may be linked by."""
    titles = re.findall(
        r"^#+ (.*)$",
        CODE.sub(lambda found: found[0].strip("`") if "\n" not in found[0] else "", page.read_text("utf-8")),
        re.MULTILINE,
    )
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    """Relative links of all pages point at files that exist, and what follows a # at a heading there."""
    broken = []
    for page in pages():
        for target in re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", page.read_text(encoding="utf-8"))):
            name, _, anchor = target.partition("#")
            there = (page.parent / name).resolve() if name else page
            if "://" in target:
                continue
            if not there.exists() or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []
