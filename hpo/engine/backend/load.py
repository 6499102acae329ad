"""The backend of this process; KERAS_BACKEND must name the same one before Keras is imported, which fixes it then."""

from collections.abc import Callable

from hpo.engine.backend.cache import ProgramCache, cache_folder
from hpo.engine.program import Backend


def load_backend(name: str) -> Backend:
    """The backend of that name, on one thread of the processor or on the GPU it finds."""
    return import_backend(name)()


def import_backend(name: str) -> Callable[[], Backend]:
    """Import the framework and return what starts it; until then it has no threads, so that the process can fork."""
    return _import_jax() if name == "jax" else _import_tensorflow()


def _import_jax() -> Callable[[], Backend]:
    from hpo.engine.backend.jax import JaxBackend, use_cache

    def start() -> Backend:
        use_cache()
        return JaxBackend()

    return start


def _import_tensorflow() -> Callable[[], Backend]:
    from hpo.engine.backend.tensorflow import TensorFlowBackend, use_one_thread

    def start() -> Backend:
        use_one_thread()
        folder = cache_folder("tensorflow")
        return TensorFlowBackend(ProgramCache(folder) if folder else None)

    return start
