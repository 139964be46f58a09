"""Made-up queries with graded items: ranking without a file."""

from __future__ import annotations

import torch

from lit_course.datamodules.base import SupervisedDataModule
from lit_course.datamodules.samples import Samples, Split

# Shares of the relevance grades 0, 1, 2, 3 and 4 end here, as in data that people have judged.
_GRADES = (0.5, 0.75, 0.9, 0.97)


class SyntheticQueriesDataModule(SupervisedDataModule):
    """Queries with 5 to 30 items each, of ten features and a relevance from 0 to 4.

    Features are normally distributed around a centre of their query. How good an item is:
    ``a·x + 0.5·(x0·x1 + |x2| - |x3|) + noise``, with ``a`` of length 1: a linear scorer learns the
    first term, an MLP all but the noise. Each query was judged more or less strictly, which no
    feature tells and only pointwise losses mind. The best 3 % of all items have relevance 4, the
    next 7 % 3, then 15 % 2, 25 % 1, half 0.

    Args:
        num_queries: Number of queries.
        noise: Standard deviation of the noise.
        batch_size: Queries per batch of training; evaluation takes four times as many.
        val_size: Queries held out for validation: a fraction, or an integer count; 0 for none.
        test_size: Queries held out for testing, in the same way.
        shuffle: Whether the training queries come in a new order each epoch.
        drop_last: Whether training leaves out a last batch that is smaller.
        seed: Seed of the items, of the split and of the order.
    """

    def __init__(
        self,
        num_queries: int = 500,
        noise: float = 0.5,
        *,
        batch_size: int = 16,
        val_size: int | float = 0.2,
        test_size: int | float = 0.2,
        shuffle: bool = True,
        drop_last: bool = False,
        seed: int = 0,
    ) -> None:
        if num_queries < 2:
            raise ValueError(f"num_queries must be at least 2, found {num_queries}.")
        if not noise >= 0:
            raise ValueError(f"noise is a standard deviation, at least 0, found {noise}.")
        super().__init__(
            batch_size=batch_size,
            val_size=val_size,
            test_size=test_size,
            shuffle=shuffle,
            drop_last=drop_last,
            seed=seed,
        )
        self.num_queries = num_queries
        self.noise = noise

    def load(self) -> dict[str, Split]:
        """Draw the items."""
        generator = torch.Generator().manual_seed(self.seed)
        sizes = torch.randint(5, 31, (self.num_queries,), generator=generator)
        group = torch.arange(self.num_queries).repeat_interleave(sizes)
        centres = 0.5 * torch.randn(self.num_queries, 10, generator=generator)
        x = torch.randn(len(group), 10, generator=generator) + centres[group]
        a = torch.nn.functional.normalize(torch.randn(10, generator=generator), dim=0)
        noise = self.noise * torch.randn(len(group), generator=generator)
        bent = x[:, 0] * x[:, 1] + x[:, 2].abs() - x[:, 3].abs()
        goodness = x @ a + 0.5 * bent + noise
        goodness += torch.randn(self.num_queries, generator=generator)[group]  # judged so strictly
        best = goodness.argsort().argsort() / len(group)
        relevance = torch.bucketize(best, torch.tensor(_GRADES), right=True).float()
        return self.cut(Samples(x, relevance, target_names=["relevance"], group=group))
