"""`python -m data_platform`."""

from __future__ import annotations

import sys

from data_platform.cli import main

if __name__ == "__main__":
    sys.exit(main())
