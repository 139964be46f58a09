import pytest
import torch

from lit_course.datamodules import RollerCoasterDataModule


def points(**options) -> tuple[torch.Tensor, torch.Tensor]:
    data = RollerCoasterDataModule(**options)
    data.setup("fit")
    (batch,) = data.train_dataloader()  # one batch holds everything
    return batch


def test_without_noise_it_is_the_parabola():
    t, speed = points(noise=0.0)
    assert t.flatten().tolist() == list(range(20))
    assert t.shape == (20, 1)
    torch.testing.assert_close(speed, 0.75 * (torch.arange(20.0) - 9.5) ** 2 + 1)
    assert speed.shape == (20,)
    assert speed.dtype == torch.float32


def test_noise_has_the_deviation_asked_for():
    clean, noisy = (points(noise=noise, num_points=4000)[1] for noise in (0.0, 3.0))
    assert (noisy - clean).mean().abs() < 0.2
    assert abs((noisy - clean).std() - 3) < 0.2


def test_the_seed_decides():
    state = torch.get_rng_state()
    assert torch.equal(points(seed=1)[1], points(seed=1)[1])
    assert not torch.equal(points(seed=1)[1], points(seed=2)[1])
    assert torch.equal(torch.get_rng_state(), state)


def test_the_lesson_s_first_loss():
    """LESSONS.md: the document's initial parameters, without noise."""
    t, speed = points(noise=0.0)
    a, b, c = -0.7658, -0.7506, 1.3525
    loss = (a * t[:, 0] ** 2 + b * t[:, 0] + c - speed).square().mean()
    assert abs(loss - 25751) < 1


def test_holds_nothing_out():
    data = RollerCoasterDataModule()
    data.setup("predict")
    ((_, _, extras),) = data.predict_dataloader()
    assert extras["row"].tolist() == list(range(20))
    assert data.schema["feature_names"] == ["t"]
    for stage in ("validate", "test"):
        with pytest.raises(ValueError, match=f"RollerCoasterDataModule has no rows to {stage} on"):
            data.setup(stage)


def test_refuses_too_few_points():
    with pytest.raises(ValueError, match="num_points must be at least 2, found -1"):
        RollerCoasterDataModule(num_points=-1)
