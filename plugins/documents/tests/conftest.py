"""What the tests of this plugin share: the maker of the example documents, and `extract` and `reason` on bytes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from longshore.errors import DocumentError
from longshore.processor import ProcessorContext
from longshore_documents import ExtractProcessor

Extract = Callable[..., dict[str, Any]]
EXAMPLES = Path(__file__).resolve().parents[3] / "docs" / "examples"


@pytest.fixture(scope="session")
def maker() -> ModuleType:
    """The script that makes the example documents."""
    spec = importlib.util.spec_from_file_location("make_documents", EXAMPLES / "make_documents.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def extract(tmp_path_factory: pytest.TempPathFactory) -> Extract:
    """A function from a file name and its bytes to what is extracted; settings may follow by name."""

    def run(name: str, data: bytes, **settings: Any) -> dict[str, Any]:
        path = tmp_path_factory.mktemp("document") / name
        path.write_bytes(data)
        chosen = ExtractProcessor.Settings(**settings) if settings else None
        return dict(ExtractProcessor(chosen).process(ProcessorContext(document_id=name, file_path=str(path))).data)

    return run


@pytest.fixture(scope="session")
def reason(extract: Extract) -> Callable[..., str]:
    """A function from a file name and its bytes to the reason why it cannot be read."""

    def run(name: str, data: bytes, **settings: Any) -> str:
        with pytest.raises(DocumentError) as caught:
            extract(name, data, **settings)
        return str(caught.value.facts["reason"])

    return run
