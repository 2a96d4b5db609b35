from __future__ import annotations

import os
import platform
import subprocess
import sys
import textwrap

import pytest

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")

# pages that the system has to give for a block of 24 MiB that is taken, filled and freed again and again
PAGES = """
    import ctypes, resource
    from monai_nce.allocator import keep_freed_memory

    def pages():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(4):
            ctypes.string_at(ctypes.create_string_buffer(24 << 20), 1)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
"""


def run(code: str, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PAGES) + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        env={k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))} | environment,
    )
    return done.stdout.split()


@needs_glibc
def test_a_freed_block_is_used_again():
    before, done, after = run("print(pages(), keep_freed_memory(), (pages(), pages())[1])")
    assert done == "True"
    assert int(after) < 100 < int(before)


@needs_glibc
def test_settings_of_the_environment_stand():
    assert run("print(keep_freed_memory())", MALLOC_TRIM_THRESHOLD_="131072") == ["False"]


def test_another_c_library_is_left_alone(monkeypatch):
    from monai_nce import allocator

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(allocator.ctypes, "CDLL", None)
    assert allocator.keep_freed_memory() is False
