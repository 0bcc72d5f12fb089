"""Folders and files that appear whole or not at all.

Everything is written into a hidden sibling and moved into place in one step. A folder under construction is
held by a lock that the operating system drops when its process ends, however it ends; so what a killed run
left behind is recognised by the next one, and removed.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise import _locks
from equipoise.errors import UserError

if TYPE_CHECKING:
    import polars as pl

_LOCK = ".lock"
_WRITING = ".writing-"
_REPLACED = ".replaced-"


_MENDS = {
    errno.ENOSPC: "the disk is full: free some space or choose another folder",
    errno.EDQUOT: "the disk quota is used up: free some space or choose another folder",
    errno.EACCES: "no permission: choose a folder that you may write to",
    errno.EPERM: "no permission: choose a folder that you may write to",
    errno.EROFS: "the disk is read-only: choose another folder",
    errno.ENOENT: "a folder on the way there does not exist: create it first",
    errno.EEXIST: "a file stands where a folder is needed: choose another path",
    errno.ENOTDIR: "a part of the path is a file, not a folder: choose another path",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
    errno.EFBIG: "a file became larger than is allowed here: choose another folder or raise the limit",
}


def explain(error: OSError, path: Path, doing: str) -> UserError:
    """An error of the file system as a message that says where and what to do."""
    if error.errno == errno.ENOENT and _nearest_folder(path) == path.parent:
        # the folder is there, and yet nothing can be made in it: a view of the system such as /proc
        return UserError(
            f"{path}: cannot {doing}: no files can be kept in {path.parent}: choose another folder"
        )
    return UserError(f"{path}: cannot {doing}: {reason(error)}")


_UNREADABLE = {
    errno.ENOENT: "there is no such file",
    errno.ENOTDIR: "there is no such file: a part of the path is a file, not a folder",
    errno.EISDIR: "this is a folder, not a file",
    errno.EACCES: "no permission to read it",
    errno.EPERM: "no permission to read it",
}


def explain_reading(error: OSError, path: Path, doing: str, mend: str) -> UserError:
    """Why a file cannot be read, as a message that says where and what to do (`mend`)."""
    why = _UNREADABLE.get(error.errno or 0, error.strerror or str(error))
    return UserError(f"{path}: cannot {doing}: {why}: {mend}")


def _nearest_folder(path: Path) -> Path:
    """The nearest folder above a path that exists."""
    return next((folder for folder in path.parents if folder.exists()), path)


def reason(error: OSError) -> str:
    """What went wrong with a file or folder, and what to do."""
    return _MENDS.get(error.errno or 0, error.strerror or str(error))


def refuse_existing(path: Path, force: bool, instead: str = "another place with --out") -> None:
    """Raise UserError when something stands at `path` and may not be replaced."""
    if not force and (path.exists() or path.is_symlink()):
        raise UserError(f"{path} exists already: choose {instead}, or replace it with --force")


def write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Write a table to a file of one's own; a full disk is an OSError, as with every other file."""
    content = io.BytesIO()
    frame.write_parquet(content, compression="zstd")
    path.write_bytes(content.getbuffer())


