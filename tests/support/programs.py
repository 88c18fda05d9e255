"""Programs that tests start."""

from __future__ import annotations

import subprocess


def end_of(process: subprocess.Popen[bytes], within_s: float = 150.0) -> tuple[int, str, str]:
    """Return its exit code, and what it wrote, once it has ended."""
    out, err = process.communicate(timeout=within_s)
    return process.returncode, out.decode(), err.decode()
