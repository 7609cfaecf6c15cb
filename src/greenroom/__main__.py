"""`python -m greenroom`: the same program as `greenroom`."""

from greenroom.cli import main

if __name__ == "__main__":
    main()
