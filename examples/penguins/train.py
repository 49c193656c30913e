"""Softmax regression on the Palmer Penguins: of which species is this penguin?"""

import argparse
import csv
from pathlib import Path

import numpy as np
import yaml
from safetensors.numpy import save_file

import ckptkit

HERE = Path(__file__).resolve().parent
SPECIES = ["Adelie", "Chinstrap", "Gentoo"]
SEX = {"female": 0, "male": 1}

config = yaml.safe_load((HERE / "config.yaml").read_text())
parser = argparse.ArgumentParser(description=__doc__)
for name in ("lr", "seed", "epochs"):
    parser.add_argument(f"--{name}", type=type(config[name]), default=config[name])
config.update(vars(parser.parse_args()))
run = ckptkit.start(model="penguins", config=config, data={"penguins": HERE / "penguins.csv"})
rng = np.random.default_rng(config["seed"])

rows = [row for row in csv.DictReader((HERE / "penguins.csv").read_text().splitlines()) if "NA" not in row.values()]
features = config["preprocessing"]["features"]
x = np.array([[float(SEX.get(row[name], row[name])) for name in features] for row in rows])
y = np.array([SPECIES.index(row["species"]) for row in rows])
test, train = np.split(rng.permutation(len(x)), [round(len(x) * config["preprocessing"]["test_fraction"])])
mean, std = x[train].mean(axis=0), x[train].std(axis=0)
x = np.hstack([(x - mean) / std, np.ones((len(x), 1))])


def predict(x, weight):
    scores = np.exp(x @ weight - (x @ weight).max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


weight, velocity = np.zeros((x.shape[1], 3)), np.zeros((x.shape[1], 3))
for epoch in range(config["epochs"]):
    lr = config["lr"] * (1 + np.cos(np.pi * epoch / config["epochs"])) / 2  # the cosine schedule
    order = rng.permutation(train)
    for batch in np.array_split(order, -(-len(order) // config["batch_size"])):
        error = predict(x[batch], weight) - np.eye(3)[y[batch]]
        velocity = config["optimizer"]["momentum"] * velocity - lr * x[batch].T @ error / len(batch)
        weight += velocity

p = predict(x[test], weight)
right = p.argmax(axis=1) == y[test]
slices = {}
for factor in ("species", "island"):
    level = np.array([rows[i][factor] for i in test])
    slices[factor] = {str(v): {"value": right[level == v].mean(), "n": (level == v).sum()} for v in np.unique(level)}
accuracy = {"value": right.mean(), "split": "test", "n": len(test), "slices": slices}
loss = {"value": -np.log(p[np.arange(len(test)), y[test]]).mean(), "split": "test", "n": len(test)}
print(f"accuracy {right.mean():.3f} on {len(test)} penguins held out")

tensors = {"weight": weight, "mean": mean, "std": std}
save_file({name: value.astype(np.float32) for name, value in tensors.items()}, HERE / "model.safetensors")
run.save(HERE / "model.safetensors", metrics={"accuracy": accuracy, "loss": loss}, aliases=["candidate"])
