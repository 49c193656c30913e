"""A lineage as `save` would write it, complete and valid, for tests to start from."""

import copy
from typing import Any

from ckptkit.record import Lineage

EARLIER: dict[str, Any] = {
    "schema": "ckptkit/lineage/1",
    "model": "penguins",
    "version": "v0002",
    "created": "2026-11-24T10:00:02Z",
    "message": "lower learning rate",
    "tags": {"purpose": "baseline"},
    "parents": [{"ref": "penguins/v0001", "digest": f"sha256:{'a1' * 32}", "relation": "finetuned"}],
    "base_models": [],
    "data": [
        {
            "name": "penguins",
            "path": "data/penguins.csv",
            "outside": False,
            "kind": "file",
            "digest": f"sha256:{'b2' * 32}",
            "files": 1,
            "bytes": 15241,
            "manifest": None,
            "sizes": None,
            "source": None,
            "steps": [],
            "observed": "in the run",
            "changed_during_run": [],
        }
    ],
    "code": {
        "observed": "in the run",
        "repository": {
            "url": "https://github.com/example/penguins",
            "commit": "c3" * 20,
            "branch": "main",
            "directory": ".",
            "dirty": False,
            "tree": "d4" * 20,
            "patch": None,
            "omitted": [],
            "unpushed": 0,
            "submodules": [],
        },
        "entry_point": "train.py",
        "orig_argv": ["python", "train.py", "--lr", "0.3"],
        "cwd": ".",
        "modules": [{"path": "train.py", "sha256": "e5" * 32, "syntax": "f6" * 32}],
        "changed_during_run": [],
        "environment": {
            "source": "this process",
            "python": {
                "implementation": "CPython",
                "version": "3.11.7",
                "build": "main, Dec  8 2023, 18:56:57",
                "kind": "virtual environment",
            },
            "requirements": "requirements.txt",
            "packages": [
                {"name": "numpy", "version": "2.2.1", "imported": True},
                {"name": "safetensors", "version": "0.5.0", "imported": True},
                {"name": "scikit-learn", "version": "1.6.0", "imported": False},
            ],
            "editable": [],
            "lockfiles": [],
        },
    },
    "config": {
        "observed": "in the run",
        "file": "config.yaml",
        "sha256": "07" * 32,
        "values": {
            "seed": 42,
            "lr": 0.3,
            "schedule": "cosine",
            "batch_size": 32,
            "epochs": 200,
            "optimizer": {"name": "sgd", "momentum": 0.9},
            "preprocessing": {"features": ["bill_length_mm", "sex"], "missing": "drop the row"},
        },
        "seed": 42,
        "not_applicable": {},
        "changed_during_run": None,
    },
    "compute": {
        "observed": "in the run",
        "platform": {
            "system": "Linux",
            "release": "6.1.99",
            "machine": "x86_64",
            "distribution": "Debian GNU/Linux 12",
            "libc": "glibc 2.36",
        },
        "cpu": {
            "model": "AMD EPYC 7B13",
            "vendor": "AuthenticAMD",
            "physical": 1,
            "logical": 2,
            "usable": 2,
            "flags": ["avx2", "fma"],
        },
        "memory": {"total": 8 << 30, "limit": None},
        "gpus": [],
        "driver": None,
        "libraries": {"numpy": "2.2.1"},
        "precision": {
            "requested": None,
            "weights": {"F32": 28},
            "effective": {"numpy.default_dtype": "float64"},
            "flags": {},
        },
        "determinism": {},
        "threads": {"openblas": 2},
        "variables": {"at_start": {}, "at_save": {"OMP_NUM_THREADS": "2"}},
        "distributed": None,
    },
    "weights": {
        "files": [
            {
                "path": "model.safetensors",
                "bytes": 416,
                "sha256": "18" * 32,
                "format": "safetensors",
                "parameters": 28,
                "dtypes": {"F32": 28},
            }
        ],
        "parameters": 28,
        "identical_to": None,
    },
    "metrics": {
        "accuracy": {
            "value": 0.9850746268656716,
            "split": "test",
            "n": 67,
            "slices": {
                "species": {
                    "Adelie": {"value": 1.0, "n": 27},
                    "Chinstrap": {"value": 0.9166666666666666, "n": 12},
                    "Gentoo": {"value": 1.0, "n": 28},
                },
                "island": {
                    "Biscoe": {"value": 1.0, "n": 40},
                    "Dream": {"value": 0.9523809523809523, "n": 21},
                    "Torgersen": {"value": 1.0, "n": 6},
                },
            },
        },
        "loss": {"value": 0.01697338407688621, "split": "test", "n": 67},
    },
    "run": {
        "id": "20261124T095958Z-0a1b2c3d",
        "step": 1800,
        "epoch": 200,
        "started": "2026-11-24T09:59:58Z",
        "finished": "2026-11-24T10:00:02Z",
        "seconds": 4.25,
        "job": None,
        "links": [],
    },
    "unknown": {},
    "tool": {"name": "ckptkit", "version": "0.1.0"},
}
"""A record as an early release wrote it, without the fields that came later."""


def lineage(**overrides: Any) -> dict[str, Any]:
    """lineage.json as plain JSON; an override replaces a part at the top, or with ``__`` in its name one further down.

    >>> lineage(code__repository=None)["code"]["repository"] is None
    True
    """
    whole = copy.deepcopy(Lineage.from_dict(EARLIER).to_dict())
    for name, value in overrides.items():
        *parents, last = name.split("__")
        part = whole
        for parent in parents:
            part = part[parent]
        part[last] = value
    return whole


def evaluation(day: int, **facts: Any) -> dict[str, Any]:
    """An ``evaluated`` event of a day in November 2026, as JSON types, with further facts."""
    return {
        "schema": "ckptkit/event/1",
        "id": f"202611{day}T100002.123456Z-0a1b2c3d",
        "time": f"2026-11-{day}T10:00:02.123456Z",
        "kind": "evaluated",
        "model": "penguins",
        "version": "v0002",
    } | facts


def step(name: str = "filter") -> dict[str, Any]:
    """A step that has all there can be."""
    content = {
        "path": "data/raw",
        "outside": False,
        "kind": "directory",
        "digest": f"sha256:{'5e' * 32}",
        "files": 3,
        "bytes": 1024,
        "rows": 12,
        "source": {"url": "https://example.org/raw"},
    }
    return {
        "name": name,
        "by": "ckptkit",
        "params": {"least": 5},
        "command": ["python", "filter.py"],
        "code": {"commit": "c3" * 20, "dirty": False, "tree": "c4" * 20},
        "inputs": [content],
        "output": content | {"path": "data/kept", "digest": f"sha256:{'5f' * 32}"},
        "started": "2026-11-24T10:00:02Z",
        "finished": "2026-11-24T10:00:03Z",
        "seconds": 1.5,
        "link": "broken",
        "reason": "it was written to after the step",
    }
