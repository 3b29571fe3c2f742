"""A process that reads what a stranger sent, as a user would: a command, or a call of the library.

It is ended with code 99 at once where it starts a program, opens a connection or reads a file that was not sent; else
with the exit code of the command, or of the error that the call raised.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

EXECUTED = 99
_EVENTS = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect", "socket.getaddrinfo")


def forbid(event, arguments):
    """End the process where what was sent acts."""
    name = os.path.basename(arguments[0]) if event == "open" and isinstance(arguments[0], str) else ""
    secret = name in ("secret", "hostname", "environ")
    imported = event == "import" and arguments[0] == "evil_model"
    if secret or imported or event in _EVENTS:
        os.write(2, f"EXECUTED {event} {arguments[:1]}\n".encode())
        write_peak()
        os._exit(EXECUTED)


def write_peak():
    """Write the most memory that this program has had, in KiB; what its parent had does not count."""
    with open("/proc/self/status") as status:
        peak = next(line for line in status if line.startswith("VmHWM")).split()[1]
    os.write(2, f"\nPEAK {peak}\n".encode())


def call(name, path):
    """Read a file by a function of the library."""
    import numpy as np

    import tf_lottery as tfl

    if name == "load_weights":
        import keras

        tfl.load_weights(keras.Sequential([keras.Input((64,)), keras.layers.Dense(10)]), path)
    elif name == "ticket.model":
        tfl.load_ticket(path).model()
    elif name == "samples":
        from tf_lottery.exporting.sources.sample_file import read_sample_file

        read_sample_file(Path(path))
    elif name == "architecture":
        from tf_lottery.layers import model_from_architecture

        model_from_architecture(Path(path).read_text())
    elif name == "execute":
        os.system("true")
    elif name == "allocate":
        np.ones(75_000_000)
    elif name == "calculate":
        while time.process_time() < 12:
            np.ones(1000).sum()
    elif name == "fail":
        raise ValueError(path)
    else:
        {"load_model": tfl.load_model, "load_ticket": tfl.load_ticket}[name](path)


def read(arguments):
    """Run a command, or `python FUNCTION PATH`; return the exit code."""
    from tf_lottery_cli.app import app
    from tf_lottery_cli.failures import guarded

    sys.addaudithook(forbid)
    try:
        if arguments[0] == "python":
            return guarded(lambda: call(*arguments[1:]), debug=False)
        app(arguments, prog_name="tf-lottery")
    except SystemExit as end:
        return end.code
    finally:
        write_peak()


def read_in_child(folder, log, arguments):
    """Read in this process, which ends with it."""
    code = 1
    try:
        os.setsid()
        os.chdir(folder)
        sys.path.insert(0, folder)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        code = read(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def wait(child, seconds):
    """The exit code of a process and its processor time; it is killed after so many seconds."""
    limit = time.monotonic() + seconds
    while True:
        pid, status, usage = os.wait4(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
        if time.monotonic() > limit:
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.05)


def serve():
    """Fork a process for each line `[folder, log, arguments, seconds]`: importing the libraries takes the most time."""
    import tensorflow  # noqa: F401
    import tensorflow_datasets  # noqa: F401
    import tf_lottery_cli.app  # noqa: F401

    import tf_lottery.layers
    import tf_lottery.results.ticket  # noqa: F401

    print("ready", flush=True)
    for line in sys.stdin:
        folder, log, arguments, seconds = json.loads(line)
        child = os.fork()
        if not child:
            read_in_child(folder, log, arguments)
        print(json.dumps(wait(child, seconds)), flush=True)


if __name__ == "__main__":
    serve()
