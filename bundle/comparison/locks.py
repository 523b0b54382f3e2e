"""One process at a time, also between machines with a common folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, made if missing; it is released however the process ends.

    Waits for another process that holds it, and says so.

    Raises:
        OSError: the file system knows no locks; the message names the remedy.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{path}: another process is at it; waiting", flush=True)
            fcntl.flock(stream, fcntl.LOCK_EX)
        except OSError as error:
            raise OSError(
                f"{path}: this file system knows no locks ({error}); choose another output_dir"
            ) from None
        yield
