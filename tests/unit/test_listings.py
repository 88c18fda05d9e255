"""Listings of large prefixes: what is kept of them, and when."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import fsspec
import pytest
from fsspec.asyn import AsyncFileSystem
from fsspec.spec import AbstractFileSystem
from longshore.cli.objects import PAGE, find_objects

OBJECTS = 50_000


class Told(dict[str, Any]):  # Any: as each store has it
    """What a store tells of an object; counts how many are held."""

    held = most = 0

    def __init__(self, number: int) -> None:
        super().__init__(
            name=f"box/in/{number % 7}/{number}", type="file", size=number, ETag=f"e{number}", more="x" * 99
        )
        type(self).held += 1
        type(self).most = max(Told.held, Told.most)

    def __del__(self) -> None:
        type(self).held -= 1


class Whole(AbstractFileSystem):  # type: ignore[misc]  # fsspec carries no types
    """A store whose listing comes at once, and is kept until it is told to forget it."""

    protocol = "whole"
    kept: tuple[Told, ...] = ()
    cachable = False

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        return {"name": path, "type": "directory"}

    def find(self, path: str, **_: Any) -> dict[str, Told]:
        type(self).kept = tuple(map(Told, range(OBJECTS)))
        return {told["name"]: told for told in self.kept}

    def invalidate_cache(self, path: str | None = None) -> None:
        type(self).kept = ()


class Paged(AsyncFileSystem):  # type: ignore[misc]  # fsspec carries no types
    """A store whose listing comes in pages, as that of s3fs does."""

    protocol = "paged"
    cachable = False
    fails = False

    async def _info(self, path: str, **_: Any) -> dict[str, Any]:
        return {"name": path, "type": "directory"}

    async def _find(self, path: str, **_: Any) -> dict[str, Told]:
        assert self.fails, "it is asked for all at once"
        return {"box/in/one": Told(1)}

    def split_path(self, path: str) -> tuple[str, str, None]:
        bucket, _, key = path.partition("/")
        return bucket, key, None

    async def _iterdir(self, bucket: str, *, delimiter: str, prefix: str) -> AsyncIterator[Told]:
        assert (bucket, delimiter, prefix) == ("box", "", "in/")
        for number in range(OBJECTS):
            if self.fails and number == 10:
                raise ConnectionError("the line is broken")
            yield Told(number)
            if number % PAGE == 0:
                await asyncio.sleep(0)


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have both stores known by their schemes, and nothing counted."""
    for kind in (Whole, Paged):
        fsspec.register_implementation(kind.protocol, kind, clobber=True)
    gc.collect()
    Told.most = Told.held
    yield
    Whole.kept = ()


@pytest.mark.usefixtures("stores")
@pytest.mark.slow
def test_of_a_listing_names_and_marks_are_kept() -> None:
    """When the first input is there, nothing is held of what the store told beside: neither by us nor in its cache."""
    held = Told.held
    url, facts = next(found := find_objects("whole://box/in/"))
    assert (url, facts.size, facts.tag) == ("whole://box/in/0/0", 0, "ETag:e0")
    gc.collect()
    assert Told.held == held
    assert sum(1 for _ in found) == OBJECTS - 1


@pytest.mark.usefixtures("stores")
@pytest.mark.slow
def test_where_a_listing_comes_in_pages_one_is_held_at_a_time() -> None:
    """Of 50,000 objects never more than two pages are held as the store tells them; all are found, sorted."""
    held = Told.held
    found = [url for url, _ in find_objects("paged://box/in/")]
    assert len(found) == OBJECTS
    assert found == sorted(found)
    assert Told.most - held <= 2 * PAGE + 2


@pytest.mark.usefixtures("stores")
def test_what_goes_wrong_with_pages_is_asked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that can't be had does no harm where the whole listing can."""
    monkeypatch.setattr(Paged, "fails", True)
    assert [url for url, _ in find_objects("paged://box/in/")] == ["paged://box/in/one"]
