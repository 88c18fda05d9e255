"""URLs of objects, and objects as files: what is refused, told and known again, and what never leaves its folder."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from longshore import _object_files
from longshore._fetching import at_hand, at_hand_async
from longshore._flow_documents import as_context
from longshore._object_files import fetched, object_output, safe_name
from longshore._objects import ObjectFacts, check_url, is_url, local_path, name_in, open_place, reason_of, told, url_of
from longshore.errors import DocumentError, TaskCancelled
from longshore.processor import ProcessorContext

SECRET = "s3cr3t-pa55"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return the store `memory://`, empty, and have a folder for temporary files of the test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def nothing() -> None:
    """Have nothing against it."""


@pytest.mark.parametrize("name", ["s3://b/a", "gs://b", "https://h/a.pdf", "memory://a", "FILE:///a"])
def test_a_name_with_a_scheme_is_a_url(name: str) -> None:
    """A scheme of two letters or more makes a URL; drives, and paths with a colon, are paths."""
    assert is_url(name)
    assert not any(map(is_url, ("a.pdf", "C://a", "dir/s3://b", "a:b", "://a", "")))


@pytest.mark.parametrize(
    "url",
    [
        f"s3://user:{SECRET}@bucket/a",
        f"ftp://user:{SECRET}@host/a.pdf",
        f"https://h/a.pdf?X-Amz-Signature={SECRET}",
        f"https://h/a.pdf?id=1&sig={SECRET}",
        f"https://h/a.pdf?api_key={SECRET}",
        f"https://h/a.pdf#access_token={SECRET}",
    ],
)
def test_a_url_with_a_secret_is_refused_and_not_repeated(url: str) -> None:
    """Passwords, and queries that look like secrets, are refused, as names are recorded; the refusal hides them."""
    with pytest.raises(ValueError, match="would be recorded") as error:
        check_url(url)
    assert SECRET not in str(error.value)
    assert SECRET not in told(url)
    with pytest.raises(ValueError, match="would be recorded"):
        as_context(url)
    with pytest.raises(ValueError, match="would be recorded"), object_output(url, "wb", None, None, nothing):
        pass


@pytest.mark.parametrize(
    "url", ["s3://b/a@b:c", "https://h/a?page=2", "abfs://box@account/a", "sftp://me@host/a", "s3://b/key=1/token.txt"]
)
def test_other_urls_are_taken(url: str) -> None:
    """A user alone, a query that names a page, and any name of an object are no secrets."""
    check_url(url)


def test_a_file_url_is_the_path_it_names() -> None:
    """file:// is used in place, percent signs decoded; another machine's is refused."""
    assert local_path("file:///a/b%20c%FF.pdf") == os.fsdecode(b"/a/b c\xff.pdf")
    assert local_path("file://localhost/a") == "/a"
    assert local_path("s3://b/a") is None
    with pytest.raises(ValueError, match="this machine"):
        local_path("file://elsewhere/a")


@pytest.mark.parametrize(
    "name",
    [
        "..",
        ".",
        ".bashrc",
        "a/../../..",
        "\x1b[2J\n\0.pdf",
        "x" * 5000 + ".pdf",
        "\U0001f4c4" * 300,
        "é" * 300 + ".é" * 40,
        os.fsdecode(b"odd-\xff.pdf"),
        "C:\\windows\\x.pdf",
        "",
    ],
)
def test_a_copy_never_leaves_its_folder(store: Any, tmp_path: Path, name: str) -> None:
    """Whatever an object is called, its copy is a plain file in a folder that only this user can enter, then gone."""
    safe = safe_name(f"memory://b/{name}")
    assert os.path.basename(safe) == safe
    assert safe not in ("", ".", "..")
    assert not safe.startswith(".")
    assert safe.isprintable()
    assert len(os.fsencode(safe)) < 255
    if name.endswith(".pdf"):
        assert safe.endswith(".pdf")
    store.pipe_file("/x", b"text")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_object_files, "safe_name", lambda url: safe)
        with fetched("memory://x") as path:
            folder = Path(path).parent
            assert folder.parent == tmp_path
            assert (folder.stat().st_mode & 0o777, Path(path).read_bytes()) == (0o700, b"text")
    assert list(tmp_path.iterdir()) == []


