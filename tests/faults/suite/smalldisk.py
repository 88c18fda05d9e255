"""A disk that is soon full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from suite.trial import Skipped


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a file system of half a MiB."""
    if os.geteuid():
        raise Skipped("mounting a small file system needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k,mode=0700", "tmpfs", str(folder)], check=False, timeout=20
    )
    if mounted.returncode:
        raise Skipped("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=20)


def enlarge(disk: Path, size: str) -> None:
    """Give the disk more room, such as "16m"."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True, timeout=20)
