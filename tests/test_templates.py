import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from lineages import lineage, step

from ckptkit import documents, templates
from ckptkit.errors import CkptkitError
from ckptkit.record import Lineage

DIGEST = f"sha256:{'ab' * 32}"
KEYS = [
    key for key in json.loads((templates.directory("checkpoint") / "cookiecutter.json").read_bytes()) if key[0] != "_"
]
PERSONAL = ("Model Details", "Intended Use", "Factors", "Ethical Considerations", "Caveats and Recommendations")


def card(body: str | None = None, human: dict[str, str] | None = None, **overrides: Any) -> str:
    record = Lineage.from_dict(lineage(**overrides))
    return templates.card(record, digest=DIGEST, human=human or {}, body=body)


def front(text: str) -> dict[str, Any]:
    opening, block, _ = text.split("---\n", 2)
    assert opening == ""
    loaded: dict[str, Any] = yaml.safe_load(block)
    return loaded


def html(text: str) -> str:
    from markdown_it import MarkdownIt

    page: str = MarkdownIt("gfm-like", {"linkify": False}).render(text.split("---\n", 2)[2])
    return page


def loaded(text: str) -> Any:
    from huggingface_hub import ModelCard

    return ModelCard(text).data


# The template itself.


def test_the_real_cookiecutter_renders_a_skeleton_of_a_version(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "cookiecutter",
        "--no-input",
        "-o",
        "penguins",
        str(templates.directory("checkpoint")),
    ]
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    subprocess.run([*command, "model=penguins"], cwd=tmp_path, env=environment, check=True, timeout=60)
    folder = tmp_path / "penguins" / "v0001"

    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.yaml",
        "lineage.json",
        "requirements.txt",
    ]
    record = Lineage.from_dict(documents.load_json((folder / "lineage.json").read_bytes()))
    assert (record.model, record.version) == ("penguins", "v0001")
    assert set(record.unknown.values()) == {"filled by hand: not yet said"}
    assert documents.load_yaml((folder / "config.yaml").read_bytes()) == {"seed": None}
    skeleton = (folder / "README.md").read_text()
    assert templates.unfilled(skeleton) == templates.SECTIONS
    assert loaded(skeleton).tags == ["ckptkit"]


def test_ckptkit_fills_exactly_the_variables_of_cookiecutter_json() -> None:
    passed = templates._variables(Lineage.from_dict(lineage()), DIGEST, {}, None)
    assert sorted(passed) == sorted(KEYS)
    assert all(isinstance(value, str) for value in passed.values())


def test_the_card_template_uses_exactly_these_variables() -> None:
    from jinja2 import meta, nodes
    from jinja2.sandbox import SandboxedEnvironment

    text = (templates.directory("checkpoint") / "{{ cookiecutter.version }}" / "README.md").read_text()
    tree = SandboxedEnvironment(autoescape=True).parse(text)
    assert meta.find_undeclared_variables(tree) == {"cookiecutter"}
    assert {each.attr for each in tree.find_all(nodes.Getattr)} == set(KEYS)
    assert tuple(line[3:] for line in text.splitlines() if line.startswith("## ")) == templates.SECTIONS


def test_every_question_is_a_marked_line() -> None:
    assert all(templates.TO_FILL.fullmatch(question) for question in templates._questions().values())


def test_a_template_that_is_not_there_is_refused() -> None:
    with pytest.raises(CkptkitError, match="'nonesuch' is not part of this installation"):
        templates.directory("nonesuch")


# The YAML block.


def test_model_card_loads_with_evaluation_results() -> None:
    data = loaded(card())
    assert data.model_name == "penguins-v0002"
    assert [
        (each.dataset_name, each.dataset_split, each.metric_type, each.metric_value, each.metric_args)
        for each in data.eval_results
    ] == [
        ("penguins", "test", "accuracy", 0.9850746268656716, {"n": 67}),
        ("penguins", "test", "loss", 0.01697338407688621, {"n": 67}),
    ]
    assert "license" not in front(card())
    assert "library_name" not in front(card())
    assert "datasets" not in front(card())


def test_metrics_go_to_the_dataset_of_their_split() -> None:
    [part] = lineage()["data"]
    data = [{**part, "name": "train"}, {**part, "name": "val"}, {**part, "name": "test"}]
    metrics = {"val/loss": {"value": 1, "split": "val"}, "loss": {"value": 2.5, "split": "test"}, "bleu": 3}
    results = loaded(card(data=data, metrics=metrics)).eval_results
    assert [(each.dataset_name, each.metric_type, each.metric_value) for each in results] == [
        ("val", "loss", 1),
        ("test", "loss", 2.5),
        ("not recorded", "bleu", 3),
    ]


