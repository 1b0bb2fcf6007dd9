"""Trains a small residual network on a folder of images with Lightning, logging to MLflow."""

import argparse
import os

import lightning as L
import torch
from lightning.pytorch.loggers import MLFlowLogger
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder


class Images(L.LightningDataModule):
    def __init__(self, folder: str, batch_size: int):
        super().__init__()
        self.folder, self.batch_size = folder, batch_size

    def setup(self, stage: str) -> None:
        transform = transforms.Compose([transforms.Grayscale(), transforms.ToTensor()])
        self.train_set = ImageFolder(f"{self.folder}/train", transform)
        self.valid_set = ImageFolder(f"{self.folder}/val", transform)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.train_set, self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.valid_set, 256)


class ResidualBlock(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.relu(images + self.norm(self.conv(images)))


class Classifier(L.LightningModule):
    def __init__(self, width: int, blocks: int, lr: float, weight_decay: float, n_classes: int = 10):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            *(ResidualBlock(width) for _ in range(blocks)),
            nn.AdaptiveMaxPool2d(2),
            nn.Flatten(),
            nn.Linear(4 * width, n_classes),
        )

    def training_step(self, batch, batch_idx: int) -> torch.Tensor:
        images, labels = batch
        loss = nn.functional.cross_entropy(self.net(images), labels)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx: int) -> None:
        images, labels = batch
        logits = self.net(images)
        self.log("valid_loss", nn.functional.cross_entropy(logits, labels))
        self.log("valid_accuracy", (logits.argmax(1) == labels).float().mean(), prog_bar=True)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), self.hparams.lr, weight_decay=self.hparams.weight_decay)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="digits", help="folder with train/CLASS/*.png and val/CLASS/*.png")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.003)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    L.seed_everything(args.seed)
    logger = MLFlowLogger(
        experiment_name="digits",
        tracking_uri=os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db"),
        run_id=os.environ.get("MLFLOW_RUN_ID"),
    )
    trainer = L.Trainer(max_epochs=args.epochs, logger=logger, enable_checkpointing=False, log_every_n_steps=10)
    model = Classifier(args.width, args.blocks, args.lr, args.weight_decay)
    trainer.fit(model, Images(args.data, args.batch_size))


if __name__ == "__main__":
    main()
