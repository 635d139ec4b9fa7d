"""``python -m prunebench`` is the ``prunebench`` command."""

import sys

from prunebench.benchmark.command_line import main

sys.exit(main())
