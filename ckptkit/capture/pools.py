"""The thread pools of BLAS and OpenMP libraries that this process has loaded, as threadpoolctl reads them."""

import os
from collections.abc import Mapping
from typing import Any


def pools() -> list[Mapping[str, Any]]:
    """One mapping for each loaded library; the environment is left as it was.

    Threadpoolctl sets ``KMP_DUPLICATE_LIB_OK`` when it is imported; that would be recorded, and could change what runs
    after a save.
    """
    import warnings

    before = dict(os.environ)
    import threadpoolctl

    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two OpenMP runtimes at once are its worry
        found: list[Mapping[str, Any]] = threadpoolctl.threadpool_info()
    return found
