"""`python -m autounet` is the command `autounet`."""

from autounet.cli import main

if __name__ == "__main__":
    main()
