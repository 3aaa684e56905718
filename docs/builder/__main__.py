"""`python -m docs.builder [FOLDER]`: build the site, strictly, and check its links; FOLDER is build/docs by default."""

import sys
from pathlib import Path

from docs.builder import site


def main() -> int:
    """Build → 0, or 1 where Zensical or the check of the links finds a fault."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "build/docs")
    faults = site.build(folder)
    print("\n".join(faults) or f"The docs: {(folder / site.BUILT / 'index.html').resolve()}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
