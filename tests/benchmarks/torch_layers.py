"""Prints logits of PyTorch networks by activation, as JSON; run by a Python that has PyTorch."""

import json
import sys

import numpy as np
import torch
from torch_peer import ACTIVATIONS, build_model

from hpo.network.architecture import Architecture
from hpo.seeds import generator

x = generator(0, "sample").standard_normal((8, 5), dtype=np.float32)
logits = {}
for activation in ACTIVATIONS:
    architecture = Architecture(
        widths=(6, 4), activation=activation, initializer="he_normal", dropout=0.3, learning_rate=0.01, batch_size=8
    )
    model = build_model(architecture, 5, 3, generator(0, "weights")).eval()
    with torch.inference_mode():
        logits[activation] = model(torch.from_numpy(x)).tolist()
sys.stdout.write(json.dumps(logits))
