"""The pipeline `documents`, shipped as data beside this file."""

from __future__ import annotations

from longshore.hookspecs import hookimpl


class DocumentsPipeline:
    """Extract the text of a document, then split it into chunks."""

    api: int = 1

    @hookimpl
    def toml(self) -> str:
        """Return the stages as the text of `documents.toml`."""
        from importlib.resources import files  # not at the top: 5 ms that workers need not spend

        return files("longshore_documents").joinpath("documents.toml").read_text(encoding="utf-8")
