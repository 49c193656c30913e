"""A small text, prepared in three steps: filter, deduplicate, tokenise. Each leaves a record beside what it wrote."""

import json
import re
from collections import Counter
from pathlib import Path

import ckptkit

HERE = Path(__file__).resolve().parent
DATA = HERE / "data"
CORPUS, KEPT, UNIQUE, TOKENS = HERE / "corpus.txt", DATA / "kept.txt", DATA / "unique.txt", DATA / "tokens"


def words(line):
    return re.findall(r"[a-z]+", line.lower())


def write(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines))


TOKENS.mkdir(parents=True, exist_ok=True)

with ckptkit.data_step("filter", inputs=[CORPUS], output=KEPT, params={"least_words": 4}) as step:
    lines = CORPUS.read_text().splitlines()
    write(KEPT, (line for line in lines if len(words(line)) >= step.params["least_words"]))

with ckptkit.data_step("deduplicate", inputs=[KEPT], output=UNIQUE, params={"compared": "lower-case words"}):
    first = {}
    for line in KEPT.read_text().splitlines():
        first.setdefault(tuple(words(line)), line)
    write(UNIQUE, first.values())

with ckptkit.data_step("tokenise", inputs=[UNIQUE], output=TOKENS, params={"unit": "word"}) as step:
    texts = [words(line) for line in UNIQUE.read_text().splitlines()]
    counts = Counter(word for text in texts for word in text)
    vocabulary = ["<end>", *sorted(counts, key=lambda word: (-counts[word], word))]
    number = {word: position for position, word in enumerate(vocabulary)}
    (TOKENS / "vocabulary.json").write_text(json.dumps(vocabulary, indent=0))
    write(TOKENS / "lines.jsonl", (json.dumps([*(number[word] for word in text), 0]) for text in texts))
    step.params["vocabulary"] = len(vocabulary)
