"""A hook that takes work only at certain hours."""

from example_office_hours._hook import OfficeHours, OfficeHoursSettings

__all__ = ["OfficeHours", "OfficeHoursSettings"]
