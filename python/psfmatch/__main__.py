"""``python -m psfmatch`` is the command ``psfmatch``."""

import sys

from psfmatch.cli import main

sys.exit(main())
