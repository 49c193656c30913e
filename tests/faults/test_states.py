"""All that can be done to registries, in any order, against a plain model of two registries in memory."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from plain import WEIGHTS, Plain, Registry, copied, refused, told, unite, wanted

from ckptkit import cli, index, index_file, names
from ckptkit.verbs.check import check

ALL = bool(os.environ.get("CKPTKIT_ALL_FAULTS"))
HERE, THERE = "here", "there"
OTHER_NAME = {"a": "c", "b": "d", "c": "a", "d": "b"}


class Registries(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(dir=Path.cwd()))
        self.moment = count(1)
        self.sides: dict[str, Registry] = {HERE: {}}

    def teardown(self) -> None:
        shutil.rmtree(self.home)

    def run(self, side: str, *words: str) -> int:
        return cli.main([*words, "--root", str(self.home / side)])

    # what a rule is about

    def version(self, data: st.DataObject) -> tuple[str, str, Plain, str]:
        """One that stands: its side, its model's name and plain form, and what was saved."""
        found = [
            (side, name, saved)
            for side, registry in self.sides.items()
            for name, model in registry.items()
            for saved in model.numbers
        ]
        side, name, saved = data.draw(st.sampled_from(found))
        return side, name, self.sides[side][name], saved

    def model(self, data: st.DataObject) -> tuple[str, str, Plain]:
        found = [(side, name) for side, registry in self.sides.items() for name in registry]
        side, name = data.draw(st.sampled_from([each for each in found if not self.sides[each[0]][each[1]].is_left]))
        return side, name, self.sides[side][name]

    def has_versions(self) -> bool:
        return any(model.numbers for registry in self.sides.values() for model in registry.values())

    # rules

    @rule(data=st.data(), aliases=st.sets(st.sampled_from(["x", "y"])))
    def save(self, data: st.DataObject, aliases: set[str]) -> None:
        side = data.draw(st.sampled_from(list(self.sides)))
        registry = self.sides[side]
        fresh = {name for name in ("a", "b") if name not in registry}
        name = data.draw(st.sampled_from(sorted(fresh | {known for known in registry if not registry[known].is_left})))
        saved = str(next(self.moment))
        (self.home / WEIGHTS).write_text(saved)
        words = [word for alias in sorted(aliases) for word in ("--alias", alias)]
        assert self.run(side, "save", str(self.home / WEIGHTS), "--model", name, *words) == 0
        model = registry.setdefault(name, Plain())
        model.last += 1
        model.numbers[saved] = names.version_name(model.last)
        model.lives[saved] = {next(self.moment): "saved"}
        model.whole.add(saved)
        for alias in aliases:
            model.chain("alias", alias).say(next(self.moment), saved)

    @precondition(has_versions)
    @rule(data=st.data(), alias=st.sampled_from(["x", "y", "z"]))
    def alias_set(self, data: st.DataObject, alias: str) -> None:
        side, name, model, saved = self.version(data)
        assert self.run(side, "alias", "set", f"{name}@{alias}", model.numbers[saved]) == 0
        chain = model.chain("alias", alias)
        if chain.holds != saved or len(chain.heads) > 1:
            chain.say(next(self.moment), saved)

    @precondition(has_versions)
    @rule(data=st.data(), alias=st.sampled_from(["x", "y", "z"]))
    def alias_rm(self, data: st.DataObject, alias: str) -> None:
        side, name, model = self.model(data)
        chain = model.chain("alias", alias)
        assert self.run(side, "alias", "rm", f"{name}@{alias}") == (chain.holds is None)
        if chain.holds is not None:
            chain.say(next(self.moment), None)

    @precondition(has_versions)
    @rule(data=st.data(), alias=st.sampled_from(["x", "y", "z"]))
    def alias_undo(self, data: st.DataObject, alias: str) -> None:
        side, name, model = self.model(data)
        chain = model.chain("alias", alias)
        before = chain.held_before if chain.said else None
        can = bool(chain.said) and (before is None or before in model.numbers)
        assert self.run(side, "alias", "undo", f"{name}@{alias}") == (not can)
        if can:
            chain.say(next(self.moment), before)

    @precondition(has_versions)
    @rule(data=st.data(), to=st.sampled_from(["none", "staging", "production", "archived"]), archive=st.booleans())
    def stage(self, data: st.DataObject, to: str, *, archive: bool) -> None:
        side, name, model, saved = self.version(data)
        words = ["--archive-existing"] if archive else []
        refused = archive and to not in {"staging", "production"}
        assert self.run(side, "stage", f"{name}/{model.numbers[saved]}", to, *words) == (2 if refused else 0)
        if refused:
            return
        stages = {other: model.chain("stage", other).holds or "none" for other in model.numbers}
        moves = {other: "archived" for other, at in stages.items() if archive and at == to and other != saved}
        for other, into in {**moves, saved: to}.items():
            if stages[other] != into:
                model.chain("stage", other).say(next(self.moment), into)

    @precondition(has_versions)
    @rule(data=st.data(), words=st.sampled_from(["good", "bad"]), of_model=st.booleans())
    def describe(self, data: st.DataObject, words: str, *, of_model: bool) -> None:
        side, name, model, saved = self.version(data)
        ref = name if of_model else f"{name}/{model.numbers[saved]}"
        assert self.run(side, "describe", ref, words) == 0
        chain = model.chain("text", "" if of_model else saved)
        if chain.holds != words or len(chain.heads) > 1:
            chain.say(next(self.moment), words)

    @precondition(has_versions)
    @rule(data=st.data(), score=st.sampled_from([0.25, 0.5, 0.75]))
    def evaluate(self, data: st.DataObject, score: float) -> None:
        side, name, model, saved = self.version(data)
        assert self.run(side, "eval", f"{name}/{model.numbers[saved]}", "--metric", f"score={score}") == 0
        model.scores.setdefault(saved, {})[next(self.moment)] = score

    @precondition(has_versions)
    @rule(data=st.data(), force=st.booleans())
    def delete(self, data: st.DataObject, *, force: bool) -> None:
        side, name, model, saved = self.version(data)
        aliases = model.aliases_of(saved)
        refused = not force and (aliases or model.chain("stage", saved).holds == "production")
        words = ["--force"] if force else []
        assert self.run(side, "delete", f"{name}/{model.numbers[saved]}", "--yes", *words) == (2 if refused else 0)
        if not refused:
            for alias in aliases:
                model.chain("alias", alias).say(next(self.moment), None)
            model.lives[saved][next(self.moment)] = "deleted"
            model.whole.discard(saved)
            del model.numbers[saved]

    @precondition(has_versions)
    @rule(data=st.data(), keep=st.integers(1, 2))
    def prune(self, data: st.DataObject, keep: int) -> None:
        side, name, model = self.model(data)
        assert self.run(side, "prune", name, "--keep-last", str(keep), "--keep-aliased", "--force", "--yes") == 0
        left = model.numbers.keys() - model.pruned
        newest = sorted(left, key=lambda saved: names.folder_number(model.numbers[saved]) or 0)[-keep:]
        for saved in left & model.whole:
            if saved not in newest and not model.aliases_of(saved):
                model.lives[saved][next(self.moment)] = "pruned"
                model.whole.discard(saved)

    @precondition(has_versions)
    @rule(data=st.data())
    def rename(self, data: st.DataObject) -> None:
        side, name, model = self.model(data)
        assert self.run(side, "rename", name, OTHER_NAME[name]) == 0
        registry = self.sides[side]
        registry[OTHER_NAME[name]] = model
        registry[name] = Plain(last=model.last, is_left=True)

    @precondition(has_versions)
    @rule(data=st.data(), step=st.integers(0, 2))
    def renumber(self, data: st.DataObject, step: int) -> None:
        side, name, model, saved = self.version(data)
        number = model.last + step
        code = self.run(side, "rename", f"{name}/{model.numbers[saved]}", str(number))
        assert code == (0 if step else 2)
        if step:
            model.last = number
            model.numbers[saved] = names.version_name(number)

    @precondition(has_versions)
    @rule()
    def copy(self) -> None:
        """Another machine gets a copy of the registry, in place of the one that it had."""
        shutil.rmtree(self.home / THERE, ignore_errors=True)
        shutil.copytree(self.home / HERE, self.home / THERE, symlinks=True)
        self.sides[THERE] = copied(self.sides[HERE])

    @precondition(lambda self: len(self.sides) == 2)
    @rule(into=st.sampled_from([HERE, THERE]))
    def merge(self, into: str) -> None:
        mine, theirs = self.sides[into], self.sides[THERE if into == HERE else HERE]
        source = self.home / (THERE if into == HERE else HERE)
        if any(mine[name].is_left != theirs[name].is_left for name in mine.keys() & theirs.keys()):
            return
        left = [refused(mine.get(name, Plain()), other) for name, other in theirs.items()]
        assert self.run(into, "merge", str(source)) == any(left)
        found = self.found(into)
        for name, other in theirs.items():
            unite(mine.setdefault(name, Plain(is_left=other.is_left)), other, found[name])

    @precondition(lambda self: len(self.sides) == 2)
    @rule()
    def merge_both(self) -> None:
        """Both sides then say the same, and further merges change nothing."""
        here, there = self.sides[HERE], self.sides[THERE]
        if any(here[name].is_left != there[name].is_left for name in here.keys() & there.keys()):
            return
        self.merge(HERE)
        self.merge(THERE)
        before = self.names(HERE), self.names(THERE)
        assert self.names(HERE, "*/history/*") == self.names(THERE, "*/history/*")
        for name, mine in here.items():
            theirs = there[name]
            common = mine.numbers.keys() & theirs.numbers.keys()
            assert {saved: mine.numbers[saved] for saved in common} == {
                saved: theirs.numbers[saved] for saved in common
            }
        for _ in range(2):
            self.merge(HERE)
            self.merge(THERE)
        assert (self.names(HERE), self.names(THERE)) == before

    @rule(side=st.sampled_from([HERE, THERE]))
    def rebuild(self, side: str) -> None:
        if not any(self.sides.get(side, {})):
            return
        root = self.home / side
        assert self.run(side, "index") == 0
        for model in self.sides[side].values():
            for saved in model.back - model.lacking:
                is_pruned = saved in model.pruned and saved not in model.whole
                model.lives[saved][next(self.moment)] = "saved"
                if is_pruned:
                    model.lives[saved][next(self.moment)] = "pruned"
        files = {path: path.read_bytes() for path in (root / "index.json", root / "README.md")}
        links = {path: path.readlink() for path in root.glob("*/@*")}
        for path in (*files, *links):
            path.unlink()
        assert self.run(side, "index") == 0
        assert files == {path: path.read_bytes() for path in files}
        assert links == {path: path.readlink() for path in root.glob("*/@*")}

    # what holds at any time

    def found(self, side: str) -> Mapping[str, Mapping[str, Any]]:
        """The registry as its index tells."""
        models: Mapping[str, Mapping[str, Any]] = index.load(self.home / side)["models"]
        return models

    def names(self, side: str, pattern: str = "[a-z]/**/*") -> set[str]:
        root = self.home / side
        return {str(path.relative_to(root)) for path in root.glob(pattern)}

    @invariant()
    def is_as_it_should_be(self) -> None:
        for side, registry in self.sides.items():
            found = self.found(side) if registry else {}
            assert set(found) == set(registry)
            for name, model in registry.items():
                assert told(found[name]) == wanted(model), (side, name)

    @invariant()
    def is_derived_and_sound(self) -> None:
        for side, registry in self.sides.items():
            root = self.home / side
            if not registry:
                continue
            built = index.build(root)
            assert index.load(root) == built
            assert (root / "index.json").read_bytes() == index_file.dump(built)
            findings = check(root, select=("CK1", "CK2", "CK9")).findings
            codes = {finding.code for finding in findings}
            assert ("CK912" in codes) == any(model.back for model in registry.values())
            assert ("CK204" in codes) == any(model.lacking for model in registry.values())
            assert codes <= {*MERGED, "CK912", "CK204"}, findings


MERGED = {"CK906", "CK907", "CK911"}
"""What may be found: of two registries that were merged both had moved one alias or staged or described one version,
or one had moved an alias to what the other had deleted."""


@pytest.mark.timeout(1800 if ALL else 300)
def test_any_order_of_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_state_machine_as_test(
        Registries,
        settings=settings(
            max_examples=200 if ALL else 25,
            stateful_step_count=30 if ALL else 12,
            deadline=None,
            derandomize=not ALL,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
