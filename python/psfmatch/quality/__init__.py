"""How good a difference image is: figures measured on sources, sky and kernel, and one grade from them.

`assessQuality` measures, `Quality` holds the figures, the table `RULES` turns them into a grade, `checkGates` holds
them against limits of a user's own.
"""

from psfmatch.quality.assessing import assessQuality as assessQuality
from psfmatch.quality.figures import Quality as Quality
from psfmatch.quality.grading import GRADES as GRADES
from psfmatch.quality.grading import RULES as RULES
from psfmatch.quality.grading import Rule as Rule
from psfmatch.quality.grading import checkGates as checkGates
from psfmatch.quality.grading import requireGates as requireGates
