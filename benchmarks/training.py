"""Contenders over one training epoch, from the arithmetic alone to an ordinary program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from io import StringIO

from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import FashionMNIST
from torchvision.transforms import ToTensor

from benchmarks import loops, peers
from benchmarks.group import Group, Row, Setting
from benchmarks.images import Images
from benchmarks.network import LEARNING_RATES, SIZES, network, optimizer, start
from benchmarks.program import ON_CPU, model_flags, run_program
from benchmarks.rounds import Contender, Rounds, interleave
from benchmarks.usual_lightning import usual_lightning
from lit_course.networks import MLP
from lit_course.scaling import ColumnStatistics, InputScaling

OURS = "lit_course"


@dataclass(frozen=True)
class Epoch:
    """One epoch of training: the same images, order, start and optimizer for every contender.

    Args:
        images: What to learn.
        batch_size: Images per update.
        optimizer: ``SGD`` or ``Adam``. Its fused implementation on both sides of the main
            comparison; the course and the usual program write what torch chooses by itself.
    """

    images: Images
    batch_size: int
    optimizer: str

    def by_hand(self) -> Mapping[str, Contender]:
        """Seconds of one epoch of the program and of loops that only learn, by name."""
        return {
            "floor": self.floor,
            "bare loop": self.bare,
            OURS: self.lit_course,
            "bare loop, uint8": self.bare_on_pixels,
        }

    def programs(self) -> Mapping[str, Contender]:
        """Seconds of one epoch of the program and of what else does its work, by name."""
        contenders: dict[str, Contender] = {
            OURS: self.lit_course,
            f"{OURS} without metrics": self.without_metrics,
            f"{OURS} in Lightning's loop": self.in_lightnings_loop,
        }
        if self.optimizer == "SGD":
            contenders["course's loop"] = self.course
            contenders["usual Lightning"] = self.usual_lightning
        else:
            contenders["scikit-learn"] = lambda: self.peer(peers.scikit_learn)
            if peers.HAS_SKORCH:
                contenders["skorch"] = lambda: self.peer(peers.skorch)
        return contenders

    def floor(self) -> float:
        """The matrix products alone."""
        return loops.floor(len(self.images.x), self.batch_size)

    def bare(self) -> float:
        """The bare loop over float32 inputs that were standardised beforehand."""
        model = network()
        x, y = self._standardized, self.images.y
        update = optimizer(self.optimizer, model, fused=True)
        return loops.bare(model, x, y, loops.order(len(x)), self.batch_size, update)

    def bare_on_pixels(self) -> float:
        """The bare loop over the images as they are, standardised within the network."""
        x, y = self.images.x, self.images.y
        model = MLP(SIZES[0], SIZES[1:-1], SIZES[-1])
        start(model)
        for layer in model.modules():
            if isinstance(layer, InputScaling):
                layer.fit(self._statistics)
        update = optimizer(self.optimizer, model, fused=True)
        return loops.bare(model, x, y, loops.order(len(x)), self.batch_size, update)

    @cached_property
    def _statistics(self) -> ColumnStatistics:
        statistics = ColumnStatistics()
        statistics.update(self.images.x[:, None])
        return statistics

    def lit_course(self, model: str = "MLPClassifier") -> float:
        """The whole program; start-up and a look at the data's statistics are not counted."""
        times = run_program(*self.command(model), drawn=f"/{self.updates}")
        return times["train_end"] - times["train_start"]

    def without_metrics(self) -> float:
        """The whole program without metrics but the loss."""
        return self.lit_course(model="benchmarks.program.WithoutMetrics")

    def in_lightnings_loop(self) -> float:
        """The whole program, batch after batch in the Trainer's own loop."""
        return self.lit_course(model="benchmarks.program.InLightningsLoop")

    def course(self) -> float:
        """The course's loop."""
        model = network()
        with redirect_stdout(StringIO()):
            return loops.course(model, self._loader(), optimizer(self.optimizer, model, False))

    def usual_lightning(self) -> float:
        """An ordinary Lightning program."""
        return usual_lightning(self._loader(), self.optimizer)

    def peer(self, fit: Callable[[Tensor, Tensor, int], float]) -> float:
        """The whole ``fit`` of a peer."""
        return fit(self._standardized, self.images.y, self.batch_size)

    @property
    def updates(self) -> int:
        """Updates of the epoch."""
        return -(-len(self.images.x) // self.batch_size)

    def command(self, model: str = "MLPClassifier", runs: str = "{folder}") -> list[str]:
        """The command line of one epoch."""
        optimized = model_flags(self.optimizer)
        size = f"--data.batch_size={self.batch_size}"
        where = [ON_CPU, "--trainer.max_epochs=1", f"--runs={runs}"]
        return ["fit", "--model", model, *optimized, *self.images.flags, size, *where]

    @cached_property
    def _standardized(self) -> Tensor:
        return self.images.scaled(standardize=True)

    def _loader(self) -> loops.Loader:
        dataset = FashionMNIST(self.images.root, transform=ToTensor())
        rows = loops.order(len(self.images.x)).tolist()
        return DataLoader(dataset, batch_size=self.batch_size, sampler=rows)


def _by_hand(batch_size: int, optimizer: str, at_least: float) -> Group:
    def measure(setting: Setting) -> Rounds:
        epoch = Epoch(setting.images, batch_size, optimizer)
        # Two that differ by a tenth, on a machine whose speed differs by half: twice the rounds.
        return interleave(epoch.by_hand(), 2 * setting.rounds + 1)

    rows = (
        Row("bare loop over tensors", OURS, "bare loop", at_least=at_least),
        Row("bare loop over uint8 images", OURS, "bare loop, uint8"),
        Row("arithmetic alone", OURS, "floor"),
    )
    return Group(f"a training epoch, batch {batch_size}, {optimizer}, against …", rows, measure)


def _programs(batch_size: int, optimizer: str) -> Group:
    def measure(setting: Setting) -> Rounds:
        epoch = Epoch(setting.images, batch_size, optimizer)
        return interleave(epoch.programs(), setting.rounds)

    small = batch_size == 64  # what other programs cost is asked of the size that they mostly have
    others = {
        "SGD": (
            Row("the course's loop", OURS, "course's loop", at_least=2.4 if small else None),
            Row("usual Lightning", OURS, "usual Lightning", at_least=4.0 if small else None),
        ),
        "Adam": (
            Row("scikit-learn", OURS, "scikit-learn", at_least=1.5 if small else None),
            Row("skorch", OURS, "skorch"),
        ),
    }
    rows = (
        Row("its own in Lightning's own loop", OURS, f"{OURS} in Lightning's loop"),
        Row("its own without metrics", OURS, f"{OURS} without metrics", at_least=0.97),
        *others[optimizer],
    )
    return Group(f"the same, batch {batch_size}, {optimizer}, against programs", rows, measure)


GROUPS: dict[str, Group] = {}
for _batch_size, _at_least in ((64, 0.90), (1024, 0.97)):
    for _optimizer in LEARNING_RATES:
        _name = f"{_batch_size}_{_optimizer.lower()}"
        GROUPS[f"training_{_name}"] = _by_hand(_batch_size, _optimizer, _at_least)
        GROUPS[f"programs_{_name}"] = _programs(_batch_size, _optimizer)
