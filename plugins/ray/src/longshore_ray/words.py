"""Ray as messages need it, and what is read out of what Ray says; imports nothing of Ray."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Final

from longshore.batching.words import End, System

RAY: Final = System(
    executor="ray",
    title="Ray",
    given_up="its worker was ended",
    sends_modules="Ray's runtime environments (ray.init(runtime_env=...))",
    kills=True,
)
DISTRIBUTIONS: Final = ("longshore-core", "longshore-ray")


def versions() -> dict[str, str]:
    """Return what must be the same here and where workers are."""
    found = {name: importlib.metadata.version(name) for name in DISTRIBUTIONS}
    return {**found, "Python": ".".join(platform.python_version_tuple()[:2])}


def lack_by_versions(there: Mapping[str, str], node: str) -> str | None:
    """Return in words what a machine has in another version, None for nothing."""
    for name, own in versions().items():
        found = there.get(name)
        if found != own:
            return f"the Ray node {node} has {name} {found}, and here is {own}: install the same version on both"
    return None


def lack_by_error(text: str) -> str:
    """Return in words what a machine lacks where a worker can't come up."""
    own = importlib.metadata.version("longshore-ray")
    for module, distribution in (("longshore_ray", "longshore-ray"), ("longshore", "longshore-core")):
        if f"No module named '{module}'" in text:
            return f"a Ray node has no {distribution}: run `pip install longshore-ray=={own}` there"
    return f"a Ray worker can't come up: {_last_line(text) or 'Ray says nothing of it'}"


def unanswered(address: str, why: str) -> str:
    """Return in words that there is no cluster at an address."""
    return (
        f"no Ray cluster answers at {address} ({why}): look whether it runs and can be reached from here, and set "
        "executors.ray.address, or executors.ray.connect_timeout_s for one that is slow to answer"
    )


def wants_token(address: str) -> str:
    """Return in words that a cluster asks for a token that this program did not send."""
    return (
        f"the Ray cluster at {address} asks for authentication, and took no token from here: set RAY_AUTH_MODE=token "
        "in this program's environment, and have the cluster's token in ~/.ray/auth_token or RAY_AUTH_TOKEN"
    )


def is_unauthenticated(error: BaseException) -> bool:
    """Tell whether it is for the lack of a token that Ray does not connect: what it raises names that in a cause."""
    one: BaseException | None = error
    while one is not None:
        if type(one).__name__ == "AuthenticationError" or "InvalidAuthToken" in str(one):
            return True
        one = one.__cause__ or one.__context__
    return False


def how_it_ended(error: BaseException) -> End:
    """Return what Ray says of a worker's end."""
    text = str(error)
    if type(error).__name__ == "OutOfMemoryError" or "memory usage threshold" in text:
        return End("Ray's memory monitor ended it, since its machine ran out of memory", memory=True)
    if "Worker exit detail:" in text:
        text = text.partition("Worker exit detail:")[2].strip().partition(". ")[0]
    return End(_last_line(text))


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""
