"""``python -m edgewright``: the same as the `edgewright` command."""

from edgewright.cli.main import main

if __name__ == "__main__":
    main()
