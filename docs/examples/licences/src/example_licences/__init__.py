"""A probe that reads how many seats of which licence are in use."""

from example_licences._probe import LicenceProbe, LicenceSettings, seats

__all__ = ["LicenceProbe", "LicenceSettings", "seats"]
