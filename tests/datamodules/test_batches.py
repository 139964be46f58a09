import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import SequentialSampler

from lit_course.datamodules import batches as batches_module
from lit_course.datamodules.batches import Batches

X = torch.arange(20, dtype=torch.float32).reshape(10, 2)
Y = torch.arange(10)
ROWS = torch.tensor([1, 3, 4, 6, 8, 9])


def order(batches: Batches) -> list[int]:
    return torch.cat([batch[1] for batch in batches]).tolist()


def test_rows_come_as_given_without_shuffling():
    batches = Batches(X, Y, ROWS, batch_size=4)
    assert [len(y) for _, y in batches] == [4, 2]
    assert len(batches) == 2
    assert order(batches) == ROWS.tolist()
    for x, y in batches:
        assert torch.equal(x, X[y])


def test_whole_tensors_are_sliced_not_copied():
    for start, (x, y) in zip((0, 4, 8), Batches(X, Y, batch_size=4), strict=True):
        assert x.data_ptr() == X[start].data_ptr()
        assert y.data_ptr() == Y[start].data_ptr()


@pytest.mark.parametrize("rows", [None, ROWS])
def test_an_epoch_has_every_row_once_and_an_order_of_its_own(rows):
    batches = Batches(X, Y, rows, batch_size=4, shuffle=True, seed=3)
    expected = list(range(10)) if rows is None else rows.tolist()
    orders = []
    for epoch in range(5):
        batches.set_epoch(epoch)
        orders.append(order(batches))
        assert sorted(orders[-1]) == expected
    assert len({tuple(one) for one in orders}) == 5


def test_order_is_a_function_of_seed_and_epoch_alone():
    def of(seed: int, epoch: int) -> list[int]:
        batches = Batches(X, Y, batch_size=3, shuffle=True, seed=seed)
        batches.set_epoch(epoch)
        torch.rand(epoch + 1)  # the global random state must not matter
        return order(batches)

    orders = {(seed, epoch): of(seed, epoch) for seed in range(4) for epoch in range(4)}
    assert len({tuple(one) for one in orders.values()}) == 16
    for (seed, epoch), one in orders.items():
        assert of(seed, epoch) == one


def test_seeds_near_each_other_never_share_an_order():
    steps = (torch.arange(1, 10_000) * batches_module._EPOCH_STEP) % batches_module._SEEDS
    distance = torch.minimum(steps, batches_module._SEEDS - steps)
    assert distance.min() > 100_000


def test_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    order(Batches(X, Y, batch_size=3, shuffle=True))
    assert torch.equal(torch.get_rng_state(), before)


def test_iterators_do_not_disturb_each_other():
    batches = Batches(X, Y, batch_size=4, shuffle=True)
    first = iter(batches)
    next(first)
    whole = order(batches)
    assert order(batches) == whole
    assert torch.cat([batch[1] for batch in first]).tolist() == whole[4:]


def test_drop_last_leaves_out_the_ragged_batch_only():
    batches = Batches(X, Y, batch_size=4, drop_last=True)
    assert len(batches) == 2
    assert order(batches) == list(range(8))
    even = Batches(X, Y, batch_size=5, drop_last=True)
    assert len(even) == 2
    assert order(even) == list(range(10))


@pytest.mark.parametrize("rows", [None, ROWS])
@pytest.mark.parametrize("shuffle", [False, True])
def test_row_numbers_are_those_of_the_data_set(rows, shuffle):
    for x, y, extras in Batches(X, Y, rows, batch_size=4, shuffle=shuffle, with_rows=True):
        assert torch.equal(x, X[extras["row"]])
        assert torch.equal(y, Y[extras["row"]])


@pytest.mark.parametrize("rows", [None, ROWS])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("rank", "world_size"), [(0, 1), (1, 2)])
def test_weights_go_with_their_rows(rows, shuffle, rank, world_size):
    of = {"shuffle": shuffle, "rank": rank, "world_size": world_size}
    plain = list(Batches(X, Y, rows, batch_size=2, **of))
    weighted = list(Batches(X, Y, rows, batch_size=2, weight=Y * 10.0, **of))
    for (x, y), (same_x, same_y, extras) in zip(plain, weighted, strict=True):
        assert torch.equal(x, same_x)
        assert torch.equal(y, same_y)
        assert extras.keys() == {"weight"}
        assert torch.equal(extras["weight"], y * 10.0)
    for _, y, extras in Batches(X, Y, rows, batch_size=2, weight=Y * 10.0, with_rows=True, **of):
        assert extras.keys() == {"row"}
        assert torch.equal(extras["row"], y)


