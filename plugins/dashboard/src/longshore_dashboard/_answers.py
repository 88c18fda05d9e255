"""Answers: JSON of records, packed where that is worth it, with an ETag where a version says that nothing changed."""

from __future__ import annotations

import gzip
import hashlib

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from longshore_dashboard._assets import PACKED_FROM_BYTES, Asset

_JSON = "application/json"
_KEPT = "private, max-age=31536000, immutable"
_encode = msgspec.json.Encoder().encode


class Unanswerable(Exception):
    """A request that can't be answered, with the status that says so."""

    def __init__(self, status: int, reason: str) -> None:
        """Keep both; the reason is a sentence for people."""
        super().__init__(reason)
        self.status = status
        self.reason = reason


def etag_of(request: Request, version: str) -> str:
    """Return the tag of an answer to this request as of `version`."""
    return f'"{version}{"-z" if _takes_gzip(request) else ""}"'


def unchanged(request: Request, etag: str) -> Response | None:
    """Return the answer to who has this version already; None for who has not."""
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return Response(status_code=304, headers={"etag": etag, "cache-control": "no-cache"}) if etag in known else None


def json_answer(request: Request, value: object, *, etag: str | None = None, status: int = 200) -> Response:
    """Return JSON-safe values as an answer; not for the loop's thread where they are many."""
    return _json(request, _encode(value), etag, status)


def tagged_answer(request: Request, value: object) -> Response:
    """Return the same with a tag of its own content: nothing but that says whether it has changed."""
    body = _encode(value)
    etag = etag_of(request, hashlib.blake2b(body, digest_size=12).hexdigest())
    return unchanged(request, etag) or _json(request, body, etag, 200)


def _json(request: Request, body: bytes, etag: str | None, status: int) -> Response:
    headers = {"cache-control": "no-store"} if etag is None else {"etag": etag, "cache-control": "no-cache"}
    if len(body) >= PACKED_FROM_BYTES and _takes_gzip(request):
        body = gzip.compress(body, 5, mtime=0)
        headers["content-encoding"] = "gzip"
    return Response(body, status, {**headers, "vary": "accept-encoding"}, _JSON)


def failed(request: Request, error: Unanswerable) -> Response:
    """Return a reason as an answer."""
    return json_answer(request, {"error": error.reason}, status=error.status)


def asset_answer(request: Request, asset: Asset, etag: str, *, lasting: bool) -> Response:
    """Return one of the page's files."""
    headers = {"etag": etag, "cache-control": _KEPT if lasting else "no-cache", "vary": "accept-encoding"}
    packed = asset.packed if _takes_gzip(request) else None
    if packed is not None:
        headers["content-encoding"] = "gzip"
    return Response(asset.body if packed is None else packed, 200, headers, asset.media_type)


def _takes_gzip(request: Request) -> bool:
    return "gzip" in request.headers.get("accept-encoding", "").lower()
