"""The processor `extract`: a file in, its text, title and structure out, or a DocumentError with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longshore.errors import DocumentError, LongshoreError
from longshore.hookspecs import hookimpl
from longshore.processor import ProcessorContext, ProcessorMetadata, ProcessorResult

from longshore_documents.failures import Reason, refusal
from longshore_documents.formats import recognise
from longshore_documents.lazy import SettingsOf
from longshore_documents.limits import Limits
from longshore_documents.readers import reader_of
from longshore_documents.source import Source, load
from longshore_documents.writer import Writer

if TYPE_CHECKING:
    from longshore_documents.settings import ExtractSettings


class ExtractProcessor:
    """Reads a document; the result depends on the file's bytes and name only, never on time or place.

    `process` returns `data` with `text`, `title`, `format`, `metadata`, `parts` and `headings` (offsets into
    `text`), or raises DocumentError with one of the reasons of `Reason`, whatever the bytes are. Safe in threads,
    made for processes.
    """

    Settings = SettingsOf("ExtractSettings")
    api: int = 1

    def __init__(self, settings: ExtractSettings | None = None) -> None:
        """Keep the limits; without settings, the defaults."""
        self._limits = Limits(**settings.model_dump()) if settings is not None else Limits()

    @property
    def metadata(self) -> ProcessorMetadata:
        """What the pool should know: it needs a process of its own to be stopped in, and is never worth a retry."""
        return ProcessorMetadata(
            name="extract",
            version="0.1.0",
            formats=(),  # whatever the name: a document is known by its bytes
            timeout_seconds=60.0,
            retry_count=0,
            concurrent_limit=1024,
            executor="processes",
            is_cpu_intensive=True,
            max_file_size_mb=self._limits.max_file_mb,
        )

    @hookimpl
    def initialize(self) -> None:
        """Do nothing: a library is loaded when the first document of its format comes."""

    @hookimpl
    def process(self, context: ProcessorContext) -> ProcessorResult:
        """Read the file at `context.file_path`, or where that is None, at `context.document_id`."""
        path = context.file_path or context.document_id
        return ProcessorResult(data=self._extract(load(path, self._limits), context.mime_type))

    @hookimpl
    def cleanup(self) -> None:
        """Do nothing: nothing is held between documents."""

    @hookimpl
    def health_check(self) -> bool:
        """Tell that it can work."""
        return True

    def _extract(self, source: Source, mime_type: str | None) -> dict[str, object]:
        writer = Writer(source.name, source.limits.text_chars)
        form = "document"
        try:
            form = recognise(source, mime_type)
            reader_of(form)(source, writer)
            return writer.data(form)
        except (LongshoreError, ImportError):
            raise  # ours already, or a broken installation, which is no document's fault
        except MemoryError as error:
            raise refusal(
                Reason.TOO_LARGE, f"{source.name}: reading it as {form} took more memory than there is"
            ) from error
        except Exception as error:
            raise _malformed(source, form, error) from error


def _malformed(source: Source, form: str, error: Exception) -> DocumentError:
    # The library's own message stays with the cause: it may name objects by address, and ours must not change by run.
    return refusal(Reason.MALFORMED, f"{source.name}: damaged, or not {form} at all ({type(error).__name__})")
