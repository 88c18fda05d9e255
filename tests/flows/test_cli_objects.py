"""`longshore run` and `resume` over objects: of memory, files, the web, and a store like Amazon's on loopback."""

from __future__ import annotations

import json
import logging
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import fsspec
import pytest

Command = Any  # the fixtures' classes: test modules cannot import a conftest
Lines = Callable[[bytes | str], dict[str, dict[str, Any]]]  # Any: JSON

QUIET = ("--progress", "none")
THREADS = (*QUIET, "--executor", "threads")
NOTED = """
import pathlib
def noted(path):
    text = pathlib.Path(path).read_text()
    with open("ran", "a") as file:
        file.write(text + "\\n")
    if text.startswith("bad"):
        raise ValueError(f"no good: {path}")
    return {"text": text, "suffix": pathlib.Path(path).suffix}
async def awaited(path):
    return noted(path)
def written(path):
    import longshore
    text = pathlib.Path(path).read_text()
    with longshore.current_task().output(f"memory://out/{text}.txt", "w") as file:
        file.write(text)
    return text
def written_to_s3(path):
    import longshore
    text = pathlib.Path(path).read_text()
    with longshore.current_task().output(f"s3://box/out/{text}", "w") as file:
        file.write(text)
        if text == "bad":
            raise ValueError("half is written")
    return text
"""


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that copies of objects are in while they are used."""
    folder = tmp_path / "copies"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def noting(inside: Command, copies: Path) -> Iterator[Command]:
    """Return the command, with a function that writes down what it read, and nothing in `memory://`."""
    (inside.folder / "job.py").write_text(NOTED)
    fsspec.filesystem("memory").store.clear()
    yield inside
    fsspec.filesystem("memory").store.clear()


def put(**texts: str) -> None:
    """Put objects into `memory://box/in`."""
    for name, text in texts.items():
        fsspec.filesystem("memory").pipe_file(f"/box/in/{name.replace('_', '.')}", text.encode())


def ran(folder: Path) -> list[str]:
    """Return what was read since this was asked last."""
    path = folder / "ran"
    texts = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return sorted(texts)


def listed(command: Command, *arguments: str, stdin: bytes = b"") -> list[str]:
    """Return which inputs a run would have."""
    code, out, errors = command("run", "job:noted", *arguments, "--dry-run", *THREADS, stdin=stdin)
    assert code in (0, 5), errors
    return out.splitlines()


def test_a_prefix_means_every_object_below_it_sorted(noting: Command) -> None:
    """One object, all below a prefix, what matches a pattern, and names on stdin, each once and in order."""
    put(b_txt="2", a_txt="1", c_pdf="3")
    everything = ["memory:///box/in/a.txt", "memory:///box/in/b.txt", "memory:///box/in/c.pdf"]
    assert listed(noting, "memory:///box/in/") == everything
    assert listed(noting, "memory:///box") == everything
    assert listed(noting, "memory:///box/in/*.txt") == everything[:2]
    assert listed(noting, "memory:///box/i*/") == listed(noting, "memory:///b*") == everything
    assert listed(noting, "memory:///box/**") == everything
    assert listed(noting, "memory:///box/in/b.txt", "memory:///box/in") == [everything[1], everything[0], everything[2]]
    assert listed(noting, "-", stdin=b"memory:///box/in/c.pdf\n") == everything[2:]


def test_objects_run_as_files_do(noting: Command, lines: Lines, copies: Path) -> None:
    """A function is called with a local path of the same suffix; lines have the URL, and no copy is left."""
    put(a_txt="1", b_pdf="bad")
    code, out, errors = noting("run", "job:noted", "memory:///box/in/", *THREADS)
    told = lines(out)
    assert (code, told["a.txt"]["result"]) == (1, {"suffix": ".txt", "text": "1"}), errors
    assert told["b.pdf"]["input"] == "memory:///box/in/b.pdf"
    assert told["b.pdf"]["error"]["reason"] == "no good: memory:///box/in/b.pdf"
    assert str(copies) not in out
    assert list(copies.iterdir()) == []
    code, out, errors = noting("run", "job:awaited", "memory:///box/in/a.txt", *QUIET)
    assert (code, lines(out)["a.txt"]["status"]) == (0, "completed"), errors


def test_a_pipeline_reads_objects(noting: Command, lines: Lines) -> None:
    """A processor gets a local file, and what it says of the file says the URL."""
    put(a_txt="words of a text", b_pdf="%PDF-1.4 and no more")
    code, out, errors = noting("run", "documents", "memory:///box/in/", *THREADS)
    told = lines(out)
    assert "words of a text" in json.dumps(told["a.txt"]["result"]), errors
    assert (code, told["b.pdf"]["status"]) == (1, "failed")
    assert "/copies/" not in out


def test_the_largest_object_begins_first(noting: Command) -> None:
    """The order by size goes by what the store said as it listed."""
    put(a_txt="1", b_txt="333", c_txt="22")
    got = listed(noting, "memory:///box/in/", "--order", "largest-first")
    assert [name[-5:] for name in got] == ["b.txt", "c.txt", "a.txt"]


def test_resume_runs_changed_objects_again(noting: Command, lines: Lines) -> None:
    """Of two objects the one that was written since runs again, of the same size too; one that is gone is named."""
    put(a_txt="1", b_txt="2", c_txt="3")
    code, _, errors = noting("run", "job:noted", "memory:///box/in/", "-o", "out.jsonl", *THREADS)
    assert (code, ran(noting.folder)) == (0, ["1", "2", "3"]), errors
    code, _, told = noting("resume", "last")
    assert (code, ran(noting.folder)) == (0, []), told
    put(b_txt="5")
    fsspec.filesystem("memory").rm_file("/box/in/c.txt")
    code, _, told = noting("resume", "last")
    assert (code, ran(noting.folder)) == (0, ["5"]), told
    assert re.search(r"1 inputs have changed since, and run again: memory:///box/in/b.txt", told)
    assert re.search(r"1 inputs are gone.*c.txt", told)
    done = lines((noting.folder / "out.jsonl").read_bytes())
    assert [done[name]["result"]["text"] for name in ("a.txt", "b.txt", "c.txt")] == ["1", "5", "3"]
    code, _, told = noting("resume", "last")
    assert (code, ran(noting.folder)) == (0, []), told


def test_what_a_store_does_not_tell_is_said(noting: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects without a mark or a time can't be told from changed ones: they count as the same, and that is said."""
    put(a_txt="1")
    kind = type(fsspec.filesystem("memory"))
    monkeypatch.setattr(kind, "info", lambda self, path, **_: {"name": path, "size": 1, "type": "file"})
    noting("run", "job:noted", "memory:///box/in/a.txt", "-o", "out.jsonl", *THREADS)
    _, _, told = noting("resume", "last")
    assert "1 inputs can't be told from changed ones, and count as the same" in told


