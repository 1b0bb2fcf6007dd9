"""Applies all registered scores to what is known of the examples, wherever that comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from proxyflow.scores import EARLY, Floats, Labels, ModelOutputs, ScoreInputs, at_epoch, known_scores
from proxyflow.scores.base import probabilities

CORRECT = "correct"  # share of the models that classify an example correctly


def apply_scores(inputs: ScoreInputs, early: Mapping[int, ModelOutputs]) -> dict[str, Floats]:
    """Computes all scores that the inputs allow, early ones also for each early epoch, and `correct`."""
    table: dict[str, Floats] = {}
    for name, each in known_scores.items():
        if not inputs.has(each.needs):
            continue
        table[name] = each.compute(inputs)
        if each.needs in EARLY:
            for epoch, outputs in early.items():
                table[at_epoch(name, epoch)] = each.compute(dataclasses.replace(inputs, early=outputs))
    assert inputs.model is not None
    table[CORRECT] = (inputs.model.logits.argmax(axis=1) == inputs.labels).astype(np.float64)
    return table


def confusion_of(logits: Floats, labels: Labels) -> Floats:
    """`(classes, classes)`, row c the mean predicted probabilities of examples of class c.

    Probabilities rather than predicted classes, so that rarely confused classes have informative rows, too.
    """
    predicted = probabilities(logits)
    table = np.zeros((predicted.shape[1], predicted.shape[1]))
    np.add.at(table, labels, predicted)
    counts = np.bincount(labels, minlength=len(table))
    return table / np.maximum(counts, 1)[:, None]
