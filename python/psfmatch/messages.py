"""Moved."""

from psfmatch.errors import Audience, OnceFilter, advice, fixed, significant, speakingTo

__all__ = ["Audience", "OnceFilter", "advice", "fixed", "significant", "speakingTo"]
