"""The ``tutelage`` command, also as ``python -m tutelage``."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line of this process; Ctrl-C while it is imported leaves no traceback."""
    try:
        from tutelage.cli.app import main as command

        command()
    except KeyboardInterrupt:
        sys.stderr.write("[R15] Stopped by Ctrl-C.\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
