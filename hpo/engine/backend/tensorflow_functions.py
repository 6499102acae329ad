"""Compiled functions as TensorFlow's own definitions, without the objects that tracing leaves in Python.

Compressed, a definition takes 5 to 100 kilobytes where a traced function holds megabytes, and it is read from a file in
a twentieth of the time that tracing takes.
"""

import gc
import logging
import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import count
from typing import Any

import tensorflow as tf
from tensorflow.core.framework.function_pb2 import FunctionDefLibrary
from tensorflow.python.eager import context  # executors and definitions have no public name

from hpo.engine.backend.cache import ProgramCache, key_of
from hpo.engine.layout import ProgramKind

_numbers = count()
_log = logging.getLogger("hpo")


def single_threaded() -> AbstractContextManager[None]:
    """A context in which programs run on the single-threaded executor."""
    executor: AbstractContextManager[None] = context.function_executor_type("SINGLE_THREADED_EXECUTOR")
    return executor


class CompiledFunction:
    """A function of arguments and variables, with one result, from its serialized definition."""

    def __init__(self, definition: bytes) -> None:
        library = FunctionDefLibrary.FromString(zlib.decompress(definition))
        # The names were another process's and may belong to other functions in this one.
        names = {function.signature.name: f"hpo_{next(_numbers)}" for function in library.function}
        for function in library.function:
            function.signature.name = names[function.signature.name]
            for node in function.node_def:
                for attribute in node.attr.values():
                    if attribute.HasField("func"):
                        attribute.func.name = names[attribute.func.name]
            context.context().add_function_def(function)
        self._names = list(names.values())

    def __call__(self, arguments: Any, variables: Sequence[tf.Variable]) -> tf.Tensor:  # noqa: ANN401 # any structure
        """Run it; the variables are those it was traced with, or others in their places."""
        tensors = [*map(tf.convert_to_tensor, tf.nest.flatten(arguments)), *(v.handle for v in variables)]
        with single_threaded():
            return context.context().call_function(self._names[-1].encode(), tensors, 1)[0]

    def forget(self) -> None:
        """Give its memory back; it cannot be called any more."""
        for name in self._names:
            context.context().remove_function(name)


def trace(function: Callable[..., tf.Tensor], signature: Sequence[Any], variables: Sequence[tf.Variable]) -> bytes:
    """The definition of `function`, which reads and assigns these variables."""

    def with_variables_first(*arguments: Any) -> tf.Tensor:  # noqa: ANN401 # as in the signature
        for variable in variables:
            tf.compat.v1.get_default_graph().capture(variable.handle)
        return function(*arguments)

    gc.disable()  # tracing makes many objects and little garbage: looking for it takes a tenth of the time
    try:
        with single_threaded():
            traced = tf.function(with_variables_first, autograph=False, input_signature=signature)
            concrete = traced.get_concrete_function()
    finally:
        gc.enable()
    if len(concrete.captured_inputs) != len(variables):
        raise ValueError("a program may capture nothing but its variables")
    library = concrete.graph.as_graph_def().library
    library.function.append(concrete.function_def)
    return zlib.compress(library.SerializeToString())


class FunctionStore:
    """Compiled functions by kind, for one way to multiply: from the cache where it has them, else traced."""

    def __init__(self, matmul: str, cache: ProgramCache | None) -> None:
        self._matmul, self._cache = matmul, cache
        self.traces = 0

    def get(
        self,
        kind: ProgramKind,
        function: Callable[..., tf.Tensor],
        signature: Sequence[Any],
        variables: Sequence[tf.Variable],
    ) -> CompiledFunction:
        """The function of this kind, see `trace`."""
        key = key_of(function.__qualname__, kind, self._matmul, tf.__version__)
        found = self._cache.get(key) if self._cache else None
        if found is not None:
            try:
                return CompiledFunction(found)
            except Exception:  # a damaged file may be wrong in any way
                _log.info("a compiled program that was kept cannot be used; it is made again", exc_info=True)
        self.traces += 1
        definition = trace(function, signature, variables)
        if self._cache:
            self._cache.put(key, definition)
        return CompiledFunction(definition)
