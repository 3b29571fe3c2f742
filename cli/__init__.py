"""The command line `tf-lottery`: thin commands that parse, call the library and print.

Importing this loads nothing else: spawned processes of a run import it again.
"""


def main() -> None:
    """Entry point of the console script."""
    try:
        from .app import app
        from .process import prepare
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # `failures.INTERRUPTED`, which may not be loaded yet
    prepare()
    app.main(prog_name="tf-lottery")
