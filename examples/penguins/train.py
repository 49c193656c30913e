"""Softmax regression on the Palmer Penguins: of which species is this penguin?"""

import argparse
import csv
from pathlib import Path

import numpy as np
import yaml
from safetensors.numpy import save_file

import ckptkit

HERE = Path(__file__).resolve().parent
DATA, WEIGHTS = HERE / "penguins.csv", HERE / "model.safetensors"
SPECIES = ["Adelie", "Chinstrap", "Gentoo"]


def load(features):
    with DATA.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if "NA" not in row.values()]
    x = np.array([[float({"male": 1, "female": 0}.get(row[name], row[name])) for name in features] for row in rows])
    return x, np.array([SPECIES.index(row["species"]) for row in rows]), np.array([row["island"] for row in rows])


def predict(x, weight, bias):
    scores = x @ weight + bias
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def fit(x, y, config, rng):
    params = {"weight": np.zeros((x.shape[1], len(SPECIES))), "bias": np.zeros(len(SPECIES))}
    velocity = {name: np.zeros_like(value) for name, value in params.items()}
    batches = -(-len(x) // config["batch_size"])
    for epoch in range(config["epochs"]):
        for i, batch in enumerate(np.array_split(rng.permutation(len(x)), batches)):
            done = (epoch + i / batches) / config["epochs"]
            lr = config["lr"] * (0.5 + 0.5 * np.cos(np.pi * done) if config["schedule"] == "cosine" else 1)
            error = (predict(x[batch], **params) - np.eye(len(SPECIES))[y[batch]]) / len(batch)
            gradient = {"weight": x[batch].T @ error, "bias": error.sum(axis=0)}
            for name, slope in gradient.items():
                velocity[name] = config["optimizer"]["momentum"] * velocity[name] - lr * slope
                params[name] += velocity[name]
    return params


def evaluate(p, y, factors):
    right = p.argmax(axis=1) == y
    slices = {
        factor: {str(level): {"value": right[of == level].mean(), "n": (of == level).sum()} for level in np.unique(of)}
        for factor, of in factors.items()
    }
    loss = -np.log(p[np.arange(len(y)), y]).mean()
    return {
        "accuracy": {"value": right.mean(), "split": "test", "n": len(y), "slices": slices},
        "loss": {"value": loss, "split": "test", "n": len(y)},
    }


def main():
    config = yaml.safe_load((HERE / "config.yaml").read_text())
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("lr", "seed", "epochs"):
        parser.add_argument(f"--{name}", type=type(config[name]), default=config[name])
    config.update(vars(parser.parse_args()))

    rng = np.random.default_rng(config["seed"])
    x, y, island = load(config["preprocessing"]["features"])
    test, train = np.split(rng.permutation(len(x)), [round(len(x) * config["preprocessing"]["test_fraction"])])
    mean, std = x[train].mean(axis=0), x[train].std(axis=0)
    params = fit((x[train] - mean) / std, y[train], config, rng)
    p = predict((x[test] - mean) / std, **params)
    metrics = evaluate(p, y[test], {"species": np.array(SPECIES)[y[test]], "island": island[test]})
    print(f"accuracy {metrics['accuracy']['value']:.3f} on {len(test)} penguins held out")

    tensors = {**params, "mean": mean, "std": std}
    save_file({name: value.astype(np.float32) for name, value in tensors.items()}, WEIGHTS)
    data = {"penguins": DATA}
    ckptkit.save(WEIGHTS, model="penguins", config=config, data=data, metrics=metrics, aliases=["candidate"])


if __name__ == "__main__":
    main()
