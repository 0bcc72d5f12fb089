"""One compiled-code cache for the whole package, valid only for exactly this source.

Numba keys its on-disk cache on the file that holds a function, not on the files that function calls, so an
edit to a rule would leave a stale simulation loop behind. Every compiled function is therefore declared with
the `njit` of this module, which stores machine code under a folder named after the hash of all the sources.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parent
_COMPILED_ROOMS = ("rules", "virtual", "simulate", "analyse", "design")


@cache
def source_hash() -> str:
    """The first 16 digits of the SHA-256 of all compiled sources: it names the machine code they give."""
    digest = hashlib.sha256()
    for path in sorted(p for room in _COMPILED_ROOMS for p in (_PACKAGE / room).glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _cache_folder() -> str | None:
    """First writable of: $EQUIPOISE_CACHE, $NUMBA_CACHE_DIR, the user's cache folder, a temporary folder of
    the user's own. None where there is none: then everything is compiled again in each process.

    Machine code is run as it is found, so a temporary folder that others may write to is not used.
    """
    own = os.path.join(tempfile.gettempdir(), f"equipoise-{os.getuid()}") if hasattr(os, "getuid") else None
    home_cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    chosen = os.environ.get("EQUIPOISE_CACHE"), os.environ.get("NUMBA_CACHE_DIR")
    within = os.path.join("compiled", source_hash())
    for candidate in (*chosen, os.path.join(home_cache, "equipoise"), own):
        if not candidate:
            continue
        folder = candidate if candidate.endswith(within) else os.path.join(candidate, within)
        try:
            if candidate == own:
                os.makedirs(own, mode=0o700, exist_ok=True)
                found = os.lstat(own)
                if found.st_uid != os.getuid() or found.st_mode & 0o022 or not stat.S_ISDIR(found.st_mode):
                    continue
            os.makedirs(folder, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return None


_FOLDER = _cache_folder()
if _FOLDER is not None:
    os.environ["NUMBA_CACHE_DIR"] = _FOLDER

import numba  # noqa: E402  (the cache folder must be set before Numba is imported)

numba.config.CACHE_DIR = _FOLDER or ""


def njit(
    function: Callable[..., Any] | None = None, *, borrows: bool = False, inner: bool = False, **options: Any
) -> Any:
    """Compile strictly (IEEE arithmetic, no fast-math), releasing the interpreter lock; cached on disk where
    that can be.

    `borrows`: the function makes no arrays and works only on those that its caller holds meanwhile, so that
    nobody need count references to them (each count is an operation that all cores wait for). `inner`: only
    compiled functions call it, so that the way in from Python need not be compiled."""
    kept = _FOLDER is not None
    settings = {"cache": kept, "nogil": True, "error_model": "numpy", "fastmath": False} | options
    # Nobody calls by pointer. Each way in would hold another copy of a function that is always inlined.
    settings["no_cfunc_wrapper"] = True
    if inner:
        settings["no_cpython_wrapper"] = True
    # Always said, for a function that does not say takes it over from whoever calls it first.
    settings["_nrt"] = not borrows
    if function is None:
        return numba.njit(**settings)
    return numba.njit(**settings)(function)
