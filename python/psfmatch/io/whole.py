"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from psfmatch.errors import advice


def writeWhole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file by way of another one beside it: a failure leaves neither a new nor a damaged file.

    OSError if the directory does not exist or cannot be written.
    """
    target = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def requireNew(path: str | os.PathLike[str]) -> None:
    """Raise where a file would be replaced that nobody has said may be.

    FileExistsError if there is something of this name.
    """
    if os.path.lexists(path):
        raise FileExistsError(
            f"{path}: exists already; {advice('pass overwrite=True', 'give --overwrite')} to replace it"
        )


def requireOutput(path: str | os.PathLike[str]) -> None:
    """Raise where no file of this name can be written: before hours are spent on what it would hold.

    OSError if there is no such directory, it cannot be written, or the name is that of something else than a file.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no directory {target.parent}")
    if target.exists() and not target.is_file():
        raise OSError(f"cannot write {path}: it is not a file")
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(f"cannot write {path}: no permission to write in {target.parent}")
