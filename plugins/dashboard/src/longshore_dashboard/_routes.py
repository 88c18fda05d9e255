"""The paths, and what is answered at each: requests that the guard let through come in."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from longshore_dashboard._answers import Unanswerable, asset_answer, etag_of, failed, unchanged
from longshore_dashboard._assets import Assets


class Pages:
    """The page and its files."""

    def __init__(self, assets: Assets) -> None:
        """Serve these."""
        self._assets = assets

    def routes(self) -> list[Route]:
        """Return the paths of the page itself."""
        return [
            Route("/", self.index, methods=["GET"]),
            Route("/assets/{name:path}", self.asset, methods=["GET"]),
        ]

    async def index(self, request: Request) -> Response:
        """Answer with the page."""
        etag = etag_of(request, self._assets.version)
        return unchanged(request, etag) or asset_answer(request, self._assets.index, etag, lasting=False)

    async def asset(self, request: Request) -> Response:
        """Answer with a file of the page."""
        found = self._assets.find(request.path_params["name"])
        if found is None:
            return failed(request, Unanswerable(404, "there is no such file"))
        etag = etag_of(request, self._assets.version)
        asset, lasting = found
        return unchanged(request, etag) or asset_answer(request, asset, etag, lasting=lasting)


async def _nowhere(request: Request) -> Response:
    return failed(request, Unanswerable(404, "there is nothing at this path"))


def make_router(*groups: list[Route]) -> Router:
    """Return an app of all these paths; what is at none of them is answered as JSON, too."""
    everywhere = Route("/{path:path}", _nowhere)
    return Router([route for group in groups for route in group] + [everywhere], redirect_slashes=False)
