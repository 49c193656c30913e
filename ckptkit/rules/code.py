"""CK4, code and dependencies: whether the record says which code ran, under which packages."""

from collections.abc import Iterator

from ckptkit.record import ANOTHER_PROCESS, IN_THE_RUN, NO_START, Lineage, Omitted
from ckptkit.rules.base import Fault, rule, some, unknown


@rule("CK401", "commit is missing", of=Lineage, severity="warning", fix="commit your work, then save again")
def commit_missing(lineage: Lineage) -> Iterator[Fault]:
    """The commit is the name under which anyone finds the code again.

    Without a repository, or before its first commit, nothing says what the code was.
    """
    repository = lineage.code.repository
    if repository is None or repository.commit is None:
        why = next(iter(unknown(lineage, "code.repository").values()), "")
        yield Fault(f"commit is missing{why and f': {why}'}")


@rule(
    "CK402",
    "uncommitted changes are not recorded",
    of=Lineage,
    severity="warning",
    fix="commit your work, then save again",
)
def changes_lost(lineage: Lineage) -> Iterator[Fault]:
    """What ran was not the commit but the commit and changes on top, and code.patch does not hold these.

    Checking out the commit gives other code than the one that trained.
    """
    repository = lineage.code.repository
    if repository is None or repository.commit is None or repository.patch or repository.omitted:
        return
    why = next(iter(unknown(lineage, "code.repository.dirty", "code.repository.patch").values()), "")
    if repository.dirty:
        yield Fault(f"the work tree had changes, and there is no patch{why and f': {why}'}")
    elif repository.dirty is None:
        yield Fault(f"whether the work tree had changes is not known{why and f': {why}'}")


@rule(
    "CK403",
    "the patch leaves files out",
    of=Lineage,
    severity="warning",
    fix="commit these files, ignore them in .gitignore, or name them with --data",
)
def patch_incomplete(lineage: Lineage) -> Iterator[Fault]:
    """Files that are too large for a patch, or not readable, were changed or new when the checkpoint was saved.

    They are listed by name and size, but commit and patch do not bring them back.
    """
    out = [omitted for omitted in _omitted(lineage) if "secret" not in omitted.reason]
    if out:
        yield Fault(f"left out of the patch: {some([f'{omitted.path} ({omitted.reason})' for omitted in out])}")


@rule(
    "CK411",
    "the code held a secret",
    of=Lineage,
    severity="warning",
    fix="read the secret from the environment instead of writing it into the code, and revoke it if it was ever pushed",
)
def secret_in_code(lineage: Lineage) -> Iterator[Fault]:
    """A changed file held a token or a key, which is not recorded: in the patch <redacted:kind> stands in its place.

    Commit and patch bring the code back but for that secret; a file that held one elsewhere than in added lines is not
    in the patch at all.
    """
    for omitted in _omitted(lineage):
        if "secret" in omitted.reason:
            yield Fault(f"{omitted.path} is not in the patch as it was ({omitted.reason})")


def _omitted(lineage: Lineage) -> tuple[Omitted, ...]:
    return lineage.code.repository.omitted if lineage.code.repository else ()


@rule(
    "CK404",
    "the commit is on no remote",
    of=Lineage,
    severity="warning",
    fix="push the branch, or save with --bundle",
)
def commit_unpushed(lineage: Lineage) -> Iterator[Fault]:
    """The commit existed only in the repository where it was made, and is lost with it.

    Once it is pushed, the record is as good as it would have been. A bundle in the version (--bundle) holds it too.
    """
    repository = lineage.code.repository
    if repository is None or repository.commit is None or repository.bundle:
        return
    if repository.unpushed:
        yield Fault(f"{repository.unpushed} commit{'s were' if repository.unpushed > 1 else ' was'} on no remote")
    elif repository.unpushed is None and repository.url is None:
        yield Fault("the repository had no remote", hint="add a remote and push the branch")


@rule(
    "CK405",
    "the installed packages are not known",
    of=Lineage,
    severity="warning",
    fix="save from the environment that trained, or name its interpreter with --python",
)
def packages_unknown(lineage: Lineage) -> Iterator[Fault]:
    """The same code gives other weights under other versions of its libraries."""
    if not lineage.code.environment.packages:
        why = next(iter(unknown(lineage, "code.environment").values()), "")
        yield Fault(f"no installed package is recorded{why and f': {why}'}")