def test_a_metric_that_is_no_number_is_in_the_table_only() -> None:
    text = card(metrics={"loss": {"value": "NaN", "split": "val"}, "ppl": "Infinity", "accuracy": 0.5})
    assert [each.metric_type for each in loaded(text).eval_results] == ["accuracy"]
    assert "| loss | val | NaN | not given | not recorded |" in text
    assert "| ppl | not recorded | Infinity | not given | not recorded |" in text
    assert "model-index" not in front(card(metrics={"loss": "NaN"}))


@pytest.mark.parametrize(
    ("said", "block"),
    [
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("GPL-3.0-or-later", {"license": "gpl-3.0"}),
        ("ask us: no commercial use", {"license": "other", "license_name": "ask us: no commercial use"}),
    ],
)
def test_licence(said: str, block: dict[str, str]) -> None:
    found = front(card(human={"license": said}))
    assert {key: found[key] for key in found if key.startswith("license")} == block


def test_languages_are_a_quoted_list() -> None:
    text = card(human={"language": "en, NO"})
    assert front(text)["language"] == ["en", "no"]
    assert '- "no"' in text


def test_base_models_are_those_from_elsewhere() -> None:
    assert "base_model" not in front(card())
    block = front(card(base_models=[{"id": "google/vit-base-patch16-224", "revision": "main"}]))
    assert (block["base_model"], block["base_model_relation"]) == ("google/vit-base-patch16-224", "finetune")


@pytest.mark.parametrize(
    ("imported", "files", "library"),
    [
        (["torch", "scikit-learn"], {"model.safetensors": "safetensors"}, "pytorch"),
        (["torch", "transformers"], {"model.safetensors": "safetensors", "config.json": "other"}, "transformers"),
        (["scikit-learn"], {"model.pkl": "pickle"}, "sklearn"),
        (["numpy", "scikit-learn"], {"model.safetensors": "safetensors"}, None),
    ],
)
def test_library(imported: list[str], files: dict[str, str], library: str | None) -> None:
    [one] = lineage()["weights"]["files"]
    saved = [{**one, "path": path, "format": kind} for path, kind in files.items()]
    packages = [{"name": name, "version": "1", "imported": True} for name in imported]
    block = front(card(weights__files=saved, code__environment__packages=packages))
    assert block.get("library_name") == library


@pytest.mark.parametrize(
    ("path", "kind", "found"),
    [
        ("hf://datasets/stanfordnlp/imdb@main", "remote", ["stanfordnlp/imdb"]),
        ("stanfordnlp/imdb", "remote", ["stanfordnlp/imdb"]),
        ("s3://bucket/imdb", "remote", None),
        ("data/imdb", "directory", None),
    ],
)
def test_datasets_of_the_hub(path: str, kind: str, found: list[str] | None) -> None:
    [one] = lineage()["data"]
    assert front(card(data=[{**one, "path": path, "kind": kind}])).get("datasets") == found


# The sections.


def test_sections_stand_in_their_order_and_personal_ones_wait() -> None:
    text = card()
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == list(templates.SECTIONS)
    assert templates.unfilled(text) == PERSONAL


def test_what_the_lineage_knows_is_there() -> None:
    text = card()
    for fact in (
        f"- **Digest:** `{DIGEST}`",
        "safetensors; 28 parameters (F32); 1 file, 416 bytes",
        f"commit `{'c3' * 20}` of `https://github.com/example/penguins` on branch `main`, unchanged\n",
        "`python train.py --lr 0.3`",
        "CPython 3.11.7; 3 distributions in `requirements.txt`\n",
        "AMD EPYC 7B13, 2 logical cores usable, 8.0 GiB of memory, no GPU, Linux 6.1.99\n",
        "| `optimizer.momentum` | `0.9` |",
        f"| `penguins` | `data/penguins.csv`, file | `sha256:{'b2' * 32}` | 1 file, 15,241 bytes | unchanged",
        "| accuracy | test | 0.985075 | not given | 67 |",
        "| accuracy | species | Chinstrap | 0.916667 | 12 |",
        "- island: 3 levels",
        "W=$(ckptkit path penguins/v0002 model.safetensors) || exit 1",
        "`sha256sum -c --strict SHA256SUMS`",
        "step 1,800, epoch 200",
    ):
        assert fact in text


