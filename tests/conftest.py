"""What holds for every test: drawn examples are the same in each run, and a process that was forked can compute."""

from __future__ import annotations

import os

# before PyTorch: once OpenMP has had threads, a forked process waits for them for ever
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings  # noqa: E402

settings.register_profile("reproducible", derandomize=True, deadline=None)
settings.load_profile("reproducible")
