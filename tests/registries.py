"""Registries for tests, published by the package's own code."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lineages import lineage

from ckptkit import documents, index, publication, registry, roots
from ckptkit.registry import Version

WEIGHTS = {"model.safetensors": b"the weights"}


def publish(
    root: Path,
    model: str = "penguins",
    *,
    files: Mapping[str, bytes] = WEIGHTS,
    aliases: Sequence[str] = (),
    **overrides: Any,
) -> Version:
    """A new version with these files; ``overrides`` are those of ``lineage``."""
    roots.open_root(root)
    with publication.open_stage(root) as stage:
        for number, (path, data) in enumerate(files.items()):
            source = stage.home / f"source-{number}"
            source.write_bytes(data)
            stage.add(source, path, move=False)
        with roots.locked(root):
            known = registry.read_model(root / model)

            def finish(version: str) -> str:
                record = lineage(model=model, version=version, weights__files=saved(files), **overrides)
                stage.put("lineage.json", documents.dump_json(record))
                stage.put("config.yaml", documents.dump_yaml(record["config"]["values"]).encode())
                digest = stage.seal()
                stage.put_card("# A card\n")
                return digest

            heads = {alias: [event.id for event in known.state.heads.get(f"@{alias}", ())] for alias in aliases}
            version, _, _ = publication.publish(stage, root / model, last=known.last, finish=finish, aliases=heads)
            index.write(root, index.build(root))
            publication.link_aliases(root / model, registry.read_model(root / model).state.aliases)
    return version


def saved(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    return [
        {
            "path": path,
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "format": None,
            "parameters": None,
            "dtypes": None,
        }
        for path, data in files.items()
    ]


CUT = """
import os, sys
rename, left = os.rename, [int(sys.argv.pop())]
def cut(source, target, **places):
    if os.path.basename(os.path.dirname(target)) == "history":
        if not left[0]:
            os._exit(9)
        left[0] -= 1
    rename(source, target, **places)
os.rename = cut
import ckptkit
ckptkit.save(sys.argv[2], model=sys.argv[3], root=sys.argv[1], aliases=[sys.argv[4], "newest"])
"""
"""A save that dies once it has renamed so many events; its arguments are root, file, model, an alias, and how many."""
