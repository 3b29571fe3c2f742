"""Network file systems: which paths lie on one, and what their errors and renames mean."""

import errno
import os
from pathlib import Path

UNREACHABLE = frozenset(
    {errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENOTCONN, errno.EREMOTEIO}
)
"""The numbers of errors by which a file system or a disk does not answer, whatever a file holds."""
_TYPES = (
    *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4"),
    *("ocfs2", "orangefs", "smb3", "smbfs", "virtiofs", "wekafs"),
)
_MOUNTS = Path("/proc/self/mountinfo")


def is_on_network(path: Path) -> bool:
    """Return whether a path lies on a file system that other machines may write to; False where that is not known.

    Args:
        path: a path, of which the nearest folder that exists counts.
    """
    kind = file_system_type(path)
    return kind in _TYPES or (kind.startswith("fuse") and kind != "fuseblk")


def file_system_type(path: Path) -> str:
    """Return the type of the file system of a path as Linux calls it, e.g. "ext4"; "" where that is not known.

    Args:
        path: a path, of which the nearest folder that exists counts.
    """
    try:
        lines = _MOUNTS.read_text(errors="replace").splitlines()
        real = path.resolve()
    except OSError:
        return ""
    kind, longest = "", -1
    for line in lines:
        mount, separator, rest = line.partition(" - ")
        if separator and len(mount.split()) > 4:
            point = Path(mount.split()[4].replace("\\040", " "))
            if len(point.parts) >= longest and real.is_relative_to(point):  # of two at one place the later one is seen
                kind, longest = rest.split()[0], len(point.parts)
    return kind


def rename(source: Path, target: Path) -> None:
    """Rename a file or folder, in the place of a file that is there.

    A server may do what it is asked and lose its answer: asked again, it says that there is no source. What counts is
    where the file is.

    Args:
        source: the file or folder.
        target: its new path, in the same file system.

    Raises:
        OSError: it is not there.
    """
    before = os.lstat(source)
    try:
        os.replace(source, target)
    except OSError:
        if not _has_moved(source, target, before):
            raise


def _has_moved(source: Path, target: Path, before: os.stat_result) -> bool:
    try:
        return not os.path.lexists(source) and os.path.samestat(os.lstat(target), before)
    except OSError:
        return False
