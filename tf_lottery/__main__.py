"""`python -m tf_lottery` is the command `tf-lottery`."""

from tf_lottery_cli import main

if __name__ == "__main__":
    main()
