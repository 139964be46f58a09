"""The mean over a global batch, of which each process has a part."""

from __future__ import annotations

import torch
import torch.distributed as distributed
from torch import Tensor


def global_mean(loss: Tensor, weight: Tensor | int) -> Tensor:
    """The mean loss over the batches of all processes, with the gradient of this one's share.

    Strategies average gradients over processes, however unequal their batches are: a ragged last
    batch, weights of classes or samples. Here each gradient is scaled so that this average is the
    gradient of the mean over all samples; of weights that are all 0 that is 0. The value is the
    same on every process, to the last bit. It does not wait for a GPU. Every process must call it,
    or none; of a single process it is the loss itself.

    Args:
        loss: The mean loss of this process's batch.
        weight: What that mean was divided by.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return loss
    dtype = torch.promote_types(loss.dtype, torch.float32)
    divisor = torch.as_tensor(weight, device=loss.device, dtype=dtype)
    total = torch.stack([loss.detach().to(dtype) * divisor, divisor])
    distributed.all_reduce(total)
    whole = total[1].where(total[1] > 0, 1)
    share = loss * (divisor * distributed.get_world_size() / whole)
    return total[0] / whole + (share - share.detach())
