"""Files and functions stay small enough to be read at one sitting."""

from __future__ import annotations

import ast
from pathlib import Path

FILE_LINES, FUNCTION_LINES = 400, 40


def lines_to_read(path: Path) -> int:
    """Return how long a file is, less its list of public names, which is no longer for being complete."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for node in ast.parse("\n".join(lines)).body if len(lines) > FILE_LINES else ():
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__":
            del lines[node.lineno - 1 : node.end_lineno]
            return len("\n".join(lines).rstrip().splitlines())
    return len(lines)


def test_no_file_is_longer_than_400_lines(root: Path, python_files: list[Path]) -> None:
    """Past 400 lines there is a second file in it; the list of public names does not count."""
    sizes = {path: lines_to_read(path) for path in python_files}
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
