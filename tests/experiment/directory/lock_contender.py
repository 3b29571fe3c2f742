"""A process that takes the lock of a run directory when it is asked to, and says whether it got it.

It reads lines `KIND FOLDER` and `release`; KIND says what the system does, see `LOCKS`.
"""

import errno
import fcntl
import logging
import os
import sys
import threading
from pathlib import Path

system_flock = fcntl.flock


def no_locks(descriptor, operation):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def never_granted(descriptor, operation):
    threading.Event().wait()


LOCKS = {"system": system_flock, "files": no_locks, "machines": no_locks, "never": never_granted}


def contend(machine):
    from tf_lottery.errors import RunInUseError
    from tf_lottery.experiment.directory import run_lock
    from tf_lottery.utils import heartbeat_lock

    logging.disable()
    run_lock.ANSWER_SECONDS = 0.1
    heartbeat_lock.BEAT, heartbeat_lock.STALE, heartbeat_lock._POLL = 0.05, 1.0, 0.01
    here = heartbeat_lock.machine_identity()
    for line in sys.stdin:
        kind, folder = line.split()
        fcntl.flock = LOCKS[kind]
        # Two machines know nothing of each other's processes: what counts is the heartbeat.
        heartbeat_lock.machine_identity = lambda kind=kind: machine if kind == "machines" else here
        try:
            with run_lock.hold(Path(folder), timeout=0.0):
                print("held", flush=True)
                sys.stdin.readline()
        except RunInUseError:
            print("in use", flush=True)
            sys.stdin.readline()
        print("done", flush=True)


if __name__ == "__main__":
    contend(sys.argv[1])
