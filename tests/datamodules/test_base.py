import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from sklearn.preprocessing import StandardScaler

from lit_course.datamodules import Samples, Split, SupervisedDataModule
from lit_course.datamodules.batches import Batches

GENERATOR = torch.Generator().manual_seed(0)
X = 100 + torch.randn(5000, 3, generator=GENERATOR)
LABELS = torch.randint(3, (5000,), generator=GENERATOR)


class Table(SupervisedDataModule):
    """Counts how often it is read; a regression if ``num_classes`` is ``None``."""

    num_classes_given: int | None = 3
    reads = 0

    def load(self) -> dict[str, Split]:
        self.reads += 1
        y = X[:, 0].clone() if self.num_classes_given is None else LABELS
        return self.cut(Samples(X, y, self.num_classes_given, feature_names=["a", "b", "c"]))


class Recorder(LightningModule):
    """Notes the rows (their first feature is unique) that each stage sees."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: dict[str, list[float]] = {}

    def note(self, batch):
        stage = self.trainer.state.stage.value
        self.seen.setdefault(stage, []).extend(batch[0][:, 0].tolist())
        return self.weight.sum()

    def training_step(self, batch, batch_idx):
        return self.note(batch)

    def validation_step(self, batch, batch_idx):
        self.note(batch)

    def test_step(self, batch, batch_idx):
        self.note(batch)

    def predict_step(self, batch, batch_idx):
        return batch[2]["row"]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(**flags) -> Trainer:
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_epochs": 1, "num_sanity_val_steps": 0, **flags},
    )


def first_features(split: Split) -> list[float]:
    return split.samples.x[split.rows, 0].tolist()


def test_every_stage_works_by_itself_and_sees_its_split():
    reference = Table(batch_size=700)
    reference.setup()
    splits = reference.load()
    for verb, stage, name in (
        ("fit", "train", "train"),
        ("validate", "validate", "val"),
        ("test", "test", "test"),
    ):
        recorder = Recorder()
        run = trainer()
        arguments = {} if verb == "fit" else {"verbose": False}
        getattr(run, verb)(recorder, datamodule=Table(batch_size=700), **arguments)
        assert sorted(recorder.seen[stage]) == sorted(first_features(splits[name]))
        if stage != "train":
            assert recorder.seen[stage] == first_features(splits[name])


def test_prediction_brings_row_numbers_in_data_set_order():
    data = Table(batch_size=170)
    rows = torch.cat(trainer().predict(Recorder(), datamodule=data))
    assert torch.equal(rows, data.load()["test"].rows)


def test_prediction_without_a_test_split_takes_every_row():
    data = Table(batch_size=700, test_size=0)
    rows = torch.cat(trainer().predict(Recorder(), datamodule=data))
    assert rows.tolist() == list(range(5000))


@pytest.mark.filterwarnings("ignore:Total length of `list`")  # Lightning asks: is it intended?
def test_an_empty_validation_split_is_left_out():
    data = Table(batch_size=700, val_size=0)
    recorder = Recorder()
    trainer().fit(recorder, datamodule=data)
    assert data.val_dataloader() == []
    assert list(recorder.seen) == ["train"]


@pytest.mark.parametrize(("stage", "size"), [("validate", "val_size"), ("test", "test_size")])
def test_refuses_a_stage_without_rows(stage, size):
    with pytest.raises(ValueError, match=f"Table has no rows to {stage} on: .* with {size}"):
        Table(**{size: 0}).setup(stage)


def test_data_is_read_once():
    data = Table()
    for stage in ("fit", "validate", "test", "predict"):
        data.setup(stage)
    assert data.reads == 1


def test_training_shuffles_and_drops_evaluation_does_not():
    data = Table(batch_size=999, drop_last=True, seed=4)
    data.setup("fit")
    train, val = data.train_dataloader(), data.val_dataloader()
    assert isinstance(val, Batches)
    assert train.num_samples == 4000
    assert len(train) == 4
    assert train.shuffle
    assert len(val) == 1
    assert not val.shuffle
    x, y = next(iter(train))
    assert x.dtype == torch.float32
    assert y.dtype == torch.int64
    fixed = Table(shuffle=False)
    fixed.setup("fit")
    assert not fixed.train_dataloader().shuffle


def test_overfit_batches_sees_the_same_batch_each_epoch():
    recorder = Recorder()
    trainer(max_epochs=2, overfit_batches=1).fit(recorder, datamodule=Table(batch_size=50))
    seen = recorder.seen["train"]
    assert seen[:50] == seen[50:]


def test_two_modules_of_one_seed_give_the_same_batches():
    def batches(seed: int) -> torch.Tensor:
        data = Table(seed=seed)
        data.setup("fit")
        return torch.cat([x for x, _ in data.train_dataloader()])

    torch.manual_seed(1)
    first = batches(0)
    torch.manual_seed(2)
    assert torch.equal(batches(0), first)
    assert not torch.equal(batches(1), first)


def test_what_the_data_says_of_itself():
    data = Table(val_size=0.2, test_size=100)
    data.setup("fit")
    train = data.load()["train"].rows
    assert data.split_sizes == {"train": 3900, "val": 1000, "test": 100}
    assert data.in_features == 3
    assert data.num_classes == 3
    assert data.out_features is None
    assert data.schema["feature_names"] == ["a", "b", "c"]
    assert torch.equal(data.class_counts, LABELS[train].bincount())
    assert data.class_counts.dtype == torch.int64


def test_a_regression_has_no_classes():
    data = Table()
    data.num_classes_given = None
    data.setup("fit")
    assert data.num_classes is None
    assert data.class_counts is None
    assert data.out_features == 1
    assert torch.equal(data.train_targets, X[data.load()["train"].rows, 0])


def test_statistics_are_those_of_the_training_rows():
    data = Table()
    data.setup("fit")
    scaler = StandardScaler().fit(X[data.load()["train"].rows].double().numpy())
    statistics = data.train_statistics
    assert statistics.count == 4000
    torch.testing.assert_close(statistics.mean, torch.from_numpy(scaler.mean_))
    torch.testing.assert_close(statistics.std, torch.from_numpy(scaler.scale_))
    assert data.train_statistics is statistics


@pytest.mark.parametrize(
    "attribute",
    [
        *("in_features", "num_classes", "out_features", "schema", "split_sizes"),
        *("train_statistics", "train_targets", "class_counts"),
    ],
)
def test_refuses_to_answer_before_setup(attribute):
    with pytest.raises(RuntimeError, match=rf'Table.{attribute} .* call setup\("fit"\) first'):
        getattr(Table(), attribute)


@pytest.mark.parametrize("split", ["train", "val", "test", "predict"])
def test_refuses_loaders_before_setup(split):
    with pytest.raises(RuntimeError, match=rf"Table.{split}_dataloader\(\)"):
        getattr(Table(), f"{split}_dataloader")()


def test_the_base_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        SupervisedDataModule()


def test_hyperparameters_are_left_to_the_model():
    assert dict(Table().hparams) == {}
