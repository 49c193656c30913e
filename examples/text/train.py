"""Which word comes next? Softmax regression on the word before, on the text that prepare.py made into tokens."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import ckptkit

HERE = Path(__file__).resolve().parent
TOKENS = HERE / "data" / "tokens"

config = {
    "seed": 7,
    "optimizer": {"name": "gradient descent", "momentum": 0.9},
    "lr": 2.0,
    "schedule": "constant",
    "batch_size": "all pairs of words",
    "epochs": 300,
    "preprocessing": {"test_fraction": 0.25, "start": "<end>"},
}
vocabulary = json.loads((TOKENS / "vocabulary.json").read_text())
lines = [json.loads(line) for line in (TOKENS / "lines.jsonl").read_text().splitlines()]
order = np.random.default_rng(config["seed"]).permutation(len(lines))
test, train = np.split(order, [round(len(lines) * config["preprocessing"]["test_fraction"])])


def pairs(which):
    return np.array([pair for i in which for pair in zip([0, *lines[i]], lines[i], strict=False)]).T


def loss(weight, before, after):
    scores = weight[before] - weight[before].max(axis=1, keepdims=True)
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(after)), after]).mean(), p


before, after = pairs(train)
weight, velocity = np.zeros((len(vocabulary), len(vocabulary))), 0.0
for _ in range(config["epochs"]):
    error = loss(weight, before, after)[1] - np.eye(len(vocabulary))[after]
    gradient = np.zeros_like(weight)
    np.add.at(gradient, before, error / len(after))
    velocity = config["optimizer"]["momentum"] * velocity - config["lr"] * gradient
    weight += velocity

before, after = pairs(test)
cross_entropy = loss(weight, before, after)[0]
results = {"loss": cross_entropy, "perplexity": np.exp(cross_entropy)}
metrics = {name: {"value": value, "split": "test", "n": len(after)} for name, value in results.items()}
print(f"perplexity {results['perplexity']:.2f} on {len(after)} words held out")

save_file({"weight": weight.astype(np.float32)}, HERE / "model.safetensors")
data = {"train": TOKENS}
ckptkit.save(HERE / "model.safetensors", model="text", config=config, data=data, metrics=metrics, aliases=["candidate"])