def test_a_name_that_was_no_object_may_be_one_later(noting: Command, lines: Lines) -> None:
    """A name on stdin without an object fails alone, and runs when the run goes on and the object is there."""
    put(a_txt="1")
    names = b"memory:///box/in/a.txt\nmemory:///box/in/b.txt\n"
    code, _, errors = noting("run", "job:noted", "-", "-o", "out.jsonl", *THREADS, stdin=names)
    assert (code, ran(noting.folder)) == (1, ["1"]), errors
    put(b_txt="2")
    code, _, errors = noting("resume", "last", "--failed")
    assert (code, ran(noting.folder)) == (0, ["2"]), errors
    assert lines((noting.folder / "out.jsonl").read_bytes())["b.txt"]["status"] == "completed"


def test_an_object_that_goes_meanwhile_is_missing(noting: Command, lines: Lines) -> None:
    """What was listed and is gone fails with the reason `missing`: workers of `memory://` in processes have none."""
    put(a_txt="1")
    code, out, errors = noting("run", "job:noted", "memory:///box/in/", "--workers", "1", *QUIET)
    assert (code, lines(out)["a.txt"]["error"]["reason"]) == (1, "missing"), errors


def test_file_urls_are_used_in_place(noting: Command, lines: Lines, copies: Path) -> None:
    """file:// means the path, a folder or a pattern; results may go to one."""
    noting.inputs({"a b.txt": "1", "c.txt": "2"})
    url = (noting.folder / "in").as_uri()
    assert listed(noting, url) == [str(noting.folder / "in" / name) for name in ("a b.txt", "c.txt")]
    code, _, errors = noting(
        "run", "job:noted", f"{url}/a%20b.txt", "-o", f"{noting.folder.as_uri()}/o.jsonl", *THREADS
    )
    assert (code, list(lines((noting.folder / "o.jsonl").read_bytes()))) == (0, ["a b.txt"]), errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["s3://user:hush@box/"], "would be recorded"),
        (["https://h/a?X-Amz-Signature=hush"], "would be recorded"),
        (["memory:///none"], "no such object, prefix or bucket: memory:///none"),
        (["memory:///none/"], "no such object, prefix or bucket: memory:///none/"),
        (["memory:///none/*.pdf"], "nothing matches"),
        (["nowhere://a"], "nowhere:// can't be used"),
        (["https://127.0.0.1:9/d/"], "a page is no listing"),
        (["file://elsewhere/a"], "this machine"),
        (["memory:///none", "-o", "s3://box/out.jsonl"], "nothing can be appended to an object"),
    ],
)
def test_what_cannot_be_meant_is_refused(noting: Command, arguments: list[str], said: str) -> None:
    """Secrets in URLs, nothing there, no such scheme, and results to an object: one sentence each, nothing begun."""
    code, out, errors = noting("run", "job:noted", *arguments, *THREADS)
    assert (code, out) == (2, "")
    assert said in errors
    assert "hush" not in errors


