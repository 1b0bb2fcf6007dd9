"""Applies models to images in eval mode without augmentation, for logits and embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from proxyflow.data.images.batches import VALID_BATCH, DeviceImages
from proxyflow.data.images.store import ImageSet
from proxyflow.scores import ModelOutputs
from proxyflow.subsets import Subset
from proxyflow.trainers.images.arithmetic import memory_format_for, resolve_precision
from proxyflow.trainers.images.models import embeddings_of
from proxyflow.trainers.images.tf32 import fp32_arithmetic

if TYPE_CHECKING:
    from proxyflow.trainers.images.trainer import ImageTrainer


class ImagePredictor:
    """Images on a device, preprocessed as in training."""

    def __init__(self, trainer: ImageTrainer, subset: Subset, images: ImageSet, device: torch.device) -> None:
        preprocessing = subset.preprocessing.at(trainer.image_size)
        size = preprocessing.image_size
        self.device, self.precision = device, resolve_precision(trainer.precision, device, size)
        layout = memory_format_for(device, self.precision, size)
        self.images = DeviceImages(images, subset.classes, preprocessing, device, layout=layout)

    def __call__(
        self, model: torch.nn.Module, positions: NDArray[np.int64] | None = None, keep_embeddings: bool = False
    ) -> ModelOutputs:
        """Returns the outputs of a model, see `protocol.Predictor`.

        All batches have the same size, because kernels may round differently for another one; the last batch is padded.
        """
        on_host = np.arange(len(self.images)) if positions is None else positions
        n = len(on_host)
        assert n, "no images to predict"
        full = -(-n // VALID_BATCH) * VALID_BATCH
        on_host = np.concatenate((on_host, np.full(full - n, on_host[0])))
        # One copy: copying the positions of each batch would synchronize each time.
        index = torch.from_numpy(on_host).to(self.images.prepared.place)
        logits, lengths, embeddings = [], [], []
        model.eval()
        # The same fp32 mode as in training.
        with fp32_arithmetic(self.device, self.precision), torch.inference_mode(), embeddings_of(model) as taken:
            for begin in range(0, full, VALID_BATCH):
                part = slice(begin, begin + VALID_BATCH)
                logits.append(model(self.images.batch(index[part], on_host[part])).double())
                embedded = taken.pop()
                lengths.append(embedded.double().norm(dim=1))
                if keep_embeddings:
                    embeddings.append(embedded.float())
            kept = torch.cat(embeddings)[:n].cpu().numpy() if keep_embeddings else None
            return ModelOutputs(torch.cat(logits)[:n].cpu().numpy(), torch.cat(lengths)[:n].cpu().numpy(), kept)
