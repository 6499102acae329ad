"""The same network as a plain `keras.Sequential`: the reference that the engine is proved against."""

import keras

from hpo.network.activations import LEAKY_SLOPE
from hpo.network.architecture import Architecture


def _activation_layer(name: str) -> keras.layers.Layer:
    if name == "prelu":
        return keras.layers.PReLU()
    if name == "leaky_relu":
        return keras.layers.LeakyReLU(negative_slope=LEAKY_SLOPE)
    return keras.layers.Activation(name)


def build_keras_model(architecture: Architecture, inputs: int, outputs: int, seed: int = 0) -> keras.Sequential:
    """An unbuilt-optimizer Sequential that maps (rows, inputs) to logits (rows, outputs)."""
    model = keras.Sequential([keras.Input((inputs,))])
    initializer = keras.initializers.get(architecture.initializer)
    for place, width in enumerate(architecture.widths):
        model.add(keras.layers.Dense(width, kernel_initializer=initializer.clone()))
        model.add(_activation_layer(architecture.activation))
        if architecture.dropout:
            model.add(keras.layers.Dropout(architecture.dropout, seed=seed + place))
    model.add(keras.layers.Dense(outputs))
    return model


def compile_keras_model(model: keras.Sequential, architecture: Architecture) -> None:
    """Attach the optimizer and loss that the engine uses: Adam, softmax cross-entropy from logits."""
    model.compile(
        optimizer=keras.optimizers.Adam(architecture.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
