"""Where runs are kept: folders that are their user's alone, and what kind of file system they are on."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path

import platformdirs
from longshore.errors import JournalError

from longshore_sqlite._faults import described

DATABASE = "journal.db"
LOCK = "lock"
SPOOL = "spool"
KEY = "key"
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MOUNTS = Path("/proc/self/mountinfo")
NETWORKED = frozenset(
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb2",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "fuse.ceph",
        "glusterfs",
        "fuse.glusterfs",
        "lustre",
        "beegfs",
        "gpfs",
        "ocfs2",
        "gfs2",
        "fuse.sshfs",
        "fuse.s3fs",
        "fuse.rclone",
        "fuse.davfs",
        "davfs",
        "ncpfs",
        "coda",
        "virtiofs",
    ]
)
"""File systems whose files other machines may have open, or whose locks and shared memory can't be relied on."""


def root_of(path: str | None) -> Path:
    """Return the folder that runs are kept in: `path`, or the platform's for the state of programs."""
    if path is None:
        return platformdirs.user_state_path("longshore") / "runs"
    return Path(path).expanduser().absolute()


def folder_of(root: Path, run_id: str) -> Path:
    """Return the folder of a run; JournalError for an id that is no plain name."""
    if not _RUN_ID.fullmatch(run_id):
        raise JournalError(f"{run_id!r} is no run's id: letters, digits, dots, dashes and underscores make one")
    return root / run_id


def make_private(folder: Path) -> None:
    """Make a folder that is the user's alone, if it is not there; JournalError if it is somebody else's too."""
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        for one in new:
            sync_folder(one.parent)
    except OSError as error:
        raise described(error, folder, "be made") from error
    check_private(folder)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder last; on a system that can't do that for folders, do nothing."""
    if os.name == "nt":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except PermissionError:  # one that may be written to, and not read
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def check_private(folder: Path) -> None:
    """Raise JournalError for a folder that is a link, another user's, or that others may write to."""
    here = folder.lstat()
    if not stat.S_ISDIR(here.st_mode):
        raise JournalError(f"{folder} is no folder (links are not followed): name another by journals.sqlite.path")
    if not hasattr(os, "geteuid"):
        return
    if here.st_uid != os.geteuid():
        raise JournalError(
            f"{folder} belongs to another user ({here.st_uid}): a journal is kept in a folder of one's own"
        )
    if here.st_mode & 0o022:
        raise JournalError(f"{folder} may be written to by other users: `chmod go-w` it, or name another folder")


def file_system(path: Path, mounts: Path = _MOUNTS) -> str | None:
    """Return the type of the file system that a path is on, that of its upper layer for an overlay; None if unknown."""
    try:
        lines = mounts.read_text("utf-8", "replace").splitlines()
        return _type_of(os.path.realpath(path), [line for line in lines if " - " in line])
    except OSError:
        return None


def _type_of(path: str, lines: list[str], depth: int = 4) -> str | None:
    found, kind, options = "", None, ""
    for line in lines:
        front, _, back = line.partition(" - ")
        point = _unescaped(front.split()[4])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(found):  # of two at one place, the later one covers the other
            kind, _, rest = back.partition(" ")
            found, options = point, rest
    if kind == "overlay" and depth:
        upper = re.search(r"upperdir=([^,\s]+)", options)
        if upper and upper[1] != found and os.path.isdir(upper[1]):
            return _type_of(os.path.realpath(upper[1]), lines, depth - 1)
    return kind


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
