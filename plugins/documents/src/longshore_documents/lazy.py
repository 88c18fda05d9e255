"""The models of the settings, imported when somebody asks for them: a worker never does, and needs no pydantic."""

from __future__ import annotations


class SettingsOf:
    """The class attribute `Settings` of a processor, imported when somebody reads it."""

    def __init__(self, name: str) -> None:
        """Stand for the class `name` of `longshore_documents.settings`."""
        self._name = name

    def __get__(self, instance: object, owner: type) -> type:
        """Return the pydantic model."""
        from longshore_documents import settings

        model: type = getattr(settings, self._name)
        return model
