"""How the tests run: side by side, each on its own processor."""

import os

# Before numpy is loaded, and inherited by the workers: its linear algebra would start threads of its own in each.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