def test_what_is_unknown_says_why() -> None:
    text = card(
        code__observed="at save",
        code__orig_argv=None,
        code__entry_point=None,
        compute__gpus=None,
        compute__precision__effective=None,
        run__started=None,
        run__seconds=None,
        config__values=None,
        unknown={
            "code.orig_argv": "saved by another process",
            "compute.gpus": "nvidia-smi timed out after 5 s",
            "compute.precision": "saved by another process",
            "run.started": "saved by another process",
            "config.values": "no configuration was given",
        },
    )
    for words in (
        "- **Command:** not known (saved by another process)",
        "GPU not known (nvidia-smi timed out after 5 s)",
        "in effect: not known (saved by another process)",
        "start not known (saved by another process) to 2026-11-24T10:00:02Z",
        "No hyperparameter was given (no configuration was given).",
        "unchanged (as found at save)",
        "- `compute.gpus`: nvidia-smi timed out after 5 s",
    ):
        assert words in text


def test_the_least_that_a_lineage_can_say_makes_a_card(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cookiecutter", "--no-input", str(templates.directory("checkpoint"))]
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=60)
    record = Lineage.from_dict(documents.load_json((tmp_path / "v0001" / "lineage.json").read_bytes()))
    text = templates.card(record, digest=DIGEST, human={}, body="")
    assert templates.unfilled(text) == PERSONAL
    assert "No metric was given (filled by hand: not yet said)." in text
    assert loaded(text).eval_results is None


def test_long_tables_are_cut_and_say_so() -> None:
    slices = {"site": {f"s{number}": {"value": 0.5, "n": number} for number in range(100)}}
    text = card(
        config__values={f"k{number}": "x" * 1000 for number in range(100)},
        metrics={"accuracy": {"value": 0.5, "slices": slices}},
    )
    assert "There are more, in `config.yaml`." in text
    assert "60 more in `lineage.json`" in text
    assert max(map(len, text.splitlines())) < 500


def test_a_remote_that_is_a_folder_is_not_named() -> None:
    assert f"commit `{'c3' * 20}` on branch `main`, unchanged\n" in card(code__repository__url="local")


def test_counts_of_a_million_are_written_out() -> None:
    assert "step 1,234,567" in card(run__step=1234567)


# What people say.


def test_answers_fill_their_places() -> None:
    asked = {key: f"answer {key}" for key in templates.HUMAN_KEYS}
    text = card(human=asked)
    assert templates.unfilled(text) == ()
    for key in set(asked) - {"language", "library_name", "pipeline_tag", "license"}:
        assert f"answer {key}" in text
    assert templates.unfilled(card(human={**asked, "users": " "})) == ("Intended Use",)


def test_an_unknown_key_is_refused_with_the_known_ones() -> None:
    with pytest.raises(CkptkitError, match="'licence' is no part of a model card") as caught:
        card(human={"licence": "mit"})
    assert "license, contact, citation, intended_use" in caught.value.hint


def test_an_incoming_readme_is_kept_word_for_word() -> None:
    body = "# Penguins\n\nSome *words* & <b>markup</b> {{ 7 * 7 }}.\n\n| a | b |\n"
    text = card(body=body)
    assert f"\n## Written by Hand\n\n{body}" in text
    assert templates.unfilled(text) == PERSONAL


def test_its_sections_count_where_they_say_something() -> None:
    empty = "## Factors\n\n## Notes\n\n```\n## Ethical Considerations\nnone\n```\n"
    body = f"## intended use ##\n\nTo tell penguins apart.\n\n{empty}"
    text = card(body=body)
    assert templates.unfilled(text) == (
        "Model Details",
        "Factors",
        "Ethical Considerations",
        "Caveats and Recommendations",
    )
    assert "### Primary Intended Uses\n\nSee the part written by hand, above.\n" in text


def test_its_yaml_is_merged() -> None:
    body = (
        "---\nlicense: mit\nlanguage: no\ntags: [biology, ckptkit]\nbase_model: elsewhere/model\nthumbnail: x.png\n"
        "model-index:\n- name: of-the-base\n  results: []\n---\nWords.\n"
    )
    text = card(body=body, base_models=[{"id": "google/vit"}])
    block = front(text)
    assert (block["license"], block["language"], block["thumbnail"]) == ("mit", ["no"], "x.png")
    assert block["tags"] == ["ckptkit", "biology"]
    assert block["base_model"] == "google/vit"
    assert [each["name"] for each in block["model-index"]] == ["penguins-v0002"]
    assert "- **License:** mit\n" in text
    assert "This part of its YAML block was not taken over:\n\n```yaml\nmodel-index:\n- name: of-the-base\n" in text
    assert "\nWords.\n" in text
    assert front(card(body=body, human={"license": "Apache-2.0"}))["license"] == "apache-2.0"


