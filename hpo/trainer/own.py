"""`python -m hpo.trainer.own FOLDER MODULE`: runs a trainer of the user's own, which lies in the folder.

What is installed comes first, whatever else is in there.
"""

import sys

from hpo_spaces.loading import run_own

from hpo.processes import end_with_supervisor
from hpo.trainer.messages import output_aside

if __name__ == "__main__":
    end_with_supervisor()
    output_aside()  # before the module is imported, which may print
    run_own(*sys.argv[1:])
