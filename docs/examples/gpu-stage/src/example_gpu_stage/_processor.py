"""The processor: what it needs, and what it does with a document."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
from longshore.hookspecs import hookimpl
from longshore.processor import ProcessorContext, ProcessorMetadata, ProcessorResult
from longshore.worker import current_task

from example_gpu_stage._backend import on_gpu

SIZE = 64
_SEEN_MOST = 100_000


class EmbedProcessor:
    """Makes one vector of the words of a text: the mean of a fixed vector for each word, computed on a GPU."""

    api = 1

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        """Take nothing yet: `initialize` is called once in each worker."""
        self._cpu_instead = (environ if environ is not None else os.environ).get("EXAMPLE_GPU_STAGE_CPU") == "1"

    @property
    def metadata(self) -> ProcessorMetadata:
        """It needs a GPU for itself, in a process: only there is `CUDA_VISIBLE_DEVICES` that of one task."""
        return ProcessorMetadata(
            name="embed",
            version="1",
            formats=("txt", "md"),
            executor="processes",
            requires_gpu=not self._cpu_instead,
            is_cpu_intensive=self._cpu_instead,
            retry_count=1,
            max_file_size_mb=100,
        )

    @hookimpl
    def initialize(self) -> None:
        """Nothing: which GPU it is to be is known with the first task, for the pool lends it to that."""

    @hookimpl
    def process(self, context: ProcessorContext) -> ProcessorResult:
        """Return the vector, and what it was computed on; NoGpu where there is none."""
        array = numpy if self._cpu_instead else on_gpu(current_task().gpus)
        words = _words(context)
        if not words:
            return ProcessorResult(status="failed", errors=["the document has no words"])
        vectors = array.asarray([_seed(word) for word in words], dtype="float32") / 255.0 - 0.5
        mean = vectors.mean(axis=0)
        vector = [round(float(value), 6) for value in mean.tolist()]
        device = "cpu" if self._cpu_instead else "gpu"
        return ProcessorResult(data={"vector": vector, "words": len(words)}, metadata={"device": device})

    @hookimpl
    def cleanup(self) -> None:
        """Nothing is held between documents."""

    @hookimpl
    def health_check(self) -> bool:
        """Say whether it can work: that is known with a task only, and it says no sooner that it can't."""
        return True


def _words(context: ProcessorContext) -> list[str]:
    before: Any = context.previous_results.get("extract", {})  # Any: as the stage before gave it
    text = before.get("text") if isinstance(before, Mapping) else None
    if text is None:
        if context.file_path is None:
            raise ValueError("neither a file nor the text of a stage `extract`")
        text = Path(context.file_path).read_text(encoding="utf-8", errors="replace")
    return str(text).split()[:_SEEN_MOST]


def _seed(word: str) -> list[int]:
    """Return the same numbers for the same word, everywhere."""
    return list(hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=SIZE).digest())
