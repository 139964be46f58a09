"""The roller coaster of lesson 1: a parabola with noise."""

from __future__ import annotations

import torch

from lit_course.datamodules.base import SupervisedDataModule
from lit_course.datamodules.samples import Samples, Split


class RollerCoasterDataModule(SupervisedDataModule):
    """Speed of a roller coaster at t = 0, 1, 2, …: ``noise·randn + 0.75·(t - 9.5)² + 1``.

    All points are for training, in one batch and in the order of time, as in the lesson. Nothing is
    held out: validating and testing are refused, prediction answers for all points.

    Args:
        noise: Standard deviation of the noise.
        num_points: Number of points.
        outliers: How many points, evenly spread, a broken sensor took for 100 slower.
        seed: Seed of the noise.
    """

    def __init__(
        self, noise: float = 3.0, num_points: int = 20, outliers: int = 0, *, seed: int = 0
    ) -> None:
        if num_points < 2:
            raise ValueError(f"num_points must be at least 2, found {num_points}.")
        if noise < 0:
            raise ValueError(f"noise is a standard deviation, at least 0, found {noise}.")
        if not 0 <= outliers <= num_points - 2:
            raise ValueError(f"outliers must be from 0 to num_points - 2, found {outliers}.")
        super().__init__(batch_size=num_points, val_size=0, test_size=0, shuffle=False, seed=seed)
        self.noise = noise
        self.num_points = num_points
        self.outliers = outliers

    def load(self) -> dict[str, Split]:
        """Draw the points."""
        generator = torch.Generator().manual_seed(self.seed)
        t = torch.arange(self.num_points, dtype=torch.float32)
        noise = self.noise * torch.randn(self.num_points, generator=generator)
        speed = noise + 0.75 * (t - 9.5) ** 2 + 1
        broken = torch.linspace(0, self.num_points - 1, self.outliers + 2)[1:-1]
        speed[broken.round().long()] -= 100
        return self.cut(Samples(t[:, None], speed, feature_names=["t"], target_names=["speed"]))
