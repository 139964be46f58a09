"""What a checkpoint's pickle describes, found out without making any of it.

A pickle is a program for a small machine. This one knows the instructions that ``torch.save`` uses
for tensors and plain values, and no other; where ``torch.load`` would make a tensor, it notes the
shape. So all sizes are known before anything is allocated.
"""

from __future__ import annotations

import pickletools
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

from lit_course.tensor_shapes import (
    STORAGES,
    NotPlainError,
    StorageShape,
    TensorShape,
    only,
    storage_shape,
    tensor_shape,
)

# 40,000 tensors, or 200,000 names of features. The dearest use of so many took 83 MB.
MAX_INSTRUCTIONS = 500_000
MAX_DEPTH = 32
# Tied weights are counted twice; a mapping that shows one tensor a thousand times is no model.
MAX_SHARING = 4

_TENSOR = "torch._utils _rebuild_tensor_v2"
_GLOBALS = {"collections OrderedDict", "collections Counter", _TENSOR, *STORAGES}


class _Global(NamedTuple):
    name: str


def describe(pickled: bytes, storages: Mapping[str, int]) -> Any:
    """Run a pickle on the small machine.

    Args:
        pickled: The content of ``data.pkl``.
        storages: The size of each storage of the archive in bytes, by its key.

    Returns:
        What ``torch.load`` would return, with a ``TensorShape`` for each tensor.

    Raises:
        NotPlainError: If it names anything but tensors and plain values, is deeper than
            ``MAX_DEPTH``, contains itself, or describes more than the archive holds.
    """
    machine = _Machine(storages)
    try:
        value = machine.run(pickled)
    except NotPlainError:
        raise
    # What a damaged program does to the machine: an empty stack, an unknown memo, no hash.
    except (IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotPlainError("its data.pkl is damaged") from error
    _check_size(value, MAX_SHARING * (len(pickled) + sum(storages.values())))
    return value


class _Machine:
    """Stack, marks and memo of the pickle machine."""

    def __init__(self, storages: Mapping[str, int]) -> None:
        self.storages = storages
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, pickled: bytes) -> Any:
        for count, (opcode, arg, _) in enumerate(pickletools.genops(pickled)):
            if count > MAX_INSTRUCTIONS:
                raise NotPlainError(f"its data.pkl has more than {MAX_INSTRUCTIONS:,} instructions")
            if opcode.name == "STOP":
                break
            self._step(opcode.name, arg)
        (value,) = self.stack
        return value

    def _step(self, name: str, arg: Any) -> None:
        stack = self.stack
        match name:
            case "PROTO":
                if arg != 2:
                    raise NotPlainError(f"its pickle is of protocol {arg}, torch.save writes 2")
            case "MARK":
                self.marks.append(len(stack))
            case "BINPUT" | "LONG_BINPUT":
                self.memo[arg] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self.memo[arg])
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
            case "BININT" | "BININT1" | "BININT2" | "BINFLOAT":
                stack.append(arg)
            case "BINUNICODE":
                arg.encode()  # half a surrogate pair could not be printed
                stack.append(arg)
            case "LONG1":
                if arg.bit_length() > 64:
                    raise NotPlainError("it holds an integer of more than 64 bits")
                stack.append(arg)
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_TUPLE":
                stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[name]())
            case "TUPLE":
                stack.append(tuple(self._since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack[-int(name[-1]) :] = [tuple(stack[-int(name[-1]) :])]
            case "APPEND" | "APPENDS":
                items = [stack.pop()] if name == "APPEND" else self._since_mark()
                only(list, stack[-1]).extend(items)
            case "SETITEM" | "SETITEMS":
                items = self._last(2) if name == "SETITEM" else self._since_mark()
                self._set_items(stack[-1], items)
            case "GLOBAL":
                if arg not in _GLOBALS:
                    raise NotPlainError(f"it names {arg.replace(' ', '.')!r:.80}")
                stack.append(_Global(arg))
            case "BINPERSID":
                stack.append(self._storage(*stack.pop()))
            case "REDUCE":
                made, args = self._last(2)
                stack.append(self._make(made, args))
            case "BUILD":
                self._build(stack.pop(), stack[-1])
            case _:
                raise NotPlainError(f"its pickle has the instruction {name}")

    def _since_mark(self) -> list[Any]:
        start = self.marks.pop()
        items, self.stack[start:] = self.stack[start:], []
        return items

    def _last(self, count: int) -> list[Any]:
        items, self.stack[-count:] = self.stack[-count:], []
        return items

    def _set_items(self, target: Any, items: list[Any]) -> None:
        if type(target) not in (dict, OrderedDict, Counter):
            raise NotPlainError("its data.pkl is damaged")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Of other keys one can choose a million with one hash, which take hours to insert.
            if type(key) is not str and not (type(key) is int and abs(key) < 1 << 31):
                raise NotPlainError(f"it has a key that is neither text nor a number: {key!r:.80}")
            target[key] = value

    def _make(self, made: Any, args: Any) -> Any:
        name = only(_Global, made).name
        if name == _TENSOR:
            return tensor_shape(*args)
        if name == "collections OrderedDict" and args == ():
            return OrderedDict()
        if name == "collections Counter":
            (counts,) = args
            return Counter(only(dict, counts))
        raise NotPlainError(f"it calls {name.replace(' ', '.')}")

    def _build(self, state: Any, target: Any) -> None:
        # torch.nn.Module.state_dict() notes the version of each layer so.
        if set(only(dict, state)) != {"_metadata"}:
            raise NotPlainError("it sets attributes")
        only(OrderedDict, target)._metadata = state["_metadata"]

    def _storage(self, kind: str, made: Any, key: str, device: str, numel: int) -> StorageShape:
        if kind != "storage":
            raise NotPlainError("its data.pkl is damaged")
        return storage_shape(only(_Global, made).name, key, device, numel, self.storages)


def _check_size(value: Any, max_bytes: int) -> None:
    """Walk all of it: what refers to itself has no end, what refers to one thing often explodes."""
    path, nbytes = [iter((value,))], 0
    for _ in range(2 * MAX_INSTRUCTIONS):
        if not path:
            return
        value = next(path[-1], path)
        if value is path:
            path.pop()
        elif isinstance(value, _Global | StorageShape):
            raise NotPlainError("it holds more than tensors and plain values")
        elif isinstance(value, dict | list | tuple):
            path.append(_children(value))
        else:
            nbytes += value.nbytes if isinstance(value, TensorShape) else len(str(value))
        if len(path) > MAX_DEPTH:
            raise NotPlainError(f"it is nested more than {MAX_DEPTH} deep")
        if nbytes > max_bytes:
            break
    raise NotPlainError("it repeats its values over and over")


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        return chain(value, value.values(), getattr(value, "__dict__", {}).values())
    return iter(value)
