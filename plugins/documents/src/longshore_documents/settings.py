"""What can be set for the two processors, each in its own table; the defaults are those of the plain records."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from longshore_documents.limits import Limits, Sizes

_LIMITS = Limits()
_SIZES = Sizes()


class ExtractSettings(BaseModel):
    """Limits of `extract`; a document past one is refused as "too-large". MB is 10**6 bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    max_file_mb: float = Field(default=_LIMITS.max_file_mb, gt=0)
    """Size of the file itself."""
    max_unpacked_mb: float = Field(default=_LIMITS.max_unpacked_mb, gt=0)
    """Size of everything packed in one file (docx, pptx, xlsx, odt, epub), unpacked."""
    max_text_mb: float = Field(default=_LIMITS.max_text_mb, gt=0)
    """Millions of characters of text in one document."""


class ChunkSettings(BaseModel):
    """Sizes of `chunk`, in characters."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    max_chars: int = Field(default=_SIZES.max_chars, ge=16)
    """No chunk is longer."""
    overlap_chars: int = Field(default=_SIZES.overlap_chars, ge=0)
    """Up to this much of the end of a chunk is repeated at the start of the next; at most a third of `max_chars`."""
    with_text: bool = _SIZES.with_text
    """Whether each chunk repeats its text beside its offsets."""

    @model_validator(mode="after")
    def _room_for_progress(self) -> ChunkSettings:
        if self.overlap_chars * 3 > self.max_chars:
            message = f"overlap_chars = {self.overlap_chars} is more than a third of max_chars = {self.max_chars}"
            raise ValueError(message)
        return self
