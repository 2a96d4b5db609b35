from __future__ import annotations

import os
import subprocess
import sys

import pytest

CHECKS = os.environ.get("NCE_BUNDLE_CHECKS")


@pytest.mark.slow
@pytest.mark.skipif(not CHECKS, reason="NCE_BUNDLE_CHECKS does not name a script that checks bundles")
def test_offline_bundle_checks(bundle):
    done = subprocess.run(
        [sys.executable, CHECKS, str(bundle), "--repo-root", str(bundle.parents[1]), "--shapes", "320x192"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=600,
    )
    bad = [line for line in done.stdout.splitlines() if line.startswith(("FAIL", "WARN"))]
    assert done.returncode == 0 and not bad, "\n".join(bad) or done.stdout + done.stderr
