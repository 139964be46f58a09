"""Freezing what shall stay; starting from trained weights."""

import warnings

import polars as pl
import pytest
import torch

from lit_course import ArrayDataModule, DataFrameDataModule
from lit_course.modules import LinearRegressor, MLPClassifier, MLPRegressor
from lit_course.modules.transfer import load_weights


@pytest.fixture
def trained(make_trainer, loader, blobs, tmp_path):
    """A checkpoint of a classifier with scaling, two hidden layers and batch normalisation."""
    model = MLPClassifier(4, 3, [8, 6], normalization="batch")
    trainer = make_trainer(max_epochs=2)
    trainer.fit(model, loader(*blobs))
    path = tmp_path / "trained.ckpt"
    trainer.save_checkpoint(path)
    return path, {key: value.clone() for key, value in model.network.state_dict().items()}


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_frozen_layers_do_not_change_by_a_bit(
    standardize, validate, weight_decay, make_trainer, loader, blobs
):
    frozen = ("linear1.", "normalization1.")
    model = MLPClassifier(
        4,
        3,
        [8, 6],
        normalization="batch",
        dropout=0.2,
        standardize=standardize,
        optimizer="AdamW",
        optimizer_options={"weight_decay": weight_decay},
        freeze=["network.linear1.*", "*.normalization1.*"],
    )
    before = {key: value.clone() for key, value in model.network.state_dict().items()}
    data = loader(*blobs)
    trainer = make_trainer(max_epochs=2)
    trainer.fit(model, data, data if validate else None)
    for key, value in model.network.state_dict().items():
        if not key.startswith("scaling"):
            assert torch.equal(value, before[key]) == key.startswith(frozen), key
    given = [id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]]
    names = {id(p): name for name, p in model.named_parameters()}
    assert {names[i] for i in given} == {
        f"network.{layer}.{kind}"
        for layer in ("linear2", "normalization2", "output")
        for kind in ("weight", "bias")
    }


def test_a_normalisation_layer_with_one_free_parameter_goes_on(make_trainer, loader, blobs):
    model = MLPClassifier(
        4, 3, [8], normalization="batch", freeze=["network.normalization1.weight"]
    )
    make_trainer().fit(model, loader(*blobs))
    assert model.network.normalization1.num_batches_tracked == 4
    assert model.network.normalization1.weight.eq(1).all()


def test_switching_modes_by_hand_leaves_frozen_layers_at_rest():
    model = MLPClassifier(4, 3, [8, 8], normalization="batch", freeze=["*.normalization1.*"])
    model.eval()
    model.train()
    assert model.network.linear1.training
    assert model.network.normalization2.training
    assert not model.network.normalization1.training