@contextlib.contextmanager
def new_folder(
    path: str | os.PathLike[str], *, force: bool = False, marker: str | None = None
) -> Iterator[Path]:
    """A folder to fill; at the end of the block it takes its place at `path`, and on any exception it is
    removed.

    With `force` a folder at `path` is replaced; `marker` names a file that such a folder must hold, so that a
    folder of something else is never removed by mistake (an empty one may always be replaced).
    Raises UserError when `path` exists, or cannot be written.
    """
    final = Path(os.path.abspath(path))
    refuse_existing(final, force)
    _refuse_strange(final, marker)
    with _folders_on_the_way(final):
        try:
            _clean_up_after_the_dead(final)
            refuse_existing(final, force)
            temporary = final.parent / f".{final.name}{_WRITING}{secrets.token_hex(4)}"
            temporary.mkdir()
        except OSError as error:
            raise explain(error, final, "write there") from error
        lock = _hold(temporary)
        try:
            try:
                yield temporary
                _sync_tree(temporary)
                _release(temporary, lock)
                lock = None
                _move_into_place(temporary, final, force)
            except OSError as error:
                raise explain(error, final, "write there") from error
            except UserError as error:
                if str(temporary) not in str(error):
                    raise
                raise UserError(str(error).replace(str(temporary), str(final))) from error
        finally:
            _release(temporary, lock)
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def new_file(path: str | os.PathLike[str], *, force: bool = False) -> Iterator[Path]:
    """A file to write; at the end of the block it takes its place at `path`, and on any exception it is
    removed."""
    final = Path(os.path.abspath(path))
    if final.is_dir():
        raise UserError(f"{final} is a folder: give the name of a file")
    refuse_existing(final, force, "another name")
    temporary = final.parent / f".{final.name}{_WRITING}{secrets.token_hex(4)}"
    with _folders_on_the_way(final):
        try:
            try:
                temporary.touch()  # a folder that cannot be written to is known before any work is done
                yield temporary
                sync_file(temporary)
                os.replace(temporary, final)
                _sync_folder(final.parent)
            except OSError as error:
                raise explain(error, final, "write there") from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()


@contextlib.contextmanager
def _folders_on_the_way(final: Path) -> Iterator[None]:
    """The folders that lead to `final`; those made for it are removed again when it does not come about."""
    missing = [folder for folder in final.parents if not folder.exists()]
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException as error:
        for folder in missing:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError):
            raise explain(error, final, "write there") from error
        raise


def sync_file(path: Path) -> None:
    """Have the operating system put a file's content on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_strange(final: Path, marker: str | None) -> None:
    if not final.exists():
        return
    if not final.is_dir():
        raise UserError(f"{final} is a file, not a folder: choose another place with --out")
    if marker is not None and not (final / marker).is_file() and any(final.iterdir()):
        raise UserError(
            f"{final} holds something else (no {marker} in it) and is not replaced: choose another place "
            f"with --out"
        )


def _hold(folder: Path) -> int | None:
    if not _locks.AVAILABLE:  # pragma: no cover - nothing is taken for left behind there
        return None
    descriptor = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    if not _locks.take(descriptor):
        # a file system without locks: nothing on it is ever taken for left behind
        _release(folder, descriptor)
        return None
    return descriptor


def _release(folder: Path, descriptor: int | None) -> None:
    if descriptor is not None:
        (folder / _LOCK).unlink(missing_ok=True)
        os.close(descriptor)


def _is_dead(folder: Path) -> bool:
    """Whether no process holds this folder any more."""
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        return _locks.take(descriptor)
    finally:
        os.close(descriptor)


def _clean_up_after_the_dead(final: Path) -> None:
    """Remove what killed runs left beside `final`; put back a folder that was moved aside for a
    replacement."""
    for aside in sorted(final.parent.glob(f".{_escaped(final.name)}{_REPLACED}*")):
        if final.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            os.rename(aside, final)
    for left in sorted(final.parent.glob(f".{_escaped(final.name)}{_WRITING}*")):
        if left.is_dir() and _is_dead(left):
            shutil.rmtree(left, ignore_errors=True)


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _move_into_place(temporary: Path, final: Path, force: bool) -> None:
    refuse_existing(final, force)
    if not final.exists():
        os.rename(temporary, final)
        _sync_folder(final.parent)
        return
    aside = final.parent / f".{final.name}{_REPLACED}{secrets.token_hex(4)}"
    os.rename(final, aside)
    try:
        os.rename(temporary, final)
    except BaseException:
        os.rename(aside, final)
        raise
    _sync_folder(final.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _sync_tree(folder: Path) -> None:
    for root, _, files in os.walk(folder):
        for name in files:
            sync_file(Path(root) / name)
        _sync_folder(Path(root))


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # pragma: no cover
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
