"""What a newcomer writes with other tools for a folder of pictures, a folder a gesture; ResNet-18 from scratch.

    python -m benchmarks.newcomers lightning FOLDER SEED     # a LightningModule as the Lightning-Hydra template has it
    python -m benchmarks.newcomers fastai FOLDER SEED        # fastai's Learner

Runs with any Python that has the tool, and prints its accuracies as JSON. `benchmarks.first_try` runs it.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

SIZE, BATCH, EPOCHS = 96, 32, 3
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def lightning(folder: Path, seed: int) -> dict[str, float]:
    """80 % train, 10 % choose the best epoch, 10 % test it."""
    import torch
    from lightning.pytorch import LightningModule, Trainer, seed_everything
    from lightning.pytorch.callbacks import ModelCheckpoint
    from torch.utils.data import DataLoader, random_split
    from torchmetrics.classification import MulticlassAccuracy
    from torchvision.datasets import ImageFolder
    from torchvision.models import resnet18
    from torchvision.transforms import Compose, Normalize, Resize, ToTensor

    class Classifier(LightningModule):
        def __init__(self, classes: int) -> None:
            super().__init__()
            self.network = resnet18(num_classes=classes)
            self.accuracies = torch.nn.ModuleDict(
                {part: MulticlassAccuracy(classes, average="micro") for part in ("train_", "val_", "test_")}
            )

        def step(self, batch: list[torch.Tensor], part: str) -> torch.Tensor:
            images, targets = batch
            logits = self.network(images)
            loss = torch.nn.functional.cross_entropy(logits, targets)
            self.accuracies[part](logits, targets)
            self.log(f"{part}loss", loss, prog_bar=True)
            measured: Any = self.accuracies[part]
            self.log(f"{part}accuracy", measured, on_step=False, on_epoch=True, prog_bar=True)
            return loss

        def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
            return self.step(batch, "train_")

        def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
            self.step(batch, "val_")

        def test_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
            self.step(batch, "test_")

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=1e-3)

    seed_everything(seed)
    pictures = ImageFolder(str(folder), Compose([Resize((SIZE, SIZE)), ToTensor(), Normalize(*IMAGENET)]))
    train, val, test = random_split(pictures, [0.8, 0.1, 0.1], torch.Generator().manual_seed(seed))
    loaders = [DataLoader(part, BATCH, shuffle=part is train) for part in (train, val, test)]
    with tempfile.TemporaryDirectory() as directory:
        best = ModelCheckpoint(directory, monitor="val_accuracy", mode="max")
        trainer = Trainer(max_epochs=EPOCHS, accelerator="cpu", callbacks=[best], default_root_dir=directory)
        trainer.fit(Classifier(len(pictures.classes)), loaders[0], loaders[1])
        [tested] = trainer.test(dataloaders=loaders[2], ckpt_path="best", weights_only=False)
        return {"validation": float(best.best_model_score or 0), "test": tested["test_accuracy"]}


def fastai(folder: Path, seed: int) -> dict[str, float]:
    """80 % train, the other 20 % validate; there is no test."""
    from fastai.vision.all import ImageDataLoaders, Learner, Normalize, Resize, accuracy, set_seed  # type: ignore
    from torchvision.models import resnet18

    set_seed(seed)
    loaders = ImageDataLoaders.from_folder(
        folder, valid_pct=0.2, seed=seed, bs=BATCH, item_tfms=Resize(SIZE), batch_tfms=Normalize.from_stats(*IMAGENET)
    )
    learner = Learner(loaders, resnet18(num_classes=loaders.c), metrics=accuracy)
    learner.fit_one_cycle(EPOCHS)
    return {"validation": float(learner.validate()[1])}


if __name__ == "__main__":
    found = {"lightning": lightning, "fastai": fastai}[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
    print(f"\n{json.dumps(found)}")  # below a progress bar
