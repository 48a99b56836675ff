"""``python -m edgewright``, and the `edgewright` command."""

from edgewright.core.start import leave_working_directory


def main() -> None:
    """Run the command line, and import nothing from the working directory."""
    leave_working_directory()
    from edgewright.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
