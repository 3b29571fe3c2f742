"""Native chatter is kept off stdout and stderr."""

import os
import subprocess
import sys

from tf_lottery.utils.silence import quiet


def test_quiet_silences_file_descriptors_and_puts_them_back():
    code = (
        "import os; from tf_lottery.utils.silence import quiet\n"
        "print('before')\n"
        "with quiet():\n    os.write(1, b'noise'); os.write(2, b'noise'); print('noise')\n"
        "print('after')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("before\nafter\n", "")


def test_quiet_lets_errors_through(capfd):
    try:
        with quiet():
            os.write(1, b"noise")
            raise ZeroDivisionError
    except ZeroDivisionError:
        print("caught")
    assert capfd.readouterr().out == "caught\n"
