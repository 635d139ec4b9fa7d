"""``python -m prunebench`` is the ``prunebench`` command."""

import sys

from prunebench.benchmark.command_line import main

if __name__ == "__main__":  # importing it runs nothing
    sys.exit(main())
