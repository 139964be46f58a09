"""The mean over a global batch, by real all-reduces between threads."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import local

import pytest
import torch
import torch.distributed as distributed
from torch.distributed import HashStore, PrefixStore, ProcessGroupGloo

from lit_course.losses import CLASSIFICATION_LOSSES, make_loss
from lit_course.mean_loss import mean_loss
from lit_course.modules.global_batch import global_mean


@pytest.fixture
def in_processes(monkeypatch):
    """Call a function with each rank, in threads that reduce by a gloo group of their own."""
    here = local()

    def run(function, world):
        monkeypatch.setattr(distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(distributed, "get_world_size", lambda: world)
        monkeypatch.setattr(
            distributed, "all_reduce", lambda tensor: here.group.allreduce([tensor]).wait()
        )
        store = HashStore()

        def call(rank):
            place = PrefixStore("test", store)
            here.group = ProcessGroupGloo(place, rank, world, timedelta(seconds=30))
            return function(rank)

        with ThreadPoolExecutor(world) as threads:
            return list(threads.map(call, range(world)))

    return run


WEIGHTS = {
    "random": torch.rand(23, generator=torch.Generator().manual_seed(0)),
    "nothing on one process": torch.arange(23).clamp(0, 1).float(),
    "large and small": torch.logspace(-3, 3, 23),
    "nothing": torch.zeros(23),
    "none": None,
}


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("class_weights", [None, [0.5, 2.0, 0.0]])
@pytest.mark.parametrize("ends", [(1, 23), (9, 17, 23)])
def test_value_and_averaged_gradients_are_those_of_one_batch(
    in_processes, weights, class_weights, ends
):
    generator = torch.Generator().manual_seed(1)
    outputs = torch.randn(23, 3, generator=generator)
    target = torch.randint(0, 3, (23,), generator=generator)
    loss = make_loss("cross_entropy", CLASSIFICATION_LOSSES, {}, class_weights=class_weights)
    weight = WEIGHTS[weights]

    whole = outputs.clone().requires_grad_()
    expected, _ = mean_loss(loss, whole, target, weight)
    expected.backward()

    def part(rank):
        rows = slice((0, *ends)[rank], ends[rank])
        own = outputs.clone().requires_grad_()
        of_rows = None if weight is None else weight[rows]
        value = global_mean(*mean_loss(loss, own[rows], target[rows], of_rows))
        value.backward()
        return value.detach(), own.grad

    values, gradients = zip(*in_processes(part, len(ends)), strict=True)
    assert all(value.equal(values[0]) for value in values)
    torch.testing.assert_close(values[0], expected.detach())
    torch.testing.assert_close(torch.stack(gradients).mean(0), whole.grad)


def test_a_single_process_keeps_its_loss():
    loss = torch.rand((), requires_grad=True)
    assert global_mean(loss, 3) is loss
