"""The classifier of train.py with more hyperparameters, as a function: `trainer: python:tuned:train`.

It can be reduced in every way: `size` is the number of words that are read of each text, `width` the share of the
embedding's width that is left, `batch` the largest batch size. The rows of test.csv are tested on once, after the last
epoch.

PACKAGES is the folder of packages.csv and test.csv; without it, they are next to this file. With PREDICTIONS, that file
gets the predictions of the training rows, which `score` takes.
"""

import functools
import os
import time
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from train import TextClassifier, hash_ngrams, make_batch

WORDS = 64
DEFAULTS = {
    "learning_rate": 0.01,
    "weight_decay": 0.0001,
    "batch_size": 64,
    "optimizer": "adam",
    "label_smoothing": 0.0,
    "dropout": 0.2,
    "width": 32,
    "buckets": 8192,
}


def folder():
    return Path(os.environ.get("PACKAGES", Path(__file__).parent))


@functools.cache
def read(name):
    return pd.read_csv(folder() / name)


@functools.cache
def read_ngrams(name, words, buckets):
    return [hash_ngrams(" ".join(text.split()[:words]), buckets) for text in read(name)["text"]]


def make_optimizer(model, config):
    """The optimizer, which does not decay weights, and its largest learning rate.

    SGD's rates are five times as large as others', so that one range serves all optimizers.
    """
    rate = config["learning_rate"]
    if config["optimizer"] == "sgd":
        return torch.optim.SGD(model.parameters(), 5 * rate, momentum=0.9), 5 * rate
    cls = {"adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop}[config["optimizer"]]
    return cls(model.parameters(), rate), rate


def predict(model, x):
    model.eval()
    with torch.no_grad():
        return torch.cat([model(*make_batch(x[at : at + 1000])) for at in range(0, len(x), 1000)])


def accuracy_of(logits, y):
    return (logits.argmax(1) == y).float().mean().item()


def train(job):
    config = {**DEFAULTS, **job.config}
    words = job.reduced.get("size", WORDS)
    width = max(1, round(config["width"] * job.reduced.get("width", 1)))
    batch_size = min(config["batch_size"], job.reduced.get("batch", config["batch_size"]), len(job.train))
    ngrams = read_ngrams("packages.csv", words, config["buckets"])
    train_x, valid_x = job.train.of(ngrams), job.valid.of(ngrams)
    train_y, valid_y = torch.from_numpy(job.train.labels), torch.from_numpy(job.valid.labels)

    torch.manual_seed(job.seed)
    model = TextClassifier(config["buckets"], width, config["dropout"], len(job.class_names))
    matrices = [each for each in model.parameters() if each.ndim > 1]
    optimizer, rate = make_optimizer(model, config)
    steps = len(train_x) // batch_size  # an epoch's
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=max(2, job.epochs * steps), pct_start=0.25, cycle_momentum=False
    )
    begun, validation = time.perf_counter(), 0.0
    for epoch in range(1, job.epochs + 1):
        model.train()
        total = 0.0
        for rows in torch.randperm(len(train_x)).split(batch_size)[:steps]:
            logits = model(*make_batch([train_x[row] for row in rows]))
            loss = nn.functional.cross_entropy(logits, train_y[rows], label_smoothing=config["label_smoothing"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():  # decoupled decay, which follows the schedule and not the rate
                for matrix in matrices:
                    matrix.mul_(1 - config["weight_decay"] * schedule.get_last_lr()[0] / rate)
            schedule.step()
            total += loss.item()
        validated = time.perf_counter()
        logits = predict(model, valid_x)
        valid_loss = nn.functional.cross_entropy(logits, valid_y).item()
        validation += time.perf_counter() - validated
        accuracy = accuracy_of(logits, valid_y)
        job.report(epoch=epoch, valid_accuracy=accuracy, valid_loss=valid_loss, train_loss=total / steps)
    # Of an n-gram's embedding and of the last layer: a multiplication and an addition, forward and twice backward.
    used = sum(map(len, train_x)) / len(train_x)
    seen = job.epochs * steps * batch_size
    result = {
        "train_seconds": time.perf_counter() - begun,
        "valid_seconds": validation,
        "steps": job.epochs * steps,
        "examples_seen": seen,
        "train_flops": 6.0 * width * (used + len(job.class_names)) * seen,
    }
    if (folder() / "test.csv").is_file():
        labels = torch.from_numpy(pd.Categorical(read("test.csv")["label"], job.class_names).codes.astype(int))
        logits = predict(model, read_ngrams("test.csv", words, config["buckets"]))
        result["test_accuracy"] = accuracy_of(logits, labels)
    if "PREDICTIONS" in os.environ:
        table = pd.DataFrame(predict(model, train_x).softmax(1).numpy(), columns=list(job.class_names))
        table.assign(id=job.train.ids).to_parquet(os.environ["PREDICTIONS"])
    return result


train.fidelities = ("data", "epochs", "size", "width", "batch")
