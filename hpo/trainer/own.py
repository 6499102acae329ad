"""`python -m hpo.trainer.own FOLDER MODULE`: runs a trainer of the user's own, which lies in the folder.

What is installed comes first, whatever else is in there.
"""

import runpy
import sys

from hpo.processes import end_with_supervisor
from hpo.trainer.messages import output_aside

if __name__ == "__main__":
    end_with_supervisor()
    output_aside()  # before the module is imported, which may print
    folder, module = sys.argv[1:]
    sys.path.append(folder)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
