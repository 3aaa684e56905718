"""`python -m icebox COMMAND …`: the command line, as dvc.yaml runs it."""

import sys

from icebox.pipeline.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
