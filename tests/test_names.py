import pytest

from ckptkit import names
from ckptkit.errors import CkptkitError

MODELS = ("a", "penguins", "A-b_c.d", "0", "v1x", "nowhere", "README", "con-v", "a" * 96, "v", "1")
NO_MODELS = (
    *("", ".", "..", "/", "a/b", "a b", "a.", ".a", "_a", "-a", "a" * 97, "a\n", "\na", "é", "a\0", "a:b", "a@b", "~"),
    *("now", "NOW", "index.json", "Index.JSON", "README.md", "readme.MD", "v1", "V0001", "v123"),
    *("con", "NUL", "aux.txt", "com1", "LPT9.tar.gz"),
)


@pytest.mark.parametrize("name", MODELS)
def test_good_model_names(name: str) -> None:
    assert names.require_model(name) == name


@pytest.mark.parametrize("name", [*NO_MODELS, None, 5, ["a"]])
def test_bad_model_names(name: object) -> None:
    with pytest.raises(CkptkitError, match="no name for a dataset") as caught:
        names.require_model(name, "dataset")
    assert caught.value.hint
    assert "\n" not in caught.value.message


# As in MLflow's tests of alias names, less the length, which is 128 here.
@pytest.mark.parametrize(
    "alias", ["a", "Ab-5_", "test-alias", "1a2b5cDeFgH", "a" * 128, "lates", "v123_temp", "123", "123v", "temp_V123"]
)
def test_good_alias_names(alias: str) -> None:
    assert names.require_alias(alias) == alias
    assert names.require_alias(f"@{alias}") == alias


@pytest.mark.parametrize(
    "alias",
    [
        *("", ".", "/", "..", "//", "a b", "a/./b", "/a", "a/", ":", "\\", "./", "/./", "a" * 129, "$dgs", "@@a", "@"),
        *("v123", "V1", "latest", "Latest", "LATEST", "@latest", "a\n", "champion\n", "é", None, 1),
    ],
)
def test_bad_alias_names(alias: object) -> None:
    with pytest.raises(CkptkitError, match="alias"):
        names.require_alias(alias)


def test_names_that_differ_by_case_alone_are_refused() -> None:
    names.require_unlike("penguins", ["penguins", "whales"], "model")
    with pytest.raises(CkptkitError, match="'Penguins' differs from 'penguins'") as caught:
        names.require_unlike("Penguins", ["whales", "penguins"], "model")
    assert caught.value.hint == "call it penguins"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("v0002", 2), ("2", 2), ("v2", 2), ("V2", 2), ("00012", 12), ("v12345", 12345)),
        *(("0", None), ("v0000", None), ("", None), ("v", None), ("-1", None), ("1.0", None), ("2\n", None)),
        *(("٢", None), ("1" * 19, None), ("vv2", None), ("latest", None)),
    ],
)
def test_version_numbers_as_people_write_them(text: str, number: int | None) -> None:
    assert names.version_number(text) == number


@pytest.mark.parametrize("number", [1, 12, 9999, 10000, 123456])
def test_folder_names_are_written_one_way_only(number: int) -> None:
    name = names.version_name(number)
    assert names.folder_number(name) == number
    for other in (name[1:], name.upper(), f"v0{name[1:]}", f"{name}\n", f"{name}.bak"):
        assert names.folder_number(other) is None


def test_number_zero_is_no_version() -> None:
    assert names.folder_number("v0000") is None