@rule(
    "CK406",
    "a dependency is installed from a folder",
    of=Lineage,
    severity="warning",
    fix="commit and push what is in that folder, or install the dependency from a commit: pip install git+URL@COMMIT",
)
def editable(lineage: Lineage) -> Iterator[Fault]:
    """A distribution in editable mode is read from a folder outside of the project, whatever is in it at that moment.

    Its version number says nothing about edits there. A clean commit that has a remote does.
    """
    for item in lineage.code.environment.editable:
        if item.outside or item.path.startswith("~"):
            if item.code is None or item.code.commit is None:
                yield Fault(f"{item.name} {item.version} is installed from {item.path}, at no known commit")
            elif item.code.dirty is not False:
                how = "with changes" if item.code.dirty else "and whether it was changed is not known"
                yield Fault(f"{item.name} is installed from {item.path}, {item.code.commit[:7]} {how}")
            elif item.url is None:
                yield Fault(f"{item.name} is installed from {item.path}, {item.code.commit[:7]}, which has no remote")


@rule(
    "CK407",
    "code changed while the training ran",
    of=Lineage,
    severity="warning",
    fix="train again, and edit in another work tree meanwhile",
)
def changed(lineage: Lineage) -> Iterator[Fault]:
    """Source files were edited after the process had loaded them: what is on disk is not what ran.

    Named are the functions whose loaded code is not what their file holds, ``<module>`` for code outside of any.
    """
    functions = lineage.code.changed_functions
    files = sorted({*(lineage.code.changed_during_run or ()), *functions})
    if files:
        names = [f"{file} ({some(list(functions[file]))})" if functions.get(file) else file for file in files]
        yield Fault(f"changed during the run: {some(names)}")


@rule(
    "CK412",
    "HEAD moved while the training ran",
    of=Lineage,
    severity="warning",
    fix="train again, and commit or check out in another work tree meanwhile",
    unless=("CK407",),
)
def head_moved(lineage: Lineage) -> Iterator[Fault]:
    """Another commit was checked out, or made, between the start of the run and the save.

    Files that were loaded late, or by another process of the run, may be of either commit.
    """
    start, end = lineage.code.at_start, lineage.code.at_save or lineage.code.repository
    if start and end and start.commit and end.commit and start.commit != end.commit:
        yield Fault(f"HEAD was {start.commit[:7]} when the training began and {end.commit[:7]} when it was saved")


@rule(
    "CK408",
    "the training was not observed",
    of=Lineage,
    severity="warning",
    fix="call ckptkit.save at the end of the training script",
)
def observed_late(lineage: Lineage) -> Iterator[Fault]:
    """The version was saved by another process than the one that trained, or later.

    Code, packages and machine are as they were found then, which may or may not be what trained, and facts of the
    training process are unknown. So no axis counts as complete.
    """
    axes = {
        "data": next((each.observed for each in lineage.data if each.observed != IN_THE_RUN), IN_THE_RUN),
        "code": lineage.code.observed,
        "config": lineage.config.observed,
        "compute": lineage.compute.observed,
    }
    late = [axis for axis, observed in axes.items() if observed != IN_THE_RUN]
    if late:
        hows = " or ".join(dict.fromkeys(axes[axis] for axis in late))
        facts = [fact for fact, reason in lineage.unknown.items() if reason in {ANOTHER_PROCESS, NO_START}]
        rest = f"; not known of the process that trained: {some(facts, len(facts))}" if facts else ""
        yield Fault(f"{', '.join(late)} not observed in the run but {hows}{rest}")


@rule(
    "CK409",
    "the state of a submodule is not recorded",
    of=Lineage,
    severity="warning",
    fix="commit inside of the submodule, then save again",
    unless=("CK403",),
)
def submodule_unknown(lineage: Lineage) -> Iterator[Fault]:
    """A submodule or a repository inside of the repository is code of its own; a patch cannot hold changes in it."""
    repository = lineage.code.repository
    if repository is not None:
        lost = [module.path for module in repository.submodules if module.commit is None or module.dirty]
        omitted = {each.path for each in repository.omitted}
        if names := [path for path in lost if path not in omitted]:
            yield Fault(f"changed or of unknown commit: {some(names)}")


@rule(
    "CK410",
    "what was started is not known",
    of=Lineage,
    severity="warning",
    fix="train from a script or with python -m, and save there",
)
def start_unknown(lineage: Lineage) -> Iterator[Fault]:
    """Entry point, arguments and loaded modules say what of the repository ran.

    An interactive session has none, and other systems may not tell.
    """
    for fact, reason in unknown(lineage, "code.entry_point", "code.orig_argv", "code.modules").items():
        yield Fault(f"{fact.removeprefix('code.')} is not known: {reason}")


RULES = (
    commit_missing,
    changes_lost,
    patch_incomplete,
    commit_unpushed,
    packages_unknown,
    editable,
    changed,
    observed_late,
    submodule_unknown,
    start_unknown,
    secret_in_code,
    head_moved,
)
