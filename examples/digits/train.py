"""Handwritten digits with scikit-learn: data that lives in memory, an estimator that is pickled."""

import pickle
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import ckptkit

MODEL = Path(__file__).resolve().parent / "model.pkl"

config = {
    "seed": 7,
    "optimizer": {"name": "lbfgs", "max_iter": 500, "tol": 1e-4},
    "schedule": "none: lbfgs chooses each step by line search",
    "batch_size": "all training rows",
    "C": 0.1,
    "preprocessing": {"scaling": "mean 0 and standard deviation 1 per pixel", "test_fraction": 0.25},
}

digits = load_digits()
x, x_test, y, y_test = train_test_split(
    digits.data,
    digits.target,
    test_size=config["preprocessing"]["test_fraction"],
    stratify=digits.target,
    random_state=config["seed"],
)
estimator = make_pipeline(
    StandardScaler(),
    LogisticRegression(C=config["C"], max_iter=config["optimizer"]["max_iter"], tol=config["optimizer"]["tol"]),
)
estimator.fit(x, y)
right = estimator.predict(x_test) == y_test
slices = {"digit": {str(d): {"value": right[y_test == d].mean(), "n": (y_test == d).sum()} for d in range(10)}}
metrics = {
    "accuracy": {"value": right.mean(), "split": "test", "n": len(y_test), "slices": slices},
    "loss": {"value": log_loss(y_test, estimator.predict_proba(x_test)), "split": "test", "n": len(y_test)},
}
print(f"accuracy {right.mean():.3f} on {len(y_test)} digits held out")
MODEL.write_bytes(pickle.dumps(estimator))
data = {"train": {"x": x, "y": y}, "test": {"x": x_test, "y": y_test}}
ckptkit.save(MODEL, model="digits", config=config, data=data, metrics=metrics, aliases=["candidate"])
