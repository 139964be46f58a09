"""The ranker: references, whole queries, one checkpoint, and what it refuses."""

import json
import math

import numpy as np
import polars as pl
import pytest
import torch
from lightning.pytorch import LightningDataModule
from sklearn.linear_model import LinearRegression, LogisticRegression
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.data import DataLoader

from lit_course import (
    ArrayDataModule,
    CSVDataModule,
    MLPRegressor,
    Ranker,
    SyntheticQueriesDataModule,
)
from lit_course.callbacks import BestCheckpoint
from lit_course.datamodules.query_batches import QueryBatches
from lit_course.queries import Queries
from lit_course.ranking_losses import RANKING_LOSSES, make_ranking_loss
from lit_course.ranking_metrics import metric_names, values_of_queries

QUICK = {
    "optimizer": "LBFGS",
    "lr": 1.0,
    "optimizer_options": {"line_search_fn": "strong_wolfe", "max_iter": 100},
}
slow = pytest.mark.slow


@pytest.fixture
def items():
    """30 queries of 1 to 12 items; relevance 0 to 2 is nearly linear in the first of 4 features."""
    generator = torch.Generator().manual_seed(0)
    sizes = torch.randint(1, 13, (30,), generator=generator)
    group = torch.arange(30).repeat_interleave(sizes)
    x = torch.randn(len(group), 4, generator=generator) * torch.tensor([1.0, 10.0, 0.1, 3.0])
    goodness = x[:, 0] + 0.3 * torch.randn(len(group), generator=generator)
    return x, torch.bucketize(goodness, torch.tensor([0.0, 1.0])).float(), group


def batches(x, y, group, queries=4):
    """A foreign loader of whole queries."""
    cuts = torch.arange(int(group.max()) + 1).split(queries)
    masks = [torch.isin(group, cut) for cut in cuts]
    return whole([(x[mask], y[mask], {"group": group[mask]}) for mask in masks])


def whole(batches):
    """A foreign loader of these batches."""
    return DataLoader(batches, batch_size=None)


def expected_values(model, x, y, group):
    """Every metric by its name, of the model's scores."""
    with torch.no_grad():
        scores = model.eval()(x)
    begins = torch.ones(len(group))
    begins[1:] = (group[1:] != group[:-1]).float()
    values = values_of_queries(scores, y, Queries.begin(begins), model.top_k)
    return {name: float(value.nan_to_num(0).mean()) for name, value in values.items()}


# ------------------------------------------------------------------------- references


def test_linear_ranknet_is_logistic_regression_of_differences(items, make_trainer):
    """Of one query, its loss is the mean over pairs, and so is scikit-learn's without a penalty."""
    x, y, _ = items
    model = Ranker(4, loss="ranknet", standardize=False, **QUICK)
    make_trainer(max_epochs=5).fit(model, whole([(x, y, {"group": torch.zeros(len(x)).long()})]))
    pairs = [(i, j) for i in range(len(y)) for j in range(len(y)) if y[i] > y[j]]
    differences = np.stack([(x[i] - x[j]).numpy() for i, j in pairs])
    both = np.concatenate([differences, -differences])
    labels = np.arange(len(both)) < len(differences)
    reference = LogisticRegression(C=1e9, fit_intercept=False, tol=1e-8, max_iter=1000)
    expected = reference.fit(both, labels).coef_
    found = model.network.output.weight.detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)


