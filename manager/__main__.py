"""`python -m manager`: the same as the console script."""

from manager.cli import main

if __name__ == "__main__":
    main()
