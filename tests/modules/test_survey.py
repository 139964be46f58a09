"""What training learns of its data before the first step, against scikit-learn."""

import random

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule, seed_everything
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.utils.class_weight import compute_class_weight
from torch.utils.data import (
    DataLoader,
    Dataset,
    RandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from lit_course.modules import LinearRegressor, MLPClassifier
from lit_course.scaling import ColumnStatistics


@pytest.fixture
def imbalanced(blobs):
    x, _ = blobs
    return x, torch.tensor([0] * 70 + [1] * 25 + [2] * 6)


@pytest.mark.parametrize("batch_size", [7, 101])
def test_statistics_of_a_foreign_loader_equal_standard_scaler(
    batch_size, make_trainer, loader, blobs
):
    model = MLPClassifier(4, 3, [5], normalization="batch", dropout=0.5)
    make_trainer().fit(model, loader(*blobs, batch_size, shuffle=True))
    reference = StandardScaler().fit(blobs[0].double().numpy())
    np.testing.assert_allclose(model.network.scaling.mean, reference.mean_, rtol=1e-6)
    np.testing.assert_allclose(model.network.scaling.std, reference.scale_, rtol=1e-6)
    assert model.network.scaling.count == 101


def test_polynomial_features_are_standardised_after_they_are_made(make_trainer, loader, line):
    model = LinearRegressor(3, degree=2)
    make_trainer().fit(model, loader(*line))
    expanded = PolynomialFeatures(2, include_bias=False).fit_transform(line[0].double().numpy())
    reference = StandardScaler().fit(expanded)
    np.testing.assert_allclose(model.network.scaling.mean, reference.mean_, rtol=1e-5)
    np.testing.assert_allclose(model.network.scaling.std, reference.scale_, rtol=1e-5)


def test_balanced_weights_equal_scikit_learns(make_trainer, loader, imbalanced):
    model = MLPClassifier(4, 3, [], class_weights="balanced", standardize=False)
    make_trainer().fit(model, loader(*imbalanced, shuffle=True))
    y = imbalanced[1].numpy()
    expected = compute_class_weight("balanced", classes=np.arange(3), y=y)
    np.testing.assert_allclose(model.loss.class_weights, expected, rtol=1e-6)
    assert model.hparams["class_weights"] == "balanced"


def test_a_class_that_never_occurs_has_weight_one(make_trainer, loader, imbalanced):
    x, y = imbalanced
    model = MLPClassifier(4, 4, [], class_weights="balanced")
    make_trainer().fit(model, loader(x, torch.where(y == 1, 3, y)))
    expected = [101 / (4 * 70), 1, 101 / (4 * 6), 101 / (4 * 25)]
    assert model.loss.class_weights.tolist() == pytest.approx(expected)


class Says(LightningDataModule):
    """A data module that knows more of its data than the model could count."""

    def __init__(self, data):
        super().__init__()
        self.data = data
        self.train_statistics = ColumnStatistics()
        self.train_statistics.update(torch.tensor([[0.0], [2.0]]).expand(2, 4))
        self.class_counts = torch.tensor([10, 20, 30])

    def train_dataloader(self):
        return self.data


def test_what_the_data_module_says_is_not_counted(make_trainer, loader, blobs):
    model = MLPClassifier(4, 3, [], class_weights="balanced", lr=0.0)
    make_trainer().fit(model, datamodule=Says(loader(*blobs)))
    assert model.network.scaling.mean.tolist() == [1.0] * 4
    assert model.network.scaling.count == 2
    assert model.loss.class_weights.tolist() == pytest.approx([2, 1, 2 / 3])


class Counting(Dataset):
    """Counts how often its samples are asked for, and draws from every global state doing so."""

    def __init__(self, x, y):
        self.x, self.y = x, y
        self.taken = 0

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        self.taken += 1
        noise = torch.rand(()) + random.random() + float(np.random.rand())
        return self.x[i] + noise, self.y[i]


LOADERS = {
    "shuffle": {"shuffle": True},
    "generator": {"shuffle": True, "generator": 1},
    "sampler": {"sampler": lambda d, g: RandomSampler(d, generator=g)},
    "weighted": {
        "sampler": lambda d, g: WeightedRandomSampler(torch.ones(len(d)), 101, generator=g)
    },
}


@pytest.mark.parametrize("kind", LOADERS)
def test_the_pass_is_one_and_leaves_every_random_state_alone(kind, make_trainer, imbalanced):
    """The same training, in the same order, with and without the pass."""

    def train(surveyed):
        seed_everything(1, verbose=False)
        data = Counting(*imbalanced)
        options = dict(LOADERS[kind])
        if "generator" in options:
            options["generator"] = torch.Generator().manual_seed(1)
        if "sampler" in options:
            options["sampler"] = options["sampler"](data, torch.Generator().manual_seed(1))
        model = MLPClassifier(4, 3, [8], optimizer="SGD", dropout=0.2, standardize=False)
        if surveyed:
            model.learn = lambda survey: (survey.class_counts, survey.num_samples)
        make_trainer(max_epochs=2).fit(model, DataLoader(data, 16, **options))
        return model.state_dict(), data.taken, (torch.rand(1), random.random(), np.random.rand())

    weights, taken, state = train(surveyed=False)
    weights_after, taken_after, state_after = train(surveyed=True)
    assert (taken, taken_after) == (2 * 101, 3 * 101)
    assert all(torch.equal(weights[key], weights_after[key]) for key in weights)
    assert state == state_after


def test_the_pass_reads_no_more_than_an_epoch_will(make_trainer, imbalanced):
    data = Counting(*imbalanced)
    model = MLPClassifier(4, 3, [8])
    make_trainer(limit_train_batches=2).fit(model, DataLoader(data, 8))
    assert data.taken <= 2 * 16 + 8  # Lightning itself looks one batch ahead
    assert model.network.scaling.count == 16


def test_the_pass_changes_neither_modes_nor_running_statistics(make_trainer, loader, blobs):
    model = MLPClassifier(4, 3, [5], normalization="batch", lr=0.0)
    model.network.linear1.eval()  # a user's own choice
    before = {name: layer.training for name, layer in model.named_modules()}
    after, batches = {}, []

    def learn(survey):
        assert survey.class_counts.sum() == 101
        after.update({name: layer.training for name, layer in model.named_modules()})
        batches.append(int(model.network.normalization1.num_batches_tracked))

    model.learn = learn
    with pytest.warns(UserWarning, match="eval mode at the start"):
        make_trainer().fit(model, loader(*blobs))
    assert after == before
    assert batches == [0]


def test_a_second_fit_keeps_the_scaling_it_was_trained_with(make_trainer, loader, blobs):
    x, y = blobs
    model = MLPClassifier(4, 3, [5])
    make_trainer().fit(model, loader(x, y))
    mean = model.network.scaling.mean.clone()
    make_trainer().fit(model, loader(x + 5, y))
    assert torch.equal(model.network.scaling.mean, mean)


@pytest.mark.parametrize("where", [0, 90])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_features_that_are_not_finite_are_refused(where, bad, make_trainer, loader, blobs):
    x, y = blobs
    x[where, 2] = bad
    with pytest.raises(ValueError, match="features must be finite, found NaN or infinity"):
        make_trainer().fit(MLPClassifier(4, 3, [5]), loader(x, y, 32))


@pytest.mark.parametrize("bad", [-1, 3])
@pytest.mark.parametrize("where", [0, 90])
@pytest.mark.parametrize("class_weights", [None, "balanced"])
def test_labels_outside_are_refused_wherever_they_are(
    bad, where, class_weights, make_trainer, loader, blobs
):
    x, y = blobs
    y[where] = bad
    model = MLPClassifier(4, 3, [5], class_weights=class_weights)
    with pytest.raises(ValueError, match=rf"labels must be in 0\.\.2, found {bad}"):
        make_trainer().fit(model, loader(x, y, 32))


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["gradient", "exact"])
def test_a_pass_before_training_leaves_the_batches_of_persistent_workers(
    solver, make_trainer, line
):
    data = DataLoader(TensorDataset(*line), 16, num_workers=2, persistent_workers=True)
    trainer = make_trainer()
    trainer.fit(LinearRegressor(3, solver=solver), data)
    assert trainer.fit_loop.epoch_loop.batch_progress.total.completed == 7
