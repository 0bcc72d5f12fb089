"""One compiled-code cache for the whole package, valid only for exactly this source.

Numba keys its on-disk cache on the file that holds a function, not on the files that function calls, so an
edit to a rule would leave a stale simulation loop behind. Every compiled function is therefore declared with
the `njit` of this module, which stores machine code under a folder named after the hash of all the sources.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parent
_COMPILED_ROOMS = ("rules", "virtual", "simulate", "analyse")


def _source_hash() -> str:
    digest = hashlib.sha256()
    for path in sorted(p for room in _COMPILED_ROOMS for p in (_PACKAGE / room).glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _cache_folder() -> str:
    """First writable of: $EQUIPOISE_CACHE, the user's cache folder, a temporary folder."""
    chosen = os.environ.get("EQUIPOISE_CACHE")
    home_cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    candidates = [chosen] if chosen else [os.path.join(home_cache, "equipoise"), tempfile.gettempdir()]
    for candidate in candidates:
        folder = os.path.join(candidate, "compiled", _source_hash())
        try:
            os.makedirs(folder, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
        except OSError:
            continue
    return os.path.join(tempfile.gettempdir(), "equipoise-compiled", _source_hash())


if "NUMBA_CACHE_DIR" not in os.environ:
    os.environ["NUMBA_CACHE_DIR"] = _cache_folder()

import numba  # noqa: E402  (the cache folder must be set before Numba is imported)

numba.config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"]


def njit(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile strictly (IEEE arithmetic, no fast-math), cached on disk, releasing the interpreter lock."""
    settings = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": False} | options
    if function is None:
        return numba.njit(**settings)
    return numba.njit(**settings)(function)
