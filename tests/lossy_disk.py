"""A model of a disk that loses its power: what may be there afterwards of what a run did to its files.

The changes below a folder are recorded (`failing_disk` says when there is one, the folder itself what it was, so that
what native code writes is seen too). What POSIX promises, and no more:

- The content of a file is there once the file was synced. Before, it may be what it was at the last sync, what was
  written since, the first half of it, or zeros.
- A name that was made, renamed or removed is so for good once its directory was synced. Before, it may or may not be,
  whatever became of earlier or later changes. A rename is one change: the name is never in both places, or in none.
- Nothing is reached through a folder whose own name was lost.
"""

import os
import stat
from dataclasses import dataclass, field

from failing_disk import FailingDisk

ROOT = 0
FOLDER = None  # what stands for the content of a folder


@dataclass
class Change:
    """One change of the disk.

    Attributes:
        kind: "names", "content", "sync" or "mark".
        names: of "names", the number of the file by folder and name; None where there is none any more.
        file: of "content" and "sync", the number of the file or folder.
        content: of "content", all bytes of the file.
        mark: of "mark", what was reached.
    """

    kind: str
    names: dict = field(default_factory=dict)
    file: int = ROOT
    content: bytes = b""
    mark: object = None


class LossyDisk(FailingDisk):
    """Records the changes below a folder that exists.

    Attributes:
        record: the changes, in order.
        folders: the numbers of folders.
        first: the number of changes that had been made when it began.
        identities: inode and time of the last change of files, by their number.
        inodes: those of files and folders, by their number.
    """

    def __init__(self, folder):
        super().__init__(folder)
        self.record, self.folders, self.identities, self.inodes, self.first = [], {ROOT}, {}, {}, 0
        self._names, self._numbers, self._contents, self._unsynced, self._count = {}, {}, {}, set(), 0

    def begin(self):
        """Take what is there for synced."""
        self._look()
        self.record += [Change("sync", file=number) for number in (*self._numbers.values(), ROOT)]
        self._unsynced.clear()
        self.first = len(self.record)

    def change(self, what, path):
        super().change(what, path)
        self._look()
        if what == "os.fsync":
            number = ROOT if path == self.folder else self._numbers[os.stat(path).st_ino]
            self._unsynced.discard(number)
            self.record.append(Change("sync", file=number))

    def mark(self, mark):
        """Note that something was reached: e.g. that a commit returned."""
        self._look()
        self.record.append(Change("mark", mark=mark))

    def _look(self):
        """Record what has changed since the last look."""
        names, numbers, stated = {}, {}, {}
        self._scan(self.folder, ROOT, names, numbers, stated)
        added = {key: number for key, number in names.items() if self._names.get(key) != number}
        removed = [key for key in self._names if key not in names]
        for key, number in added.items():
            moved = {old: None for old in removed if self._names[old] == number}
            self.record.append(Change("names", names={key: number, **moved}))
            removed = [old for old in removed if old not in moved]
        self.record += [Change("names", names={key: None}) for key in removed]
        self._names, self._numbers = names, numbers
        for number, (path, identity) in stated.items():
            if self.identities.get(number) == identity and number not in self._unsynced:
                continue
            self.identities[number] = identity
            with open(path, "rb") as file:
                content = file.read()
            if self._contents.get(number) != content:
                self._contents[number] = content
                self._unsynced.add(number)
                self.record.append(Change("content", file=number, content=content))

    def _scan(self, folder, parent, names, numbers, stated):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            status = entry.stat(follow_symlinks=False)
            number = numbers.get(status.st_ino, self._numbers.get(status.st_ino))
            if number is None or (number in self.folders) != stat.S_ISDIR(status.st_mode):
                self._count += 1
                number = self._count
            names[parent, entry.name], numbers[status.st_ino] = number, number
            self.inodes[number] = status.st_ino
            if stat.S_ISDIR(status.st_mode):
                self.folders.add(number)
                self._scan(entry.path, number, names, numbers, stated)
            else:
                stated[number] = entry.path, (status.st_ino, status.st_mtime_ns)

    def marks(self, length):
        """What was reached within the first changes."""
        return [change.mark for change in self.record[:length] if change.kind == "mark"]

    def states(self, length, *, generator, count):
        """Return what the disk may hold when the power fails after the first changes of the record.

        Args:
            length: the number of changes that were made.
            generator: chooses what survives.
            count: how many states beside the two extremes, in which nothing that was not synced survives, and all
                names but no content.

        Returns:
            States: contents by path, `FOLDER` for a folder, and the numbers of files by path.
        """
        names, pending, contents, latest = {}, [], {}, {}
        for change in self.record[:length]:
            if change.kind == "names":
                pending.append(change.names)
            elif change.kind == "content":
                latest[change.file] = change.content
            elif change.kind == "sync" and change.file in self.folders:
                pending = _sync_names(change.file, names, pending)
            elif change.kind == "sync" and change.file in latest:
                contents[change.file] = latest.pop(change.file)
        states = [self._state(names, contents), self._state(_merged(names, pending), contents)]
        for _ in range(count if pending or latest else 0):
            survived = [change for change in pending if generator.random() < 0.5]
            written = {number: _lossy(contents.get(number, b""), latest[number], generator) for number in latest}
            states.append(self._state(_merged(names, survived), contents | written))
        return states

    def _state(self, names, contents):
        """Paths and contents of what can be reached from the folder."""
        reached, pending = {}, [("", ROOT)]
        while pending:
            path, number = pending.pop()
            if path:
                reached[path] = number, (FOLDER if number in self.folders else contents.get(number, b""))
            pending += [
                (os.path.join(path, name), child)
                for (parent, name), child in names.items()
                if parent == number and child is not None
            ]
        return dict(sorted(reached.items()))


def _sync_names(folder, names, pending):
    """Make the changes of a folder's names durable; what remains of the others."""
    remaining = []
    for change in pending:
        if any(parent == folder for parent, _ in change):
            names.update(change)
            # What was pending for these names has been overtaken.
            remaining = [{key: number for key, number in other.items() if key not in change} for other in remaining]
        else:
            remaining.append(change)
    return [change for change in remaining if change]


def _merged(names, changes):
    merged = dict(names)
    for change in changes:
        merged.update(change)
    return merged


def _lossy(before, after, generator):
    """What may be there of a content that was not synced."""
    return [before, after, after[: len(after) // 2], bytes(len(after))][generator.integers(4)]


def write_state(state, folder):
    """Write a state as files; the folder is new."""
    folder.mkdir(parents=True)
    for path, (_, content) in state.items():
        if content is FOLDER:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)


def distinct_states(disk, *, generator, count):
    """Return all states that differ, each with what had been reached at least when the power failed."""
    chosen = {}
    for length in range(disk.first, len(disk.record) + 1):
        marks = disk.marks(length)
        for state in disk.states(length, generator=generator, count=count):
            key = tuple((path, content) for path, (_, content) in state.items())
            if key not in chosen or len(chosen[key][1]) < len(marks):
                chosen[key] = state, marks
    return list(chosen.values())
