"""Fits a linear classifier to a table, one pass over the rows after the other."""

import argparse

import mlflow
import pandas as pd
from sklearn.linear_model import SGDClassifier


def read(path: str) -> tuple[pd.DataFrame, pd.Series]:
    table = pd.read_csv(path).sample(frac=1, random_state=0)
    return table.drop(columns="label") / 16, table["label"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train-file", required=True, help="CSV file of numeric features and the column label")
    parser.add_argument("--valid-file", required=True)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--alpha", type=float, default=0.0001)
    parser.add_argument("--eta", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    x_train, y_train = read(args.train_file)
    x_valid, y_valid = read(args.valid_file)
    model = SGDClassifier(
        loss="log_loss", alpha=args.alpha, learning_rate="constant", eta0=args.eta, random_state=args.seed
    )
    with mlflow.start_run():
        for epoch in range(1, args.epochs + 1):
            model.partial_fit(x_train, y_train, classes=sorted(y_train.unique()))
            mlflow.log_metric("valid_accuracy", model.score(x_valid, y_valid), step=epoch)


if __name__ == "__main__":
    main()
