"""`python -m hpo.trainer.own FOLDER MODULE`: runs a trainer of the user's own, which lies in the folder.

What is installed comes first, whatever else is in there.
"""

import runpy
import sys

from hpo.processes import end_with_supervisor

if __name__ == "__main__":
    end_with_supervisor()
    folder, module = sys.argv[1:]
    sys.path.append(folder)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