def test_pointwise_of_queries_of_one_size_is_linear_regression(make_trainer):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(60, 3, generator=generator)
    y = (x @ torch.tensor([1.0, -2.0, 0.5])).abs()
    model = Ranker(3, loss="mse", **QUICK)
    make_trainer(max_epochs=5).fit(model, whole([(x, y, {"group": torch.arange(60) // 5})]))
    expected = LinearRegression().fit(x, y).predict(x)
    np.testing.assert_allclose(model(x).detach(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "loss", [pytest.param(n, marks=[] if n == "lambdarank" else slow) for n in RANKING_LOSSES]
)
def test_it_learns_an_order_that_no_line_has(loss, make_trainer):
    torch.manual_seed(0)
    x = torch.randn(120, 2)
    y, group = (x.norm(dim=1) * 1.5).floor().clamp(max=4), torch.arange(120) // 12
    data = whole([(x, y, {"group": group})])
    scores = []
    for hidden in ([], [32]):
        model = Ranker(2, hidden, loss=loss, lr=0.03)
        make_trainer(max_epochs=60).fit(model, data)
        (tested,) = make_trainer().test(model, data, verbose=False)
        scores.append(tested["test/ndcg@5"])
    assert scores[1] > 0.97 > scores[0]


# ------------------------------------------------------------------------- whole queries


@pytest.mark.parametrize("size", [1, 4, 30])
def test_values_are_of_the_whole_split_whatever_the_batches(size, items, make_trainer):
    torch.manual_seed(0)
    model = Ranker(4, [8])
    (tested,) = make_trainer().test(model, batches(*items, size), verbose=False)
    x, y, group = items
    expected = expected_values(model, *items)
    begins = torch.ones(len(group))
    begins[1:] = (group[1:] != group[:-1]).float()
    loss = make_ranking_loss("lambdarank", {}, "exponential")
    expected["loss"] = float(loss(model(x).detach(), torch.stack([y, begins], 1)))
    found = {name.removeprefix("test/"): value for name, value in tested.items()}
    assert found == pytest.approx(expected, abs=1e-6)


def test_queries_may_be_counted_anew_in_each_batch(items, make_trainer):
    """Two queries of the same number that follow each other in different batches are two."""
    model = Ranker(4, [8])
    each = batches(*items, 1)
    renamed = [(x, y, {"group": torch.zeros_like(extras["group"])}) for x, y, extras in each]
    (one,) = make_trainer().test(model, each, verbose=False)
    (other,) = make_trainer().test(model, whole(renamed), verbose=False)
    assert one == other


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_the_parts_of_any_number_of_processes_add_up(processes, items, make_trainer):
    """Their sums; ``distributed_job.py`` starts real ones."""
    model = Ranker(4, [8])
    sums = counts = 0
    for rank in range(processes):
        x, y, group = items
        part = QueryBatches(
            x, y, group, batch_size=4, rank=rank, world_size=processes, in_step=False
        )
        model.test_metrics.reset()
        for batch in part:
            model._step(batch, "test")
        model.test_metrics.feed()
        metric = model.test_metrics.metrics["ndcg@3"]
        sums, counts = sums + metric.sums, counts + metric.counts
    expected = expected_values(model, *items)
    for name, value in zip(metric_names(model.top_k), sums / counts, strict=True):
        assert float(value) == pytest.approx(expected[name], abs=1e-12), name


def test_a_batch_without_queries_counts_nothing(items, make_trainer):
    """Of several processes one may have nothing to evaluate."""
    x, y, group = items
    nothing = (x[:0], y[:0], {"group": group[:0]})
    full = list(batches(*items))
    model = Ranker(4, [8])
    (one,) = make_trainer().test(model, whole(full), verbose=False)
    (other,) = make_trainer().test(model, whole([nothing, *full, nothing]), verbose=False)
    assert one == other
    assert all(len(v) == 0 for v in make_trainer().predict(model, whole([nothing]))[0].values())


def test_training_reports_its_queries(items, make_trainer):
    model = Ranker(4, lr=0.0)
    trainer = make_trainer()
    trainer.fit(model, batches(*items), batches(*items))
    values = {name: float(value) for name, value in trainer.callback_metrics.items()}
    for name, value in expected_values(model, *items).items():
        for stage in ("train", "val"):
            assert values[f"{stage}/{name}"] == pytest.approx(value, abs=1e-6), name
    assert values["train/loss"] == pytest.approx(values["val/loss"])


def test_options_of_the_metrics_reach_them(items, make_trainer):
    x, y, group = items
    y = y.where(group > 3, 0)
    values = {}
    for action in ("neg", "pos", "skip"):
        torch.manual_seed(0)
        model = Ranker(
            4, top_k=[2], gain="linear", relevance_threshold=2, empty_target_action=action
        )
        (tested,) = make_trainer().test(model, batches(x, y, group), verbose=False)
        assert set(tested) == {
            f"test/{name}" for name in ("loss", "mrr", "ndcg@2", "map@2", "precision@2", "recall@2")
        }
        values[action] = tested
    empty = sum(float(y[group == q].max()) < 2 for q in range(30)) / 30
    nothing = sum(float(y[group == q].max()) == 0 for q in range(30)) / 30
    assert 0 < nothing < empty < 1
    for name, value in values["neg"].items():
        if name != "test/loss":
            share = nothing if "ndcg" in name else empty
            assert values["pos"][name] == pytest.approx(value + share)
            assert values["skip"][name] == pytest.approx(value / (1 - share))


# ------------------------------------------------------------------------- what is refused


def bad(items, change):
    x, y, group = (value.clone() for value in items)
    extras = {"group": group}
    if change == "no group":
        return x, y
    if change == "no group in extras":
        return x, y, {}
    if change == "torn":
        group[-1] = 0
    if change == "short group":
        extras = {"group": group[:-1]}
    if change == "weights":
        extras["weight"] = torch.ones(len(x))
    if change == "two columns":
        y = torch.stack([y, y], 1)
    if change == "a row too few":
        y = y[:-1]
    if change == "negative":
        y[3] = -1
    if change == "nan":
        y[3] = math.nan
    if change == "too large":
        y[3] = 1000
    if change == "nan feature":
        x[2, 1] = math.nan
    return x, y, extras


@pytest.mark.parametrize("stage", ["fit", "test"])
@pytest.mark.parametrize(
    ("change", "message"),
    {
        "no group": "needs to know the query of each item: give batches of whole queries",
        "no group in extras": "needs to know the query of each item",
        "torn": "items of query 0 do not stand together in a batch: sort the data by query",
        "short group": r"group must be of shape \(\d+,\), found \(\d+,\)",
        "weights": "ranking takes no weights of items: leave them out",
        "two columns": r"relevance must be of shape \(\d+,\), found \(\d+, 2\)",
        "a row too few": r"relevance must be of shape \(\d+,\), found \(\d+,\)",
        "negative": "relevance must be 0 or more and finite, found -1",
        "nan": "relevance must be 0 or more and finite, found nan",
        "too large": "for grades up to 50, found 1000: set gain to linear",
        "nan feature": "features must be finite",
    }.items(),
)
def test_bad_batches_are_refused(stage, change, message, items, make_trainer):
    model = Ranker(4, standardize=False)
    with pytest.raises(ValueError, match=message) as caught:
        getattr(make_trainer(), stage)(model, whole([bad(items, change)]))
    assert len(str(caught.value).splitlines()) <= 5


def test_bad_relevance_is_found_behind_the_first_batch_too(items, make_trainer):
    x, y, group = items
    y = y.clone()
    y[-1] = -2
    with pytest.raises(ValueError, match="found -2"):
        make_trainer().fit(Ranker(4), batches(x, y, group))


def test_large_relevance_is_taken_with_a_linear_gain(items, make_trainer):
    data = whole([bad(items, "too large")])
    (tested,) = make_trainer().test(Ranker(4, gain="linear"), data, verbose=False)
    assert all(math.isfinite(value) for value in tested.values())


def test_data_without_queries_is_refused_and_a_regressor_takes_data_with_them(items, make_trainer):
    x, y, group = items
    with pytest.raises(ValueError, match="needs to know the query of each item"):
        make_trainer().fit(Ranker(), datamodule=ArrayDataModule(x.numpy(), y.numpy()))
    make_trainer().fit(MLPRegressor(4, 1, []), batches(x, y, group))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "lambda"}, "unknown loss 'lambda'"),
        ({"loss_options": {"sgma": 2.0}}, "did you mean 'sigma'"),
        ({"gain": "cubic"}, "gain must be"),
        ({"top_k": [0]}, "cut-offs"),
        ({"relevance_threshold": 0.0}, "relevance_threshold"),
        ({"empty_target_action": "error"}, "empty_target_action"),
        ({"monitor": "val/ndcg@4"}, "no metric 'ndcg@4' to monitor; did you mean 'ndcg@"),
        ({"hidden_features": [0]}, "hidden_features"),
        ({"bins": -1}, "bins must be at least 0, found -1"),
    ],
)
def test_arguments_are_checked_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        Ranker(4, **options)


# ------------------------------------------------------------------------- bins


def test_bins_are_of_the_training_split_and_in_the_checkpoint(make_trainer, tmp_path):
    data = SyntheticQueriesDataModule(80)
    model = Ranker(bins=4)
    trainer = make_trainer(max_epochs=2)
    trainer.fit(model, datamodule=data)
    x = torch.cat([x for x, *_ in data.train_dataloader()])
    encoding = model.network.encoding
    assert encoding.count == len(x)
    expected = torch.quantile(model.network.scaling(x), torch.arange(4) / 4, dim=0)
    torch.testing.assert_close(encoding.lower, expected, rtol=0, atol=0.02)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    loaded = Ranker.load_from_checkpoint(tmp_path / "one.ckpt")
    assert torch.equal(loaded(x), model(x))
    heir = Ranker(bins=4, init_from=str(tmp_path / "one.ckpt"))
    make_trainer().fit(heir, datamodule=SyntheticQueriesDataModule(40))
    assert torch.equal(heir.network.encoding.lower, encoding.lower)


def test_bins_leave_learned_vectors_alone_and_sizes_are_known_before(make_trainer, tmp_path):
    """Of a table: a number, a category of three levels and one of thirty."""
    random = np.random.default_rng(0)
    city = random.integers(0, 30, 300)
    table = {
        "size": random.normal(size=300),
        "kind": random.choice(["a", "b", "c"], 300),
        "city": [f"city {number}" for number in city],
        "wanted": city % 3,
    }
    pl.DataFrame(table).write_csv(tmp_path / "items.csv")
    data = CSVDataModule(
        tmp_path / "items.csv", "wanted", ["size", "kind", "city"], task="regression"
    )
    data.setup("fit")
    x, y = (torch.cat(part) for part in zip(*data.train_dataloader(), strict=True))
    model = Ranker(3, bins=4, schema=data.schema)
    trainer = make_trainer()
    trainer.fit(model, batches(x, y, torch.arange(len(y)) // 10))
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    assert model.network.encoding.columns == 4  # a number and three levels
    shapes = Ranker.weight_shapes(dict(model.hparams))
    assert shapes == {"network.output.weight": tuple(model.network.output.weight.shape)}
    loaded = Ranker.load_from_checkpoint(tmp_path / "one.ckpt")
    assert torch.equal(loaded(x), model(x))


# ------------------------------------------------------------------------- answers, checkpoints


def test_predictions_are_ranks_within_queries(items, make_trainer):
    x, y, group = items
    model = Ranker(4, [8])
    predicted = make_trainer().predict(model, batches(x, y * math.nan, group + 7))
    joined = {name: torch.cat([part[name] for part in predicted]) for name in predicted[0]}
    assert list(joined) == ["query", "item", "score", "rank"]
    assert torch.equal(joined["query"], group + 7)
    torch.testing.assert_close(joined["score"], model(x).detach())
    for q in range(30):
        own = group == q
        assert joined["item"][own].tolist() == list(range(int(own.sum())))
        by_rank = joined["score"][own][joined["rank"][own].argsort()]
        assert by_rank.tolist() == sorted(by_rank.tolist(), reverse=True)
        assert sorted(joined["rank"][own].tolist()) == list(range(1, len(by_rank) + 1))


def test_a_checkpoint_loads_without_arguments_and_others_start_from_it(
    items, make_trainer, tmp_path
):
    trainer = make_trainer()
    model = Ranker(4, [8], loss="listnet", normalization="batch")
    trainer.fit(model, batches(*items, 8))
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    loaded = Ranker.load_from_checkpoint(tmp_path / "one.ckpt").eval()
    assert torch.equal(loaded(items[0]), model.eval()(items[0]))
    file = torch.load(tmp_path / "one.ckpt", weights_only=True)
    assert file["hyper_parameters"] == dict(model.hparams)
    assert {key.partition(".")[0] for key in file["state_dict"]} == {"network"}

    frozen = ["network.linear1.*", "network.normalization1.*"]
    start = {"init_from": str(tmp_path / "one.ckpt"), "freeze": frozen}
    heir = Ranker(4, [8], normalization="batch", lr=0.1, **start)
    make_trainer().fit(heir, batches(*items, 8))
    for name, value in model.state_dict().items():
        assert torch.equal(heir.state_dict()[name], value) == (
            "linear1" in name or "normalization1" in name or "scaling" in name
        ), name


def test_the_size_of_a_linear_one_is_held_against_its_weights(items, make_trainer, tmp_path):
    trainer = make_trainer()
    trainer.fit(Ranker(4), batches(*items))
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    with pytest.raises(ValueError, match=r"network.output.weight of shape \(1, 5\)"):
        Ranker.load_from_checkpoint(tmp_path / "one.ckpt", in_features=5)


def test_the_best_checkpoint_is_that_of_the_best_ndcg(make_trainer, tmp_path):
    data = SyntheticQueriesDataModule(60, val_size=20, test_size=0)
    keep = BestCheckpoint(tmp_path)
    seen = []

    class Look(BestCheckpoint):
        def on_validation_end(self, trainer, pl_module):
            if not trainer.sanity_checking:
                seen.append(float(trainer.callback_metrics["val/ndcg@3"]))

    trainer = make_trainer(max_epochs=5, callbacks=[keep], enable_checkpointing=True)
    trainer.callbacks.insert(0, Look(tmp_path))
    trainer.fit(Ranker(lr=0.3, monitor="val/ndcg@3"), datamodule=data)
    assert keep.mode == "max"
    assert float(keep.best_model_score) == max(seen)
    best = Ranker.load_from_checkpoint(tmp_path / "best.ckpt")
    (tested,) = make_trainer().validate(best, datamodule=data, verbose=False)
    assert tested["val/ndcg@3"] == pytest.approx(max(seen))


class OwnRanker(Ranker):
    """A network and a loss of somebody's own."""

    def configure_network(self):
        return nn.Sequential(nn.Linear(self.in_features, 8), nn.Tanh(), nn.Linear(8, 1))

    def configure_loss(self):
        class Squares(nn.Module):
            def forward(self, scores, target):
                return (scores - target[:, 0]).square().mean()

        return Squares()


def test_a_network_and_a_loss_of_ones_own(items, make_trainer, tmp_path):
    trainer = make_trainer(max_epochs=20)
    model = OwnRanker(4, lr=0.02)
    trainer.fit(model, batches(*items), batches(*items))
    assert float(trainer.callback_metrics["val/ndcg@3"]) > 0.8
    trainer.save_checkpoint(tmp_path / "own.ckpt")
    assert torch.equal(
        OwnRanker.load_from_checkpoint(tmp_path / "own.ckpt")(items[0]), model(items[0])
    )


def test_a_network_of_two_outputs_is_refused(items, make_trainer):
    class Two(Ranker):
        def configure_network(self):
            return nn.Linear(4, 2)

    with pytest.raises(ValueError, match=r"one score for each of \d+ items"):
        make_trainer().fit(Two(4), batches(*items))


@pytest.mark.parametrize("lean", [True, False])
def test_both_loops_train_alike(lean, make_trainer):
    states = []
    for loop in (True, lean):
        torch.manual_seed(0)
        model = Ranker(hidden_features=[8], dropout=0.2)
        model.lean_loop = loop
        trainer = make_trainer(max_epochs=2)
        trainer.fit(model, datamodule=SyntheticQueriesDataModule(40))
        states.append((model.state_dict(), trainer.callback_metrics))
    for one, other in zip(*states, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_mixed_precision_trains(items, make_trainer):
    model = Ranker(4, [8], lr=0.03)
    trainer = make_trainer(max_epochs=5, precision="bf16-mixed")
    trainer.fit(model, batches(*items), batches(*items))
    assert float(trainer.callback_metrics["val/ndcg@3"]) > 0.8


# ------------------------------------------------------------------------- the command line


QUERIES = ("--data", "SyntheticQueriesDataModule", "--data.num_queries", 60)


def test_fit_test_and_predict(lit, tmp_path):
    model = (
        "--model",
        "Ranker",
        "--model.hidden_features",
        "[16]",
        "--model.monitor",
        "val/ndcg@3",
    )
    options = ("--trainer.max_epochs", 3, "--name", "run", "--test_best", "true")
    done = lit("fit", *model, *QUERIES, *options)
    assert (done.status, done.err) == (0, "")
    run = tmp_path / "runs/run/version_0"
    tested = json.loads((run / "test_metrics.json").read_text())
    assert {"test/loss", "test/mrr", "test/ndcg@1", "test/map@5", "test/recall@3"} <= set(tested)
    tags = EventAccumulator(str(run)).Reload().Tags()["scalars"]
    assert {"train/ndcg@1", "val/ndcg@3", "val/precision@5"} <= set(tags)

    done = lit("predict", "--ckpt_path", run)
    assert (done.status, done.err) == (0, "")
    table = pl.read_csv(run / "predictions.csv")
    assert table.columns[-5:] == ["row", "query", "item", "score", "rank"]
    data = SyntheticQueriesDataModule(60)
    data.setup("test")
    relevance = torch.cat([y for _, y, _ in data.test_dataloader()])
    first = torch.tensor((table["item"] == 0).to_list())
    values = values_of_queries(
        torch.tensor(table["score"].to_list()), relevance, Queries.begin(first), [1]
    )
    found = float(values["ndcg@1"].nan_to_num(0).mean())
    assert tested["test/ndcg@1"] == pytest.approx(found, abs=1e-6)


def test_a_subclass_is_named_by_its_path(lit, tmp_path, monkeypatch):
    path = tmp_path / "mine.py"
    path.write_text("from lit_course import Ranker\n\n\nclass Mine(Ranker):\n    '''Mine.'''\n")
    monkeypatch.syspath_prepend(tmp_path)
    options = ("--trainer.max_epochs", 1, "--name", "run", "--model.loss", "ranknet")
    done = lit("fit", "--model", "mine.Mine", *QUERIES, *options)
    assert (done.status, done.err) == (0, "")


class FewQueries(LightningDataModule):
    """A data module of somebody else's."""

    in_features = 4

    def __init__(self, items):
        super().__init__()
        self.items = items

    def train_dataloader(self):
        return batches(*self.items)


def test_a_foreign_data_module_says_the_size(items, make_trainer):
    model = Ranker()
    make_trainer().fit(model, datamodule=FewQueries(items))
    assert model.in_features == 4
