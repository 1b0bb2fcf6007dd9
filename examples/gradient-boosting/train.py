"""Fits gradient boosting to a table and logs everything to MLflow."""

import argparse

import mlflow
import pandas as pd
from sklearn import metrics
from sklearn.ensemble import HistGradientBoostingClassifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=".", help="folder with digits.csv: features, and the column label")
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--leaves", type=int, default=31)
    parser.add_argument("--min-samples-leaf", type=int, default=20)
    parser.add_argument("--l2", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    train, valid = (pd.read_csv(f"{args.data}/{part}.csv") for part in ("train", "valid"))
    x_train, y_train = train.drop(columns="label"), train["label"]
    x_valid, y_valid = valid.drop(columns="label"), valid["label"]

    mlflow.autolog(log_models=False)
    model = HistGradientBoostingClassifier(
        max_iter=args.iterations,
        learning_rate=args.learning_rate,
        max_leaf_nodes=args.leaves,
        min_samples_leaf=args.min_samples_leaf,
        l2_regularization=args.l2,
        random_state=args.seed,
    )
    model.fit(x_train, y_train)
    loss = metrics.log_loss(y_valid, model.predict_proba(x_valid))  # autologged as log_loss_x_valid
    print(f"validation log loss {loss:.4f}")


if __name__ == "__main__":
    main()
