"""Zip files of documents, opened so that none unfolds past the limit."""

from __future__ import annotations

import io
import zipfile

from longshore_documents.failures import Reason, refusal
from longshore_documents.source import Source

MAX_ENTRIES = 50_000
"""Files in one archive; past that it is no document."""


class Archive:
    """The files in a zip document, by name."""

    def __init__(self, source: Source) -> None:
        """Read the directory; raises DocumentError "malformed" or "too-large" before unpacking anything."""
        self._source = source
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(source.data))
        except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
            raise refusal(Reason.MALFORMED, f"{source.name}: a damaged zip file") from error
        entries = self._zip.infolist()
        # zipfile never unpacks more of an entry than the directory declares, so the sum declared is a true bound.
        unpacked = sum(entry.file_size for entry in entries)
        if unpacked > source.limits.unpacked_bytes or len(entries) > MAX_ENTRIES:
            message = (
                f"{source.name}: {unpacked / 1e6:.0f} MB in {len(entries)} files when unpacked; see max_unpacked_mb"
            )
            raise refusal(Reason.TOO_LARGE, message)
        self.names = frozenset(entry.filename for entry in entries)

    def __contains__(self, name: str) -> bool:
        """Tell whether there is a file of this name."""
        return name in self.names

    def read(self, name: str) -> bytes:
        """Return a file's bytes; raises DocumentError "malformed" or "encrypted" where that cannot be."""
        try:
            entry = self._zip.getinfo(name)
            if entry.flag_bits & 0x1:
                raise refusal(Reason.ENCRYPTED, f"{self._source.name}: {name} in it is locked by a password")
            return self._zip.read(entry)
        except (KeyError, zipfile.BadZipFile, EOFError, NotImplementedError, OSError) as error:
            raise refusal(Reason.MALFORMED, f"{self._source.name}: {name} in it is missing or damaged") from error
