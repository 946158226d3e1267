"""The command ``psfmatch``: subtract two FITS files, apply a stored kernel, report, run a demonstration.

One module per command, each with a function that adds its options and one that does the work. Results go to standard
output (``--json`` for machines), the log and the progress to standard error. Exit status: 0 done, 2 usage, 3 bad
input, 4 too few stars or no solution, 5 a quality gate failed, 6 an error of psfmatch itself, 130 interrupted.
"""

from psfmatch.cli.command import main

__all__ = ["main"]
