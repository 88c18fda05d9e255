"""Whether a document suits a processor: its format, its size, and what the processor itself says.

In: what the processor says of itself. Out: the exception its task ends with, or None. Called on the pool's loop before
a worker is taken; and of an object of a store in the worker, once it is there.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from pathlib import Path, PurePath

from longshore._objects import is_url, name_in
from longshore.errors import DocumentError
from longshore.processor import ProcessorContext, ProcessorMetadata

OwnCheck = Callable[[ProcessorContext], object]
"""A processor's `validate_input`; what it returns is looked at, for it may be anything."""


class InputCheck:
    """Looks at documents for one processor: the format first, then the size, then what the processor itself says."""

    __slots__ = ("_formats", "_max_mb", "_name", "_own")

    def __init__(self, name: str, metadata: ProcessorMetadata, own: OwnCheck | None) -> None:
        """Look at what the metadata say; `own` is the processor's `validate_input`, where it has one."""
        self._name = name
        self._formats = frozenset(form.lower().removeprefix(".") for form in metadata.formats)
        self._max_mb = metadata.max_file_size_mb
        self._own = own

    def __call__(self, context: ProcessorContext) -> BaseException | None:
        """Return what is wrong with the document, None where nothing is; a reason of no words is told as such.

        Of one that is named by a URL the format alone is looked at: there is no file yet.
        """
        try:
            self._look_at_format(context)
            if context.file_path is not None and is_url(context.file_path):
                return None
            self._look_at_size(context)
            reason = self._own(context) if self._own is not None else None
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - `validate_input` is the plugin's, and may raise anything
            return error
        if reason is None:
            return None
        if not isinstance(reason, str):
            return TypeError(f"validate_input of processor {self._name} returned {reason!r}, not a reason or None")
        said = reason or f"processor {self._name} refused it, and gave no reason"
        return DocumentError(f"{context.document_id}: {said}", reason="refused")

    def _look_at_format(self, context: ProcessorContext) -> None:
        """Refuse a document whose suffix and MIME type are both none of the formats."""
        path = context.file_path
        name = name_in(path) if path is not None and is_url(path) else path
        suffix = PurePath(name).suffix[1:].lower() if name is not None else None
        kind = context.mime_type.partition(";")[0].strip().lower() if context.mime_type is not None else None
        said = [known for known in (suffix, kind) if known is not None]
        if not self._formats or not said or self._formats.intersection([*said, *_suffixes(kind)]):
            return
        taken, given = ", ".join(sorted(self._formats)), ", ".join(filter(None, said)) or "without a suffix"
        raise DocumentError(
            f"{context.file_path or context.document_id}: processor {self._name} takes {taken}; this is {given}",
            reason="unsupported",
        )

    def _look_at_size(self, context: ProcessorContext) -> None:
        """Refuse a file that is larger than the processor says, or is not there to be measured."""
        path = context.file_path
        if self._max_mb is None or path is None:
            return
        try:
            size = Path(path).stat().st_size
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            detail = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise DocumentError(f"{path}: cannot be opened: {detail}", reason="unreadable") from error
        if size > self._max_mb * 1e6:
            raise DocumentError(
                f"{path}: larger than the {self._max_mb:g} MB that processor {self._name} takes", reason="too-large"
            )


def _suffixes(kind: str | None) -> list[str]:
    return [suffix[1:] for suffix in mimetypes.guess_all_extensions(kind or "", strict=False)]