def test_no_rows_no_batches():
    batches = Batches(X, Y, ROWS[:0], batch_size=4)
    assert len(batches) == 0
    assert list(batches) == []


@pytest.mark.parametrize("batch_size", [0, -1])
def test_refuses_empty_batches(batch_size):
    with pytest.raises(ValueError, match=f"batch_size must be at least 1, found {batch_size}"):
        Batches(X, Y, batch_size=batch_size)


def test_refuses_to_drop_every_row():
    with pytest.raises(ValueError, match="would drop every row: 6 rows do not fill one batch of 7"):
        Batches(X, Y, ROWS, batch_size=7, drop_last=True)


def test_sampler_tells_lightning_what_is_shuffled():
    shuffled = Batches(X, Y, batch_size=4, shuffle=True)
    assert shuffled.sampler is shuffled
    assert isinstance(Batches(X, Y, batch_size=4).sampler, SequentialSampler)


def parts(world_size: int, rows: int = 10, **options) -> list[Batches]:
    """The loaders of all processes over the first rows."""
    return [
        Batches(X, Y, torch.arange(rows), rank=rank, world_size=world_size, **options)
        for rank in range(world_size)
    ]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("world_size", "batch_size"), [(2, 2), (2, 3), (3, 1), (3, 2), (4, 2)])
def test_processes_in_step_see_what_one_sees(world_size, batch_size, drop_last):
    options = {"shuffle": True, "seed": 5, "drop_last": drop_last}
    one = Batches(X, Y, batch_size=world_size * batch_size, **options)
    many = parts(world_size, batch_size=batch_size, **options)
    assert len({len(batches) for batches in many}) == 1
    assert [len(batches) for batches in many] == [len(list(batches)) for batches in many]
    together = [torch.cat([y for _, y in step]) for step in zip(*many, strict=True)]
    expected = [y for _, y in one]
    if len(expected[-1]) < world_size:  # too few to give each one
        expected.pop()
    assert [step.tolist() for step in together] == [step.tolist() for step in expected]


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("rows", range(1, 11))
def test_no_process_in_step_has_an_empty_batch(world_size, rows):
    if rows < world_size:
        with pytest.raises(ValueError, match=f"{rows} training rows are too few for {world_size}"):
            parts(world_size, rows, batch_size=2)
        return
    sizes = [[len(y) for _, y in batches] for batches in parts(world_size, rows, batch_size=2)]
    assert min(map(min, sizes)) >= 1
    assert max(map(max, sizes)) <= 2
    assert all(max(step) - min(step) <= 1 for step in zip(*sizes, strict=True))
    assert rows - sum(map(sum, sizes)) < world_size
    assert parts(world_size, rows, batch_size=2)[0].last_batch == min(map(min, sizes))


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 12])
@pytest.mark.parametrize("rows", range(11))
def test_out_of_step_each_row_comes_once_in_order(world_size, rows):
    many = parts(world_size, rows, batch_size=2, in_step=False)
    assert [len(batches) for batches in many] == [len(list(batches)) for batches in many]
    # Lightning wants every process to have a batch, or none to have one.
    assert all(len(batches) >= 1 for batches in many) or rows == 0
    seen = [y for batches in many for _, y in batches]
    assert torch.cat([torch.zeros(0), *seen]).tolist() == list(range(rows))


def test_refuses_to_drop_every_row_of_each_process():
    with pytest.raises(ValueError, match="10 rows do not fill one batch of 4 for each of 3"):
        Batches(X, Y, batch_size=4, drop_last=True, world_size=3)


class Recorder(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.orders: list[list[int]] = []

    def on_train_epoch_start(self) -> None:
        self.orders.append([])

    def training_step(self, batch, batch_idx):
        self.orders[-1] += batch[1].tolist()
        return self.weight.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_lightning_gives_each_epoch_its_order():
    recorder = Recorder()
    batches = Batches(X, Y, batch_size=4, shuffle=True, seed=5)
    trainer = Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(recorder, batches)
    expected = []
    for epoch in range(3):
        batches.set_epoch(epoch)
        expected.append(order(batches))
    assert recorder.orders == expected
    assert expected[0] != expected[1] != expected[2]
