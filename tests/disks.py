"""A disk that fails, and what a folder holds."""

import contextlib
import resource
from collections.abc import Iterator

import torch

real_save = torch.save


def failing(times: int, error: Exception = OSError(28, "No space left on device")):  # noqa: B008
    """`torch.save` that writes something and fails, so many times."""
    left = [times]

    def save(content, file):
        if left[0]:
            left[0] -= 1
            file.write(b"half of it")
            raise error
        real_save(content, file)

    return save


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextlib.contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """In this context, no file of this process can grow beyond a size: as on a full disk, an OSError says so."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
