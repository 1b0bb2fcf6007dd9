"""A program that fits nothing: its loss depends on its hyperparameters, its data and its seed."""

import argparse
import json
import os
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--train", type=Path, required=True)
parser.add_argument("--width", type=float, required=True)
parser.add_argument("--kind", default="shallow")
parser.add_argument("--depth", type=float, default=0.0)
parser.add_argument("--epochs", type=int, required=True)
parser.add_argument("--seed", type=int, required=True)
args = parser.parse_args()

examples = sum(1 for path in args.train.rglob("*") if path.is_file())
with (Path(os.environ["PROXYFLOW_OUTPUT"]) / "metrics.jsonl").open("a") as file:
    for epoch in range(1, args.epochs + 1):
        loss = (args.width - 0.3) ** 2 + args.depth / 10 + (args.seed + 1) / (100 * epoch) + 10 / examples
        print(f"epoch {epoch}: loss {loss:.4f}")
        file.write(json.dumps({"epoch": epoch, "valid_loss": loss}) + "\n")
        file.flush()
