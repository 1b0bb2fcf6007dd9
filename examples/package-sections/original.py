"""Classifies short texts by the mean embedding of their hashed words and word pairs."""

import argparse
import re
import zlib
from itertools import pairwise

import pandas as pd
import torch
from sklearn.model_selection import GroupShuffleSplit
from torch import nn


def hash_ngrams(text: str, buckets: int) -> list[int]:
    """Hashes of the words and of the pairs of neighbouring words; the same in every process."""
    words = re.findall(r"\w+", text.lower()) or [""]
    pairs = [f"{first} {second}" for first, second in pairwise(words)]
    return [zlib.crc32(ngram.encode()) % buckets for ngram in words + pairs]


class TextClassifier(nn.Module):
    def __init__(self, buckets: int, width: int, dropout: float, n_classes: int):
        super().__init__()
        self.embed = nn.EmbeddingBag(buckets, width, mode="mean")
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Dropout(dropout), nn.Linear(width, n_classes))

    def forward(self, ngrams: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        return self.head(self.embed(ngrams, offsets))


def make_batch(ngrams: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([0, *map(len, ngrams)])
    return torch.tensor([each for text in ngrams for each in text]), lengths.cumsum(0)[:-1]


def split(table: pd.DataFrame, part: float = 0.2) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and validation rows; a group's rows are all in one of them."""
    train, valid = next(GroupShuffleSplit(1, test_size=part, random_state=0).split(table, groups=table["group"]))
    return table.iloc[train], table.iloc[valid]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=".", help="folder with packages.csv: columns text, label and group")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--buckets", type=int, default=2**13)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    train, valid = split(pd.read_csv(f"{args.data}/packages.csv"))
    classes = sorted(train["label"].unique())
    train_x, valid_x = ([hash_ngrams(text, args.buckets) for text in part["text"]] for part in (train, valid))
    train_y, valid_y = (torch.tensor([classes.index(label) for label in part["label"]]) for part in (train, valid))

    model = TextClassifier(args.buckets, args.width, args.dropout, len(classes))
    optimizer = torch.optim.AdamW(model.parameters(), args.lr, weight_decay=args.weight_decay)
    for epoch in range(1, args.epochs + 1):
        model.train()
        for rows in torch.randperm(len(train_x)).split(args.batch_size):
            loss = nn.functional.cross_entropy(model(*make_batch([train_x[row] for row in rows])), train_y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            accuracy = (model(*make_batch(valid_x)).argmax(1) == valid_y).float().mean().item()
        print(f"epoch {epoch}: last loss {loss.item():.4f}, accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main()