def test_frozen_layers_stay_frozen_in_a_loaded_checkpoint(make_trainer, loader, blobs, tmp_path):
    model = MLPClassifier(4, 3, [8], normalization="batch", freeze=["network.n*"])
    trainer = make_trainer()
    trainer.fit(model, loader(*blobs))
    trainer.save_checkpoint(tmp_path / "frozen.ckpt")
    again = MLPClassifier.load_from_checkpoint(tmp_path / "frozen.ckpt")
    assert not again.network.normalization1.weight.requires_grad
    make_trainer().fit(again, loader(*blobs))
    assert again.network.normalization1.num_batches_tracked == 0


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["network.linear3.*"], "freeze: 'network.linear3.*' matches no parameter\nparameters: "),
        (["network.output.*", "linear1"], "freeze: 'linear1' matches no parameter"),
        (["*"], "leaves no parameter to train"),
    ],
)
def test_patterns_that_match_nothing_or_everything_are_refused(patterns, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # compared as text below
        MLPClassifier(4, 3, [8], freeze=patterns)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 5


def test_the_parent_classes_freeze_still_works(make_trainer, loader, blobs):
    model = MLPClassifier(4, 3, [8])
    model.freeze()
    assert not any(p.requires_grad for p in model.parameters())
    assert not model.training
    model.unfreeze()
    assert all(p.requires_grad for p in model.parameters())
    make_trainer().fit(model, loader(*blobs))


# ---------------------------------------------------------------------------------- init_from


def fitted(path, make_trainer, data, **arguments):
    """A model that starts from a checkpoint and learns at a rate of zero."""
    model = MLPClassifier(**{"in_features": 4, "num_classes": 3, **arguments}, init_from=str(path))
    model.lr = 0.0
    make_trainer().fit(model, data)
    return model


def test_everything_that_fits_is_taken(trained, make_trainer, loader, blobs, caplog):
    path, weights = trained
    other = (blobs[0] * 3 + 7, blobs[1])
    with caplog.at_level("INFO"):
        model = fitted(path, make_trainer, loader(*other), hidden_features=[8, 6],
                       normalization="batch", freeze=["network.n*"])  # fmt: skip
    assert all(
        torch.equal(value, weights[key]) for key, value in model.network.state_dict().items()
    )
    assert "new: none" in caplog.text


def test_layers_that_do_not_fit_are_listed_and_start_new(
    trained, make_trainer, loader, blobs, caplog
):
    path, weights = trained
    x, y = blobs
    with caplog.at_level("INFO"):
        model = fitted(path, make_trainer, loader(x, y % 2), num_classes=2, hidden_features=[8, 7])
    now = model.network.state_dict()
    for key in ("scaling.mean", "scaling.std", "linear1.weight", "linear1.bias"):
        assert torch.equal(now[key], weights[key])
    assert "new: linear2.weight, linear2.bias, output.weight, output.bias" in caplog.text


def test_a_scaling_of_other_features_starts_new(trained, make_trainer, loader, blobs, caplog):
    """Its count has the same shape whatever the features: taken alone it would say 'fitted'."""
    x, y = blobs
    with caplog.at_level("INFO"):
        model = fitted(trained[0], make_trainer, loader(x[:, :2], y), in_features=2,
                       hidden_features=[8, 6])  # fmt: skip
    torch.testing.assert_close(model.network.scaling.mean, x[:, :2].mean(0))
    assert "new: scaling.mean, scaling.std, scaling.count, linear1.weight" in caplog.text
    assert torch.equal(model.network.linear2.weight, trained[1]["linear2.weight"])


def test_a_file_without_a_fitting_layer_is_refused(trained, make_trainer, loader, blobs):
    x, y = blobs
    with pytest.raises(ValueError, match=r"no layer of .* fits this network"):
        fitted(trained[0], make_trainer, loader(x[:, :2], y), in_features=2, hidden_features=[5])


def test_the_scaling_alone_is_no_start(trained):
    with pytest.raises(ValueError, match=r"no layer of .* fits this network"):
        load_weights(LinearRegressor(4), str(trained[0]))


@pytest.mark.parametrize(("names", "warns"), [(["cat", "dog"], True), (["high", "low"], False)])
def test_other_classes_are_said(make_trainer, tmp_path, blobs, names, warns):
    x, y = blobs[0], blobs[1] % 2
    first = ArrayDataModule(x, y, class_names=["high", "low"])
    trainer = make_trainer()
    trainer.fit(MLPClassifier(hidden_features=[4]), datamodule=first)
    trainer.save_checkpoint(tmp_path / "old.ckpt")
    heir = MLPClassifier(hidden_features=[4], init_from=str(tmp_path / "old.ckpt"))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        make_trainer().fit(heir, datamodule=ArrayDataModule(x, y, class_names=names))
    found = [str(w.message) for w in said if "what its last layer learned" in str(w.message)]
    assert bool(found) == warns
    assert not warns or "trained on 'high' where this data has 'cat'" in found[0]


def test_a_second_fit_goes_on_from_where_the_first_one_ended(trained, make_trainer, loader, blobs):
    model = MLPClassifier(4, 3, [8, 6], normalization="batch", init_from=str(trained[0]))
    make_trainer().fit(model, loader(*blobs))
    learned = model.network.output.weight.clone()
    model.lr = 0.0
    make_trainer().fit(model, loader(*blobs))
    assert torch.equal(model.network.output.weight, learned)


def test_a_reloaded_model_keeps_what_it_learned(trained, make_trainer, loader, blobs, tmp_path):
    path, start = trained
    model = MLPClassifier(4, 3, [8, 6], normalization="batch", init_from=str(path))
    trainer = make_trainer()
    trainer.fit(model, loader(*blobs))
    learned = model.network.output.weight.clone()
    assert not torch.equal(learned, start["output.weight"])
    trainer.save_checkpoint(tmp_path / "second.ckpt")
    again = MLPClassifier.load_from_checkpoint(tmp_path / "second.ckpt")
    again.lr = 0.0
    make_trainer().fit(again, loader(*blobs))
    assert torch.equal(again.network.output.weight, learned)
    assert again.hparams["init_from"] == str(path)


# ---------------------------------------------------------------------------------- runs and tables


def test_a_run_stands_for_its_best_checkpoint(trained, make_trainer, loader, blobs, tmp_path):
    path, weights = trained
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    path.rename(tmp_path / "run/checkpoints/best.ckpt")
    (tmp_path / "run/checkpoints/last.ckpt").write_text("not this one")
    model = fitted(tmp_path / "run", make_trainer, loader(*blobs), hidden_features=[8, 6],
                   normalization="batch", freeze=["network.n*"])  # fmt: skip
    assert all(
        torch.equal(value, weights[key]) for key, value in model.network.state_dict().items()
    )
    with pytest.raises(FileNotFoundError, match="checkpoint not found: nowhere"):
        load_weights(model, "nowhere")


def table(cities):
    size = [float(i) for i in range(60)]
    frame = pl.DataFrame({"size": size, "city": [cities[i % 3] for i in range(60)]})
    return frame.with_columns(price=3 * pl.col("size") + frame["city"].str.len_chars())


def test_other_levels_of_a_category_are_said(make_trainer, tmp_path):
    trainer = make_trainer()
    trainer.fit(MLPRegressor(), datamodule=DataFrameDataModule(table(["a", "b", "c"]), "price"))
    trainer.save_checkpoint(tmp_path / "old.ckpt")
    start = {"init_from": str(tmp_path / "old.ckpt")}
    make_trainer().fit(
        MLPRegressor(**start), datamodule=DataFrameDataModule(table(["c", "b", "a"]), "price")
    )
    with pytest.warns(UserWarning, match=r"on 'city' of \['a', .* has 'city' of \['d', "):
        make_trainer().fit(
            MLPRegressor(**start), datamodule=DataFrameDataModule(table(["d", "e", "f"]), "price")
        )


def test_a_frozen_part_of_a_table_stays(make_trainer, tmp_path):
    """Learned vectors, the scaling and the encoding are of the first fit, whatever comes."""
    trainer = make_trainer()
    data = DataFrameDataModule(table(["a", "b", "c"]), "price")
    first = MLPRegressor(hidden_features=[8, 8], one_hot_levels=0, normalization="batch")
    trainer.fit(first, datamodule=data)
    trainer.save_checkpoint(tmp_path / "old.ckpt")
    frozen = ("table.", "linear1.", "normalization1.")
    model = MLPRegressor(
        hidden_features=[8, 8],
        one_hot_levels=0,
        normalization="batch",
        init_from=str(tmp_path / "old.ckpt"),
        freeze=[f"network.{part}*" for part in frozen],
        optimizer_options={"weight_decay": 0.1},
    )
    other = table(["a", "b", "c"]).with_columns(pl.col("size") * 7)
    make_trainer(max_epochs=2).fit(model, datamodule=DataFrameDataModule(other, "price"))
    before = first.network.state_dict()
    for key, value in model.network.state_dict().items():
        assert torch.equal(value, before[key]) == key.startswith(frozen), key
