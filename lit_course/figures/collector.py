"""The answers to a whole split, gathered batch by batch, of one process or several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lit_course.figures.sample import Columns, Sample
from lit_course.figures.seen import ROWS, TILES, Rows, Seen

MOST_CLASSES = 1000  # of a confusion matrix
_MOST_NUMBERS = 2**24  # 64 MB of answers
_ANSWERS = ("probabilities", "class", "prediction", "score")
_NO_MISTAKE = -2.0  # a priority below that of any probability
_RANK = 2**40  # rows of one process come before those of the next


class Collector:
    """Takes what steps return, batch by batch.

    Args:
        limit: The most rows that are kept, a uniform sample of a larger split; None keeps all.
        image_shape: Channels, height and width of inputs, where they are images of another shape.
        rank: Number of this process; with several each has a collector.
    """

    def __init__(
        self,
        limit: int | None = ROWS,
        image_shape: Sequence[int] | None = None,
        rank: int = 0,
    ) -> None:
        self.limit = limit
        self.image_shape = None if image_shape is None else tuple(image_shape)
        self.count = 0
        self.confusion: Tensor | None = None
        self._rank = rank
        self._generator = torch.Generator().manual_seed(rank)
        self._rows: Sample | None = None
        self._examples = Sample(TILES)
        self._mistakes = Sample(TILES)

    @torch.no_grad()
    def add(self, returned: Any, batch: Any) -> None:
        """Take a batch; what has no ``target``, or no answers, is passed over.

        Args:
            returned: What a step of validation or test returned: ``target`` ``(B, ...)`` with
                ``probabilities`` ``(B, C)``, or ``(B,)`` of class 1 of two, and ``class`` ``(B,)``;
                or ``prediction`` ``(B,)`` or ``(B, K)``; or ``score``; ``input`` on request.
            batch: What it was given, ``(x, ...)``, for the input.

        Raises:
            ValueError: If the answers are not as many as the targets.
        """
        if not isinstance(returned, Mapping) or not isinstance(returned.get("target"), Tensor):
            return
        target = returned["target"].detach()
        names = [name for name in _ANSWERS if isinstance(returned.get(name), Tensor)]
        if not names or not len(target):
            return
        columns = {name: returned[name].detach() for name in names}
        for name, values in columns.items():
            alike = values.shape[:1] == target.shape[:1]
            if not alike or (name == "prediction" and values.numel() != target.numel()):
                raise ValueError(
                    f"targets of shape {tuple(target.shape)}, and {name} of {tuple(values.shape)}: "
                    "give one for each"
                )
        if "probabilities" in columns:
            if target.numel() != len(target):
                return  # several labels of a sample
            target = target.reshape(-1)
            # What is no whole number is no label; to ask whether there is any would wait.
            target = torch.where(target == target.long(), target.long(), -1)
            columns |= _classes(columns)
        first, self.count = self.count, self.count + len(target)
        place = torch.arange(first, self.count, device=target.device) + self._rank * _RANK
        columns = {"place": place, "target": target, **columns}
        given = returned.get("input", batch[0] if isinstance(batch, list | tuple) else None)
        if not isinstance(given, Tensor) or given.shape[:1] != target.shape[:1]:
            given = None
        priority = torch.rand(len(target), generator=self._generator)
        self._add_rows(priority, columns, given)
        if "probabilities" in columns:
            self._add_classes(priority, columns, given)

    def _add_rows(self, priority: Tensor, columns: Columns, given: Tensor | None) -> None:
        if self._rows is None:
            width = sum(v[0].numel() for v in columns.values())
            most = max(1, min(self.limit or ROWS, _MOST_NUMBERS // width))
            self._rows = Sample(most if self.limit else 2**62)
        if given is not None and given[0].numel() == 1:
            columns = {**columns, "input": given.detach().reshape(-1, 1)}
        self._rows.add(priority, columns)

    def _add_classes(self, priority: Tensor, columns: Columns, given: Tensor | None) -> None:
        p, target, answer = (columns[name] for name in ("probabilities", "target", "class"))
        classes = p.shape[1]
        known = (target >= 0) & (target < classes)
        target = target.clamp(0, classes - 1)
        if classes <= MOST_CLASSES:
            if self.confusion is None:
                self.confusion = target.new_zeros(classes * classes)
            self.confusion.index_add_(0, target * classes + answer, known.long())
        if given is None or not self._takes_image(given):
            return
        images = {**columns, "input": given.detach()}
        p_true = p.gather(1, target[:, None]).squeeze(1).float()
        wrong = known & (answer != target) & p_true.isfinite()
        self._examples.add(priority, images)
        self._mistakes.add(torch.where(wrong, -p_true, _NO_MISTAKE), images)

    def _takes_image(self, given: Tensor) -> bool:
        shape = tuple(given.shape[1:])
        if self.image_shape is None and len(shape) == 3 and shape[0] in (1, 3):
            self.image_shape = shape
        return self.image_shape is not None and given[0].numel() == np.prod(self.image_shape)

    def cpu(self) -> Self:
        """The same, to be sent to another process."""
        for sample in filter(None, (self._rows, self._examples, self._mistakes)):
            sample.cpu()
        self.confusion = None if self.confusion is None else self.confusion.cpu()
        return self

    def seen(self, split: str, of: str) -> Seen | None:
        """What was taken, None if that is nothing.

        Args:
            split: ``train``, ``val`` or ``test``.
            of: What it is, in words: ``test split``.
        """
        if self._rows is None:
            return None
        rows = _arrays(self._rows.rows()[1], by="place")
        finite = np.logical_and.reduce([_finite(values) for values in rows.values()])
        left_out = int((~finite).sum())
        rows = {name: values[finite] for name, values in rows.items()}
        number = len(finite)
        of = f"{of}, {self.count:,} sample{'s' * (self.count != 1)}"
        of = of if number == self.count else f"{of}, {number:,} of them drawn"
        if left_out:
            of += f", {left_out:,} not finite and left out"
        confusion = None if self.confusion is None else self.confusion.numpy()
        if confusion is not None:
            confusion = confusion.reshape(2 * [int(len(confusion) ** 0.5)])
        priority, mistakes = self._mistakes.rows()
        wrong = priority > _NO_MISTAKE
        return Seen(
            split,
            of,
            {name: values for name, values in rows.items() if name != "place"},
            self.count,
            confusion,
            _arrays(self._examples.rows()[1], by="place"),
            _arrays({name: values[wrong] for name, values in mistakes.items()}),
            self.image_shape,
        )


def together(collectors: Iterable[Collector]) -> Collector:
    """One of those of all processes."""
    first, *others = collectors
    for other in others:
        if other._rows is None:
            continue
        if first._rows is None:
            first = other
            continue
        first._rows.merge(other._rows)
        first._examples.merge(other._examples)
        first._mistakes.merge(other._mistakes)
        first.count += other.count
        if first.confusion is not None and other.confusion is not None:
            first.confusion = first.confusion + other.confusion
        first.image_shape = first.image_shape or other.image_shape
    return first


def _classes(columns: Columns) -> Columns:
    """Probabilities of every class, and the class that is the answer."""
    p = columns["probabilities"]
    if p.ndim == 1 or p.shape[1:] == (1,):
        p = p.reshape(-1, 1)
        p = torch.cat([1 - p, p], 1)
    answer = columns["class"].reshape(-1) if "class" in columns else p.argmax(1)
    return {"probabilities": p, "class": answer.long().clamp(0, p.shape[1] - 1)}


def _arrays(columns: Columns, by: str | None = None) -> Rows:
    # NumPy has no bfloat16.
    short = (torch.bfloat16, torch.float16)
    found = {k: (v.float() if v.dtype in short else v).cpu().numpy() for k, v in columns.items()}
    if by is not None and found:
        order = np.argsort(found[by], kind="stable")
        found = {name: values[order] for name, values in found.items()}
    return found


def _finite(values: NDArray[Any]) -> NDArray[np.bool_]:
    finite: NDArray[np.bool_] = np.isfinite(values.reshape(len(values), -1)).all(1)
    return finite
