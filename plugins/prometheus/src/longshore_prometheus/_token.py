"""The token that a client has to send: checked, read from a file, or made and kept in a file of the user's own."""

from __future__ import annotations

import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

import platformdirs

LEAST: Final = 16
"""Characters that a token has at least."""
MOST: Final = 512
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_FLAGS: Final = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
"""Windows has neither."""


def default_path() -> Path:
    """Return where the token is kept if settings name no file."""
    return platformdirs.user_state_path("longshore", appauthor=False) / "prometheus.token"


def checked(token: str) -> str:
    """Return a token that can stand in a header and is long enough; ValueError for another, which does not show it."""
    if not LEAST <= len(token) <= MOST or not _TOKEN.fullmatch(token):
        raise ValueError(
            f"a token is {LEAST} to {MOST} of the characters A-Z a-z 0-9 . _ ~ + / -, maybe with = at the end"
        )
    return token


def token_of(path: Path) -> str:
    """Return the token in a file; where there is none, one of 256 bits is made there, readable by its user alone.

    ValueError for a file that others may write or anybody may read, that is a link, or holds no token; OSError where
    there is neither a file nor a way to make one.
    """
    with suppress(FileNotFoundError):
        return _read(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        with suppress(FileExistsError):  # another run was there first: its token it is
            os.link(draft, path)
    finally:
        draft.unlink()
    return _read(path)


def _read(path: Path) -> str:
    if path.is_symlink():
        raise ValueError(f"{path} is a symbolic link: name the file itself by sinks.prometheus.token_file")
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _FLAGS)
    with os.fdopen(descriptor, "rb") as file:
        here = os.fstat(descriptor)
        if not stat.S_ISREG(here.st_mode):
            raise ValueError(f"{path} is no regular file, so it holds no token")
        if hasattr(os, "geteuid"):
            _check_owner(path, here)
        text = file.read(2 * MOST).decode("ascii", "replace").strip()
    try:
        return checked(text)
    except ValueError as error:
        raise ValueError(f"{path} holds no token: {error}; delete it to have a new one") from None


def _check_owner(path: Path, here: os.stat_result) -> None:
    if here.st_uid not in (os.geteuid(), 0):
        raise ValueError(f"{path} belongs to another user ({here.st_uid}), who knows the token, or may change it")
    if here.st_mode & 0o026:
        raise ValueError(f"{path} can be read by anybody or written by others: `chmod go-w,o-r` it")
