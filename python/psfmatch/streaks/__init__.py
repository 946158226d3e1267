"""Trails of satellites and aircraft: found where one image of a pair shows a line that the other does not, and flagged
with the mask plane STREAK.
"""

from psfmatch.streaks.finding import STREAK, Streaks, flagStreaks, isOfStreak, laidFluxRatio, streakFluxRatio

__all__ = ["STREAK", "Streaks", "flagStreaks", "isOfStreak", "laidFluxRatio", "streakFluxRatio"]
