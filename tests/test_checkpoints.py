"""Honest checkpoints are read as torch reads them; test_hostile_checkpoints has the others."""

import io
from collections import Counter, OrderedDict

import pytest
import torch
from attacks.archives import archive, records, saved
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_course import checkpoints
from lit_course.archive import read_archive
from lit_course.plain_pickle import describe
from lit_course.tensor_shapes import TensorShape

DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
    torch.complex64,
]
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)
TENSORS = st.builds(
    lambda shape, dtype: torch.zeros(shape, dtype=dtype),
    st.lists(st.integers(0, 4), max_size=3),
    st.sampled_from(DTYPES),
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
VALUES = st.recursive(
    st.one_of(PLAIN, TENSORS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.dictionaries(st.integers(0, 9), inner, max_size=3),
        st.dictionaries(KEYS, inner, max_size=3).map(OrderedDict),
        st.dictionaries(st.integers(0, 9), st.integers(0, 9), max_size=3).map(Counter),
    ),
    max_leaves=12,
)


def shapes(value):
    """The same with a shape for each tensor."""
    if isinstance(value, torch.Tensor):
        return TensorShape(tuple(value.shape), value.numel() * value.element_size())
    if isinstance(value, dict):
        kind = type(value)
        return kind({key: shapes(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return type(value)(shapes(item) for item in value)
    return value


@settings(max_examples=150, deadline=None, derandomize=True)
@given(VALUES)
def test_a_description_is_what_torch_makes(value):
    found = read_archive(io.BytesIO(saved(value)))
    described = describe(found.pickled, found.storages)
    expected = shapes(value)
    assert described == expected
    assert repr(described) == repr(expected)  # also of one type


@pytest.fixture
def model() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.LSTM(4, 5, 2)
    )


def test_reads_what_torch_reads(model, tmp_path):
    """Views, tied weights, transposed weights and the state of an optimizer are all honest."""
    optimizer = torch.optim.Adam(model.parameters())
    sum(parameter.sum() for parameter in model.parameters()).backward()
    optimizer.step()
    state = model.state_dict()
    state["tied"] = state["0.weight"]
    state["view"] = torch.arange(20.0)[5:10]
    state["transposed"] = torch.arange(6.0).reshape(2, 3).t()
    path = tmp_path / "strange name: ü.ckpt"
    torch.save({"state_dict": state, "optimizer_states": [optimizer.state_dict()]}, path)
    found = checkpoints.read(path)
    assert type(found["state_dict"]) is OrderedDict
    assert found["state_dict"]._metadata == state._metadata
    for name, value in state.items():
        assert torch.equal(found["state_dict"][name], value)
        assert found["state_dict"][name].stride() == value.stride()
    assert str(found["optimizer_states"]) == str([optimizer.state_dict()])
    on_meta = checkpoints.read(path, map_location="meta")
    assert on_meta["state_dict"]["tied"].is_meta


def test_there_must_be_a_file(tmp_path):
    for path in (tmp_path, tmp_path / "none.ckpt"):
        with pytest.raises(FileNotFoundError, match="checkpoint not found"):
            checkpoints.read(path)


def test_the_sum_of_every_record_is_checked():
    honest = saved({"state_dict": {"a": torch.arange(4.0)}})
    for name, content in records(honest).items():
        at = honest.index(b"archive/" + name.encode())
        at = honest.index(content, at)
        damaged = honest[:at] + bytes([honest[at] ^ 1]) + honest[at + 1 :]
        with pytest.raises(ValueError, match="CRC-32"):
            read_archive(io.BytesIO(damaged))
    assert read_archive(io.BytesIO(archive(records(honest)))).storages == {"0": 16}