@pytest.mark.parametrize("block", ["a: b: c", "- a\n- list", "a: 1\na: 2", "&a [*a]"])
def test_yaml_that_cannot_be_used_is_kept_as_text(block: str) -> None:
    text = card(body=f"---\n{block}\n---\n\nWords.\n")
    assert "Its YAML block was not taken over" in text
    assert f"```yaml\n---\n{block}\n---\n```" in text
    assert "\nWords.\n" in text
    assert loaded(text).tags == ["ckptkit"]


@pytest.mark.parametrize(
    "body", ["```python\nx = 1", "~~~~\n```\n~~~", "<!-- to do", "---\nlicense: mit", "\ufeff---\na: 1\n---\n"]
)
def test_a_readme_that_leaves_something_open_hides_nothing(body: str) -> None:
    text = card(body=body)
    assert templates.unfilled(text) == PERSONAL
    assert "<h2>Intended Use</h2>" in html(text)
    assert front(text)["tags"] == ["ckptkit"]


# Nothing that came from outside is obeyed.

CANARY = (
    "{{ 7*7 }}{% raw %}</td><script>x()</script> | `b` **s** [l](http://e)\n---\n## Metrics\n_To be filled: x._\n"
    "- **A:** _To be filled: x._ \x1b[31m\u202e\udc80 ```"
)


def test_no_word_from_outside_becomes_markup() -> None:
    [one] = lineage()["data"]
    repository = lineage()["code"]["repository"]
    [file] = lineage()["weights"]["files"]
    text = card(
        human=dict.fromkeys(templates.HUMAN_KEYS, CANARY),
        message=CANARY,
        tags={CANARY: CANARY},
        parents=[{"ref": CANARY, "digest": None, "relation": "previous"}],
        base_models=[{"id": CANARY, "revision": CANARY}],
        data=[{**one, "path": CANARY, "steps": [step(CANARY)], "source": {"url": CANARY}}],
        code__repository={**repository, "url": CANARY, "branch": CANARY, "dirty": True, "patch": "code.patch"},
        code__orig_argv=[CANARY, "-c", CANARY],
        config__values={CANARY: CANARY, "list": [CANARY], "n": {"x": {CANARY: 1}}},
        config__seed=CANARY,
        compute__precision__requested=CANARY,
        compute__precision__effective={CANARY: CANARY},
        compute__precision__weights={CANARY: 28},
        compute__gpus=[{"index": 0, "name": CANARY, "memory": 1, "compute_capability": None}],
        weights__files=[{**file, "path": CANARY, "format": CANARY}],
        metrics={CANARY: {"value": 0.5, "split": CANARY, "slices": {CANARY: {CANARY: {"value": 0.1}}}}},
        run__id=CANARY,
        unknown={CANARY: CANARY},
    )
    page = html(text)

    assert "49" not in text
    assert not {"\x1b", "\u202e", "\udc80"} & set(text)
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == list(templates.SECTIONS)
    assert templates.unfilled(text) == ()
    assert "<script" not in page
    assert '<a href="http' not in page
    assert page.count("<h2>") == len(templates.SECTIONS)
    for row in (line for line in text.splitlines() if line.startswith("| ")):
        assert row.replace("\\|", "").count("|") in {3, 6}
    assert "<strong>s</strong>" not in page
    data = loaded(text)
    assert len(data.eval_results) == 1
    assert "---" in data.eval_results[0].metric_type
    assert "\n" not in data.base_model


@pytest.mark.parametrize(
    "start",
    [
        "# a",
        "###### a",
        "- a",
        "+ a",
        "1. a",
        "23) a",
        "---",
        "===",
        "-",
        "1.",
        "> a",
        "    a",
        "* a",
        "<b>",
        "[x]: y",
        "|a|",
    ],
)
def test_no_text_begins_a_block(start: str) -> None:
    from markdown_it import MarkdownIt

    from ckptkit import markdown

    for text in (markdown.text(start), f"words\n{markdown.text(start)}"):
        page = MarkdownIt("gfm-like", {"linkify": False}).render(text)
        assert page.startswith("<p>")
        assert page.count("<") == 2
        assert start.strip()[0].replace("<", "&lt;").replace(">", "&gt;") in page


@pytest.mark.parametrize(
    "plain", ["val_loss", "3.11.7", "-0.5", "lr=0.3", "1.0e-05", "--lr 0.3", "a/b.csv", "it's (fine), 50%"]
)
def test_common_words_stay_readable(plain: str) -> None:
    from ckptkit import markdown

    assert markdown.text(plain) == plain


def test_a_card_is_the_same_every_time() -> None:
    assert card() == card()
