"""Files and functions stay small enough to be read at one sitting."""

from __future__ import annotations

import ast
from pathlib import Path

FILE_LINES, FUNCTION_LINES = 400, 40


def test_no_file_is_longer_than_400_lines(root: Path, python_files: list[Path]) -> None:
    """Past 400 lines there is a second file in it."""
    sizes = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in python_files}
    assert {str(path.relative_to(root)): size for path, size in sizes.items() if size > FILE_LINES} == {}


def test_no_function_is_longer_than_40_lines(root: Path, python_files: list[Path]) -> None:
    """Past 40 lines there is a second thing in it."""
    long = {}
    for path in python_files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or node.lineno) - node.lineno + 1
                if size > FUNCTION_LINES:
                    long[f"{path.relative_to(root)}:{node.lineno} {node.name}"] = size
    assert long == {}
