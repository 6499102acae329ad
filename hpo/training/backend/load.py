"""The backend of this process; KERAS_BACKEND must name the same one before Keras is imported, which fixes it then."""

from hpo.training.backend.cache import ProgramCache, cache_folder
from hpo.training.stack import Backend


def load_backend(name: str) -> Backend:
    """The backend of that name, on one thread of the processor or on the GPU it finds."""
    if name == "jax":
        from hpo.training.backend.jax import JaxBackend, use_cache

        use_cache()
        return JaxBackend()
    from hpo.training.backend.tensorflow import TensorFlowBackend, use_one_thread

    use_one_thread()
    folder = cache_folder("tensorflow")
    return TensorFlowBackend(ProgramCache(folder) if folder else None)