def test_what_is_measured_is_files(noting: Command) -> None:
    """`longshore bench` measures with files: what a store takes is none of ours to measure."""
    put(a_txt="1")
    code, _, errors = noting("bench", "job:noted", "memory:///box/in/", "--quick")
    assert (code, "measures with files" in errors) == (2, True), errors


def test_a_secret_on_stdin_is_neither_told_nor_recorded(noting: Command) -> None:
    """One name with a secret refuses the run: it can't have a line of its own."""
    code, out, errors = noting("run", "job:noted", "-", *THREADS, stdin=b"https://u:hush@h/a\n")
    assert (code, "hush" in out + errors) == (2, False)


def test_a_task_writes_an_object(noting: Command) -> None:
    """`current_task().output(URL)` has the object there after its block."""
    put(a_txt="1")
    code, _, errors = noting("run", "job:written", "memory:///box/in/", *THREADS)
    assert (code, fsspec.filesystem("memory").cat_file("/out/1.txt")) == (0, b"1"), errors


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and says nothing; `/denied` is nobody's, and `/a.txt?flaky` is busy when it is asked for again."""

    asked = 0

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def send_head(self) -> Any:
        """Deny one."""
        if self.path.startswith("/denied"):
            self.send_error(403)
            return None
        if self.path.endswith("?flaky"):
            Quiet.asked += 1
            if Quiet.asked in (2, 3):  # by the worker: for its size, by two ways
                self.send_error(503)
                return None
        return super().send_head()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """Return the address of a server on loopback, with one file."""
    pytest.importorskip("aiohttp")
    root = tmp_path / "web"
    root.mkdir()
    (root / "a.txt").write_text("1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(20)
    server.server_close()


@pytest.mark.slow
def test_files_of_the_web_are_inputs(noting: Command, lines: Lines, web: str, copies: Path) -> None:
    """A file by http:// is fetched by each worker process; one that is missing or denied has its reason."""
    names = f"{web}/a.txt?page=2\n{web}/none.txt\n{web}/denied.txt\n".encode()
    code, out, errors = noting("run", "job:noted", "-", *QUIET, "--workers", "1", stdin=names)
    told = lines(out)
    assert told["a.txt?page=2"]["result"] == {"suffix": ".txt", "text": "1"}, errors
    assert (code, told["none.txt"]["error"]["reason"], told["denied.txt"]["error"]["reason"]) == (
        1,
        "missing",
        "denied",
    )
    assert list(copies.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("retries", ["0", "1"])
def test_what_may_go_by_is_tried_again(noting: Command, lines: Lines, web: str, retries: str) -> None:
    """A server that is busy fails the attempt, not as missing, and a retry of the task asks it again."""
    Quiet.asked = 0
    code, out, errors = noting("run", "job:noted", f"{web}/a.txt?flaky", "--retries", retries, *THREADS)
    [told] = lines(out).values()
    if retries == "1":
        assert (code, told["status"]) == (0, "completed"), errors
    else:
        assert (code, told["error"]["type"]) == (1, "ConnectionError"), told
        assert "503" in told["error"]["reason"]


def test_a_server_that_is_not_there_is_said(noting: Command) -> None:
    """What can't be reached is not called missing."""
    code, _, errors = noting("run", "job:noted", "http://127.0.0.1:9/a.txt", *THREADS)
    assert (code, "can't be asked for" in errors, "no such object" in errors) == (2, True, False), errors


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a store that speaks as Amazon's does, on loopback, with the bucket `box`."""
    moto = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    system = fsspec.filesystem("s3")
    urlopen(f"http://{host}:{port}/moto-api/reset", data=b"").close()
    system.mkdir("box")
    yield system
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


HOSTILE = ["a/../../../b.txt", "x\x1b[2J\u202e.txt", "é" * 100 + ".txt", "a//b.txt", "q?x=1#y.txt", "dots/...txt"]


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["processes", pytest.param("threads", marks=pytest.mark.long)])
def test_a_real_protocol_from_run_to_resume(
    noting: Command, lines: Lines, amazon: Any, copies: Path, executor: str
) -> None:
    """Objects of a bucket, with names that try to get away, run in workers; one that is written anew runs again."""
    names = [*HOSTILE, "plain.txt"]
    for number, name in enumerate(names):
        amazon.pipe_file(f"box/in/{name}", str(number).encode())
    amazon.pipe_file("box/other/z.txt", b"z")
    to = ("-o", "out.jsonl", *QUIET, "--executor", executor, "--workers", "2")
    code, _, errors = noting("run", "job:noted", "s3://box/in/", *to)
    texts = sorted(map(str, range(len(names))))
    assert (code, ran(noting.folder)) == (0, texts), errors
    told = [json.loads(line) for line in (noting.folder / "out.jsonl").read_bytes().splitlines()]
    assert {one["input"]: one["result"]["text"] for one in told} == {
        f"s3://box/in/{name}": str(number) for number, name in enumerate(names)
    }
    assert list(copies.iterdir()) == []
    amazon.pipe_file("box/in/plain.txt", b"9")
    code, _, errors = noting("resume", "last", "--progress", "none")
    assert (code, ran(noting.folder)) == (0, ["9"]), errors
    assert "1 inputs have changed since, and run again: s3://box/in/plain.txt" in errors


@pytest.mark.slow
def test_a_bucket_that_is_not_there_is_said(noting: Command, amazon: Any) -> None:
    """No such bucket is an error of usage, in one sentence."""
    code, _, errors = noting("run", "job:noted", "s3://no-such-bucket/in/", *THREADS)
    assert (code, "no such object, prefix or bucket" in errors) == (2, True), errors


@pytest.mark.slow
def test_an_output_to_a_bucket_is_whole(noting: Command, amazon: Any) -> None:
    """An object that a task wrote is there; one whose block raised is not."""
    for text in ("good", "bad"):
        amazon.pipe_file(f"box/in/{text}", text.encode())
    code, _, errors = noting("run", "job:written_to_s3", "s3://box/in/", *QUIET, "--workers", "1")
    amazon.invalidate_cache()
    assert (code, amazon.find("box/out")) == (1, ["box/out/good"]), errors
