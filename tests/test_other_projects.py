"""Our modules beside what somebody else wrote: a data module with arguments of the same names."""

import pytest
import torch
import yaml
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader, TensorDataset

from lit_course import LinearRegressor, MLPClassifier, MLPRegressor


class TheirData(LightningDataModule):
    """Has hyperparameters that our modules have too, with other values, and saves them."""

    def __init__(
        self, lr: float = 7.0, batch_size: int = 16, optimizer: str = "theirs", schema: str = "mine"
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        torch.manual_seed(0)
        x = torch.randn(64, 3)
        self.classes = TensorDataset(x, (x[:, 0] > 0).long())
        self.numbers = TensorDataset(x, x.sum(1))
        self.regression = False

    def _loader(self) -> DataLoader:
        samples = self.numbers if self.regression else self.classes
        return DataLoader(samples, batch_size=self.hparams["batch_size"])

    train_dataloader = val_dataloader = test_dataloader = _loader


@pytest.mark.parametrize("logger", [TensorBoardLogger, CSVLogger])
@pytest.mark.parametrize(
    ("model", "sizes"),
    [
        (MLPClassifier, {"num_classes": 2, "hidden_features": [4]}),
        (MLPRegressor, {"out_features": 1, "hidden_features": [4]}),
        (LinearRegressor, {}),
    ],
)
def test_hyperparameters_of_the_same_names(tmp_path, logger, model, sizes):
    ours = model(in_features=3, lr=0.01, **sizes)
    data = TheirData()
    data.regression = model is not MLPClassifier
    trainer = Trainer(
        max_epochs=1,
        logger=logger(tmp_path),
        default_root_dir=tmp_path,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(ours, datamodule=data)
    assert ours.hparams["lr"] == 0.01
    assert data.hparams["lr"] == 7.0
    path = trainer.checkpoint_callback.best_model_path
    assert model.load_from_checkpoint(path).hparams["lr"] == 0.01
    (written,) = tmp_path.rglob("hparams.yaml")
    logged = yaml.safe_load(written.read_text())
    assert (logged["lr"], logged["optimizer"]) == (0.01, "Adam")
    trainer.test(ours, datamodule=data, verbose=False)
