"""`make bench`: everything that is measured, as ratios to a raw limit of the same run.

    python -m benchmarks.run [PART]...         the parts: PARTS below

Each part is a program of its own (`python -m benchmarks.<part> --help`) and runs in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys

from dev.state import REPOSITORY

PARTS = ("migration", "stores", "dataset", "sync", "scrape", "reindex", "reindex_qdrant")


def main(wanted: list[str]) -> int:
    """Run the parts asked for, or all; return the worst exit status."""
    if unknown := set(wanted) - set(PARTS):
        print(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    worst = 0
    for part in wanted or PARTS:
        print(f"\n=== {part}", flush=True)
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{part}"], cwd=REPOSITORY, check=False)
        worst = max(worst, done.returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