def test_a_webs_query_is_no_suffix() -> None:
    """A name of the web ends where its query begins; an object of a store may have any letters in its name."""
    assert name_in("https://h/d/a.pdf?x=/b.txt") == "a.pdf"
    assert name_in("s3://b/a?b.pdf") == "a?b.pdf"


def test_what_no_second_try_mends_says_why(store: Any, tmp_path: Path) -> None:
    """A missing object and denied access have a reason of one word; nothing is left of the try."""
    with pytest.raises(DocumentError, match="no such object") as error, fetched("memory://b/none"):
        pass
    assert error.value.facts["reason"] == "missing"
    store.pipe_file("/d/a", b"text")
    with pytest.raises(DocumentError, match="no such object"), fetched("memory://d"):
        pass
    assert reason_of(PermissionError()) == "denied"
    assert reason_of(ConnectionError()) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("said", "error"), [(3, "more came"), (9, "4 of 9 bytes")])
def test_a_copy_is_whole_or_not_there(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: int, error: str
) -> None:
    """An object that gives more or less than the store said is not used, and may be tried again."""
    store.pipe_file("/a", b"text")
    was = type(store).info

    def info(self: Any, path: str, **more: Any) -> dict[str, Any]:
        return {**was(self, path, **more), "size": said}

    monkeypatch.setattr(type(store), "info", info)
    with pytest.raises(OSError, match=error), fetched("memory://a"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_too_large_an_object_is_not_fetched(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a processor's limit refuses is refused by the size that the store tells."""
    store.pipe_file("/a", b"text")
    monkeypatch.setattr(type(store), "get_file", None)
    with pytest.raises(DocumentError, match="larger") as error, fetched("memory://a", 3):
        pass
    assert error.value.facts["reason"] == "too-large"


@pytest.mark.skipif(sys.platform == "win32", reason="folders can't be locked there")
def test_what_a_killed_process_left_is_removed(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first fetch of a process removes copies that nobody holds, not those in use, nor what is not ours."""
    monkeypatch.setattr(_object_files, "_swept", threading.Event())
    left, other = tmp_path / "longshore-object-left", tmp_path / "other"
    for folder in (left, other):
        folder.mkdir()
        (folder / "a.pdf").touch()
    (tmp_path / "longshore-object-link").symlink_to(other)
    store.pipe_file("/a", b"text")
    with fetched("memory://a") as path:
        assert not left.exists()
        _object_files._swept.clear()
        with fetched("memory://a"):
            assert os.path.exists(path)
    assert (other / "a.pdf").exists()


KILLED = """
import os, signal, fsspec
from longshore._object_files import fetched
fsspec.filesystem("memory").pipe_file("/a", b"text")
with fetched("memory://a"):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="folders can't be locked there")
def test_a_kill_leaves_what_the_next_fetch_removes(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed in the middle of a task leaves its copy; the next process to fetch one removes it."""
    subprocess.run([sys.executable, "-c", KILLED], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False, timeout=30)
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(_object_files, "_swept", threading.Event())
    store.pipe_file("/a", b"text")
    with fetched("memory://a"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_document_is_at_hand_with_its_urls_name(store: Any) -> None:
    """A context keeps its id, and its file is a copy; in a message that names the copy the URL stands."""
    store.pipe_file("/b/a.txt", b"text")
    context = ProcessorContext(document_id="memory://b/a.txt", file_path="memory://b/a.txt")
    with at_hand(context) as local:
        assert local.file_path is not None
        assert (local.document_id, Path(local.file_path).read_text()) == ("memory://b/a.txt", "text")
    with pytest.raises(ValueError, match=r"^memory://b/a.txt is no good$"), at_hand("memory://b/a.txt") as path:
        raise ValueError(f"{path} is no good")
    with at_hand("plain.txt") as path:
        assert path == "plain.txt"


@pytest.mark.anyio
async def test_a_cancelled_fetch_leaves_nothing(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A coroutine that is cancelled while its object is fetched has the copy removed when it is there."""
    store.pipe_file("/a", b"text")
    began, go, was = threading.Event(), threading.Event(), type(store).get_file

    def slowly(*args: Any, **kwargs: Any) -> None:
        began.set()
        assert go.wait(20)
        was(*args, **kwargs)

    monkeypatch.setattr(type(store), "get_file", slowly)

    async def use() -> None:
        async with at_hand_async("memory://a"):
            pass

    using = asyncio.create_task(use())
    await asyncio.to_thread(began.wait, 20)
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using
    go.set()
    async with asyncio.timeout(20):
        while list(tmp_path.iterdir()):
            await asyncio.sleep(0.005)


def test_an_output_comes_whole_or_not_at_all(store: Any, tmp_path: Path) -> None:
    """The object is there after the block, as it was written; a block that raises, or is over, leaves the old one."""
    with object_output("memory://out/a.txt", "w", None, "\n", nothing) as file:
        file.write("é\n")
        assert not store.exists("/out/a.txt")
    assert store.cat_file("/out/a.txt") == "é\n".encode()
    with pytest.raises(ZeroDivisionError), object_output("memory://out/a.txt", "wb", None, None, nothing) as file:
        file.write(b"half" * (1 // 0))

    def over() -> None:
        raise TaskCancelled("over")

    with pytest.raises(TaskCancelled), object_output("memory://out/a.txt", "wb", None, None, over) as file:
        file.write(b"late")
    assert store.cat_file("/out/a.txt") == "é\n".encode()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="from its beginning"), object_output("memory://a", "a", None, None, nothing):  # type: ignore[arg-type]
        pass
    with pytest.raises(ValueError, match="can be written"), object_output("https://h/a", "wb", None, None, nothing):
        pass


def test_an_object_is_known_by_its_mark_else_its_time() -> None:
    """A mark of the content comes first, then a time; a long one is kept as a digest, and like is asked of like."""
    assert ObjectFacts.of({"size": 3, "ETag": '"9b"', "LastModified": "today"}) == ObjectFacts(3, 'ETag:"9b"')
    assert ObjectFacts.of({"size": 3, "ETag": '"9b"', "mtime": 5}, like="mtime:4") == ObjectFacts(3, "mtime:5")
    assert ObjectFacts.of({"size": None}) == ObjectFacts(-1, None)
    long = ObjectFacts.of({"ETag": "x" * 10_000 + "\ud800"})
    assert long.tag is not None
    assert len(long.tag) < 50


@pytest.mark.parametrize("asked", ["s3://b/d/", "gs://b/d/", "memory://b/d"])
def test_a_listed_name_leads_back_to_its_object(asked: str) -> None:
    """The URL of a listed object is the one that names it in its store, dots and question marks included."""
    scheme = asked.partition("://")[0]
    if scheme == "gs":
        pytest.importorskip("gcsfs")
    kind = fsspec.get_filesystem_class(scheme)
    for name in ("b/d/a.pdf", "b/d/../a", "b/d//a", "b/d/a?b#c", "b/d/\x1b\n", "b/d/a::b"):
        own = kind._strip_protocol(f"{scheme}://{name}")
        url = url_of(asked, own)
        assert url is not None
        assert (is_url(url), kind._strip_protocol(url)) == (True, own)
    assert url_of("s3://b/d/", "b/d/a/") is None


def test_hosts_stay_in_the_urls_of_what_they_have() -> None:
    """Where the host is no part of a name in a listing, its URL has it all the same."""
    assert url_of("ftp://me@host:21/d/", "/d/a.pdf") == "ftp://me@host:21/d/a.pdf"


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without fsspec, or what it needs for a scheme, the message names what to install; so for a scheme of nobody."""
    with pytest.raises(ValueError, match="nowhere"):
        open_place("nowhere://a")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ValueError, match=r"pip install 'longshore-core\[fsspec\]'"):
        open_place("s3://b/a")


@pytest.mark.slow
def test_who_has_no_objects_does_not_import_fsspec() -> None:
    """A worker, and the command line, load neither fsspec nor what copies need."""
    code = (
        "import sys, longshore.worker, longshore._processing; print(sorted({'fsspec', 'tempfile'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
