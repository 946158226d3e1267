"""Moved."""

from psfmatch.threads import mapStrips

__all__ = ["mapStrips"]
