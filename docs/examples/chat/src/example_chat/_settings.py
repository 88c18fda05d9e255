"""The table `[tool.longshore.sinks.chat]`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ChatSettings(BaseModel):
    """Where to post, and how often."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url_variable: str = "CHAT_URL"
    """The environment variable that holds the webhook's URL. The URL is a secret, so no setting holds it."""
    token_variable: str | None = None
    """The variable with a token that is sent as `Authorization: Bearer …`; None: the URL is all that is needed."""
    every_s: float = Field(default=30.0, ge=0, le=3600)
    """What failed meanwhile is told together, at most so often."""
    failures_most: int = Field(default=5, ge=1, le=50)
    """So many failures are named in a message; the rest is counted."""
    timeout_s: float = Field(default=5.0, gt=0, le=60)
    attempts: int = Field(default=3, ge=1, le=10)
    """How often a message is tried before it is given up."""
