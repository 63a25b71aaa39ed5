"""``python -m dsenv``: the same as the ``dsenv`` command."""

from dsenv.cli.main import main

if __name__ == "__main__":
    main()
