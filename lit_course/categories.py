"""Categories in plain torch: codes of a table's columns to 0/1 columns and learned vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from lit_course.scaling import InputScaling, as_float, flatten

# Of each feature that holds codes: the name of every code, None for one that training never saw.
Categories = Mapping[int, Sequence[str | None]]


def categories(schema: Mapping[str, Any]) -> dict[int, list[str | None]]:
    """The features that hold codes, as a table's ``schema`` has them; none for other data."""
    found: dict[int, list[str | None]] = {}
    position = 0
    for column in schema.get("table", {}).get("columns", ()):
        if column["kind"] == "category":
            missing = "(missing)" if column["missing"] else None
            found[position] = [*column["levels"], missing, "(other)" if column["others"] else None]
            position += 1
        else:
            position += len(column["fill"]) + column["missing"]
    return found


def embedding_width(codes: int) -> int:
    """How long a learned vector for one of so many codes is: ``1.6 · codes^0.56``, at most 50.

    The rule of thumb of fastai's ``emb_sz_rule``.
    """
    return min(50, int(1.6 * codes**0.56 + 0.5))


def table_width(features: int, coded: Categories, one_hot_levels: float = inf) -> int:
    """How many columns such features become; see ``OneHot`` and, with vectors, ``TableInput``."""
    width = features - len(coded)
    for codes in coded.values():
        seen = sum(code is not None for code in codes)
        width += seen if len(codes) - 2 <= one_hot_levels else embedding_width(len(codes))
    return width


class OneHot(nn.Module):
    """Numbers as they are, then a 0/1 column for every code that training has seen.

    A code that training has not seen gives zeros: nothing was learned of it.

    Args:
        in_features: Number of features.
        categories: Those that hold codes, see ``Categories``.
        without: Those that are left out.
    """

    def __init__(
        self, in_features: int, categories: Categories, without: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.categories = {p: list(codes) for p, codes in categories.items() if p not in without}
        numbers = [p for p in range(in_features) if p not in {*categories, *without}]
        seen = [code is not None for codes in self.categories.values() for code in codes]
        self.num_seen = sum(seen)
        # Where in the row a code has its column; all that were never seen share one behind the end.
        places = torch.tensor(seen, dtype=torch.int64).cumsum(0) - 1
        lengths = torch.tensor([len(codes) for codes in self.categories.values()])
        self.places: Tensor
        self.starts: Tensor
        self.last: Tensor
        self.numbers: Tensor
        self.coded: Tensor
        self._constant("places", places.masked_fill(~torch.tensor(seen).bool(), self.num_seen))
        self._constant("starts", lengths.cumsum(0) - lengths)
        self._constant("last", lengths - 1)
        self._constant("numbers", torch.tensor(numbers))
        self._constant("coded", torch.tensor([*self.categories]))

    def _constant(self, name: str, values: Tensor) -> None:
        self.register_buffer(name, values.long(), persistent=False)

    @property
    def out_features(self) -> int:
        """Number of columns that it gives."""
        return len(self.numbers) + self.num_seen

    def forward(self, x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Features ``(B, in_features)`` to floats ``(B, out_features)``."""
        x = as_float(flatten(x, self.in_features), dtype or torch.get_default_dtype())
        codes = x.index_select(1, self.coded).long().clamp(min=0).minimum(self.last)
        # Not len(x): torch.export would take the number of samples for a constant.
        hot = x.new_zeros(x.shape[0], self.num_seen + 1).scatter_(
            1, self.places[codes + self.starts], 1
        )
        return torch.cat([x.index_select(1, self.numbers), hot[:, :-1]], 1)

    def names(self, feature_names: Sequence[str]) -> list[str]:
        """Name every column: ``age``, ``city=Berlin``."""
        seen = [
            f"{feature_names[p]}={code}"
            for p, codes in self.categories.items()
            for code in codes
            if code is not None
        ]
        return [*(feature_names[p] for p in self.numbers.tolist()), *seen]


class TableInput(nn.Module):
    """Features of a table to what a network's first layer takes.

    Numbers and categories of few levels as ``OneHot`` has them, standardised; each category of many
    levels as a learned vector. The vector of a code that training has not seen is zero.

    Args:
        in_features: Number of features.
        categories: Those that hold codes, see ``Categories``.
        one_hot_levels: The most levels that a category may have to get a column for each.
        standardize: Whether what is not a learned vector is standardised.
    """

    def __init__(
        self, in_features: int, categories: Categories, one_hot_levels: int, standardize: bool
    ) -> None:
        super().__init__()
        embedded = {p: codes for p, codes in categories.items() if len(codes) - 2 > one_hot_levels}
        self.one_hot = OneHot(in_features, categories, without=list(embedded))
        self.scaling = InputScaling(self.one_hot.out_features, standardize)
        self.positions = list(embedded)
        vectors = [_embedding(codes) for codes in embedded.values()]
        self.embeddings = nn.ModuleList(vectors)
        self.last = [layer.num_embeddings - 1 for layer in vectors]
        self.out_features = self.scaling.in_features + sum(v.embedding_dim for v in vectors)

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(B, in_features)`` to floats ``(B, out_features)``."""
        x = flatten(x, self.one_hot.in_features)
        parts = [self.scaling(self.one_hot(x))]
        for position, last, vectors in zip(self.positions, self.last, self.embeddings, strict=True):
            parts.append(vectors(x[:, position].long().clamp(0, last)))
        return torch.cat(parts, 1)


def _embedding(codes: Sequence[str | None]) -> nn.Embedding:
    embedding = nn.Embedding(len(codes), embedding_width(len(codes)))
    nn.init.normal_(embedding.weight, std=embedding.embedding_dim**-0.5)
    with torch.no_grad():
        for i, code in enumerate(codes):
            if code is None:
                embedding.weight[i] = 0
    return embedding
