"""What the site needs beside MkDocs: pages from outside `docs/`, links between both, and what is made when it is built.

MkDocs calls these functions by name while it builds. Pages of the repository (`core/README.md`, those of plugins) come
into the site below `repository/`, and every link is written for the place its target has there. So one link works where
the repository is read and in the site, and the strict build checks it. No page may fetch anything from another host.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from longshore.cli import build_app
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
TOP = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "LICENSE")
KINDS = ("added", "changed", "fixed", "removed")
FETCHED = re.compile(r'<(?:script|img|link|iframe)\b[^>]*\b(?:src|href)="(?:https?:)?//[^"]+"[^>]*>')
LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
CODE = re.compile(r"(^ *```.*?^ *```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Bring in the pages that stand elsewhere in the repository, and the files there that a page leads to."""
    readmes = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("plugins/*/README.md"))
    pages = [*TOP, "core/README.md", "tests/README.md", *readmes]
    led_to = {target for file in files.documentation_pages() for target in linked(source_of(file.src_uri))}
    for path in dict.fromkeys([*pages, *sorted(path for path in led_to if not path.startswith("docs/"))]):
        if (ROOT / path).is_file():
            files.append(File.generated(config, place_of(path), abs_src_path=str(ROOT / path)))
    return files


def linked(path: str) -> set[str]:
    """Return the places in the repository that a page of it leads to."""
    text = CODE.sub("", (ROOT / path).read_text(encoding="utf-8"))
    return {meant(target, path) for _, target, _ in LINK.findall(text) if "://" not in target}


def meant(target: str, path: str) -> str:
    """Return which place in the repository a link on the page at `path` means."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), target))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write links for the site, and end some pages with what is made when the site is built."""
    here = page.file.src_uri
    text = "".join(
        part if CODE.fullmatch(part) else LINK.sub(lambda found: moved(found, here), part)
        for part in CODE.split(markdown)
    )
    return text + ADDED[here]() if here in ADDED else text


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Refuse what a reader's browser would ask another host for."""
    fetched = FETCHED.search(output)
    if fetched is not None:
        raise PluginError(f"{page.file.src_uri} would fetch from elsewhere: {fetched[0]}")
    return output


def moved(found: re.Match[str], here: str) -> str:
    """Return the link as it has to be on the page at `here`, a place in the site."""
    before, target, after = found.groups()
    if "://" in target or target.startswith("mailto:"):
        return found[0]
    there = place_of(meant(target, source_of(here)))
    return before + posixpath.relpath(there, posixpath.dirname(here) or ".") + after


def place_of(path: str) -> str:
    """Return where a file of the repository stands in the site."""
    return path.removeprefix("docs/") if path.startswith("docs/") else f"repository/{path}"


def source_of(place: str) -> str:
    """Return which file of the repository stands there."""
    return place.removeprefix("repository/") if place.startswith("repository/") else f"docs/{place}"


def decisions() -> str:
    """Return the list of all pages of decisions, by their titles."""
    pages = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
    titles = [path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ") for path in pages]
    return "\n\n" + "\n".join(f"- [{title}]({path.name})" for title, path in zip(titles, pages, strict=True)) + "\n"


def news() -> str:
    """Return all fragments of news, by their kind."""
    parts = []
    for kind in KINDS:
        found = sorted((ROOT / "docs/news").glob(f"*.{kind}.md"))
        told = ["- " + " ".join(path.read_text(encoding="utf-8").split()) for path in found]
        parts.append(f"\n\n## {kind.capitalize()}\n\n" + "\n".join(told) if told else "")
    return "".join(parts) + "\n"


def command_line() -> str:
    """Return the help of all commands."""
    text = build_app().generate_docs(output_format="markdown", include_hidden=False)
    return "\n\n" + text[text.index("## longshore run") :]


ADDED = {"decisions/README.md": decisions, "news/README.md": news, "reference/command-line.md": command_line}
