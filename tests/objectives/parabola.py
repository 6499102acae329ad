"""An objective of one's own: the least value of a parabola. hpo knows nothing of it."""

from hpo_storage.records import Outcome

from hpo.objectives.base import Objective
from hpo.spaces import Float, SearchSpace
from hpo.trainer.messages import serve

SPACE = SearchSpace(name="line", dimensions=(Float("x", 0.0, 1.0),))


class Parabola(Objective):
    def __init__(self, trainer):
        self.trainer = trainer

    def define(self, request, before, *, works, has_copy):
        return {"lowest": 0.25}


def evaluate(order, on_epoch=None):
    return Outcome(state="complete", value=(order["params"]["x"] - order["part"]["lowest"]) ** 2)


ASKED, TRAINED = Parabola(None), Parabola("parabola")
if __name__ == "__main__":
    serve(evaluate)
