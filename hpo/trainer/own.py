"""`python -m hpo.trainer.own MODULE`: runs a trainer of the user's own.

It is found in the current folder, after all that is installed.
"""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path.cwd()))
    runpy.run_module(sys.argv[1], run_name="__main__", alter_sys=True)
