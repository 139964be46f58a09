"""What a user asks a trained model about, NumPy, torch or a data frame, as tensors of features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lit_course.categories import Categories, categories
from lit_course.raw_table import RawTable, as_polars, is_frame
from lit_course.tables import Table


def read_batches(
    x: Any,
    in_features: int | None,
    schema: Mapping[str, Any],
    batch_size: int,
    trained_on_uint8: bool | None = None,
) -> Iterator[Tensor]:
    """Raw features ``(n, ...)`` float32 or uint8, in their order; at least one batch.

    Args:
        x: An array or tensor ``(N, ...)`` of real numbers, or a data frame with raw columns.
        in_features: How many features the model takes; None if it does not say.
        schema: What the model knows of its data: the names of its features, its table.
        batch_size: The most rows of a batch.
        trained_on_uint8: Whether the model was trained on uint8, which are images; if nobody has
            said, an array of uint8 holds some, unless the model has a table.

    Raises:
        TypeError: If it is neither, or does not hold numbers.
        ValueError: If the model takes other features, or one is not finite. Rows count from 0.
    """
    if not isinstance(batch_size, Integral):
        raise TypeError(f"batch_size must be a whole number, found {batch_size!r}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, found {batch_size}")
    names = schema.get("feature_names")
    if trained_on_uint8 is None and (is_frame(x) or "table" in schema):
        trained_on_uint8 = False
    pieces = _columns(x, schema) if is_frame(x) else iter([_array(x)])
    width = len(names) if is_frame(x) and names else 0
    coded = {} if is_frame(x) else categories(schema)
    first_row = 0
    for piece in chain([next(pieces, torch.empty(0, width))], pieces):
        _check_width(piece, in_features, schema)
        for values in torch.split(piece, batch_size):
            batch = _as_trained(values, trained_on_uint8, first_row)
            _check_finite(batch, first_row, names)
            _check_codes(batch, first_row, names, coded)
            yield batch
            first_row += len(batch)


def _array(x: Any) -> Tensor:
    if isinstance(x, np.ma.MaskedArray) and x.mask.any():
        raise ValueError("features must not be masked: fill such values, or drop their rows")
    if not isinstance(x, Tensor):
        try:
            array = np.asarray(x)
        except ValueError as error:  # rows of different lengths
            raise TypeError(f"features must be an array of numbers: {error}") from error
        if array.dtype.kind not in "biuf":
            raise TypeError(
                f"features must be numbers, found dtype {array.dtype}: convert them, or give a "
                "data frame to a model that was trained on a table"
            )
        # Torch needs native byte order, and writable memory without gaps; only else is it copied.
        x = torch.from_numpy(np.require(array, array.dtype.newbyteorder("="), ["C", "W"]))
    if x.layout != torch.strided:
        raise TypeError(f"features must be dense, found {x.layout}: call x.to_dense()")
    if x.is_complex():
        raise TypeError(f"features must be real numbers, found {x.dtype}")
    features: Tensor = x.detach()
    return features


def _columns(frame: Any, schema: Mapping[str, Any]) -> Iterator[Tensor]:
    """Rows of a data frame: through the model's table, else its named columns as they are."""
    if "table" in schema:
        table = Table.from_state(schema["table"])
        raw = RawTable(as_polars("x", frame, [column.name for column in table.columns]))
        yield from table.transform(raw, first_row=0)
        return
    names = schema.get("feature_names")
    if not names:
        raise ValueError(
            "the model was trained without names of features, by which columns of a data frame are "
            "found: give an array of them in the order of training"
        )
    raw = RawTable(as_polars("x", frame, names))
    if absent := [repr(name) for name in names if name not in raw.columns]:
        raise ValueError(
            f"the data frame lacks {', '.join(absent)}, which the model was trained on"
        )
    for _, piece in raw.pieces(names):
        for column in piece:
            if not (column.dtype.is_numeric() or column.dtype.is_(bool)):
                raise TypeError(f"column {column.name!r} must hold numbers, found {column.dtype}")
        yield torch.from_numpy(piece.to_numpy(writable=True))


def _as_trained(x: Tensor, trained_on_uint8: bool | None, first_row: int) -> Tensor:
    """Numbers as float32, images as uint8 or as fractions of 255."""
    if not trained_on_uint8:
        bytes_as_they_are = trained_on_uint8 is None and x.dtype == torch.uint8
        return x if bytes_as_they_are else x.to(torch.float32)
    fractions = x.is_floating_point() or x.dtype == torch.bool
    # Torch cannot compare the other unsigned integers.
    x = x.to(torch.float32 if fractions else torch.int64)
    outside = (x < 0) | (x > (1 if fractions else 255))
    if outside.any():
        row, column = outside.flatten(1).nonzero()[0].tolist()
        raise ValueError(
            "the model was trained on uint8 images: give integers from 0 to 255, or floats from 0 "
            f"to 1, found {x.flatten(1)[row, column].item()} in row {first_row + row}, "
            f"column {column}"
        )
    return x if fractions else x.to(torch.uint8)


def _check_width(x: Tensor, in_features: int | None, schema: Mapping[str, Any]) -> None:
    if x.ndim < 2:
        raise ValueError(
            f"features must have one row for each sample, found shape {tuple(x.shape)}: "
            "a single feature is (N, 1), a single sample (1, ...)"
        )
    found = x.shape[1:].numel()
    if in_features is not None and found != in_features:
        hint = ": give a data frame with its columns" if "table" in schema else ""
        raise ValueError(
            f"the model takes {in_features} features for each sample, found {found}{hint}"
        )


def _check_finite(x: Tensor, first_row: int, names: list[str] | None) -> None:
    if not x.is_floating_point() or x.isfinite().all():
        return
    row, column = (~x.flatten(1).isfinite()).nonzero()[0].tolist()
    which = repr(names[column]) if names else str(column)
    raise ValueError(
        f"features must be finite float32 numbers, found {float(x.flatten(1)[row, column])} in row "
        f"{first_row + row}, column {which}: drop or fill it"
    )


def _check_codes(x: Tensor, first_row: int, names: list[str] | None, coded: Categories) -> None:
    """Refuse what is no code of a category: the network would take the nearest one for it."""
    for position, codes in coded.items():
        column = x[:, position]
        wrong = (column != column.round()) | (column < 0) | (column >= len(codes))
        if wrong.any():
            row = int(wrong.nonzero()[0])
            which = repr(names[position]) if names else f"column {position}"
            raise ValueError(
                f"{which} holds codes from 0 to {len(codes) - 1}, found {float(column[row])} in "
                f"row {first_row + row}: give a data frame with its columns"
            )
