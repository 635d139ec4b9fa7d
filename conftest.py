"""Take the checkout off ``sys.path``: its ``datasets/`` would shadow other people's packages."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
