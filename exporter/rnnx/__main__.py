"""`python -m rnnx`: the command, also where its script is not on the path."""

from rnnx.cli import main

if __name__ == "__main__":
    main()
