"""`python -m tf_lottery_cli`: the same as the console script."""

from tf_lottery_cli import main

if __name__ == "__main__":
    main()
