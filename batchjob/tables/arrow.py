"""Columns of Arrow as JSON values and back: the types of a Parquet file survive the way through the work table."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

import pyarrow
from pyarrow import compute, types

from batchjob.tables.values import Raw, packed, special

JSON_TEXT = {b"batchjob": b"json"}
"""The metadata of a column that holds JSON text: arrays and objects, which have no common type."""

NOT_RESTORED = (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError, pyarrow.ArrowTypeError)


def packed_schema(schema: Any) -> str:
    """A schema as text, without what other programs noted at it."""
    return base64.b64encode(schema.remove_metadata().serialize().to_pybytes()).decode()


def unpacked_schema(text: str) -> Any:
    """The schema that was packed so."""
    return pyarrow.ipc.read_schema(pyarrow.py_buffer(base64.b64decode(text)))


# ---------------------------------------------------------------- in


def json_values(array: Any, field: Any) -> list[Any]:
    """The values of a column as JSON has them."""
    if isinstance(array, pyarrow.ExtensionArray):
        array = array.storage
    if is_json_text(field):
        return [None if text is None else Raw(text.encode()) for text in array.to_pylist()]
    plain = plain_type(array.type)
    if types.is_timestamp(array.type) and array.type.tz:
        array = _moments(array)
    elif plain != array.type:
        array = compute.cast(array, plain)
    values: list[Any] = array.to_pylist()
    if types.is_floating(plain):
        return [special(x) if x is not None and not math.isfinite(x) else x for x in values]
    return values if _is_json(plain) else [_packed(value) for value in values]


def _moments(array: Any) -> Any:
    """Times with a zone as text; in UTC where the offset was not whole minutes, as before zones were agreed on."""
    local = compute.cast(array, pyarrow.string())
    same = compute.equal(compute.cast(local, array.type), array)
    if compute.all(same).as_py() is not False:
        return local
    return compute.if_else(
        same, local, compute.cast(compute.cast(array, pyarrow.timestamp(array.type.unit, "UTC")), pyarrow.string())
    )


def is_json_text(field: Any) -> bool:
    """Whether a column holds JSON text that an export of ours has put there."""
    metadata = field.metadata or {}
    return JSON_TEXT.items() <= metadata.items() and bool(types.is_string(field.type))


def plain_type(kind: Any) -> Any:
    """The type that stands for another in JSON: text for times and decimals, which goes there and back exactly."""
    if types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if types.is_duration(kind):
        return pyarrow.int64()
    if types.is_temporal(kind) or types.is_decimal(kind) or types.is_large_string(kind):
        return pyarrow.string()
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return pyarrow.binary()
    if types.is_floating(kind):
        return pyarrow.float64()
    if types.is_map(kind):
        return pyarrow.map_(plain_type(kind.key_type), plain_type(kind.item_type))
    if types.is_struct(kind):
        return pyarrow.struct([(field.name, plain_type(field.type)) for field in kind])
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return pyarrow.list_(plain_type(kind.value_type))
    return kind


def _is_json(plain: Any) -> bool:
    """Whether JSON has its values as they are."""
    return any(is_so(plain) for is_so in (types.is_string, types.is_integer, types.is_boolean, types.is_null))


def _packed(value: Any) -> Any:
    if isinstance(value, bytes):
        return packed(value)
    if isinstance(value, float) and not math.isfinite(value):
        return special(value)
    if isinstance(value, dict):
        return {key: _packed(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_packed(one) for one in value]
    return value


# ---------------------------------------------------------------- out


def can_restore(kind: Any) -> bool:
    """Whether a type can be made again of what JSON has in its place."""
    try:
        restored([], kind)
    except NOT_RESTORED:
        return False
    return True


def restored(values: Sequence[Any], kind: Any) -> Any:
    """An array of this type, of decoded JSON values.

    Raises:
        NOT_RESTORED: a value is not of the type; the file has changed, or its writer did not keep to it.
    """
    if types.is_struct(kind):
        array = _structs(values, kind)
    elif types.is_map(kind):
        offsets, pairs = _flat(values)
        keys = restored([key for key, _ in pairs], kind.key_type)
        array = pyarrow.MapArray.from_arrays(offsets, keys, restored([one for _, one in pairs], kind.item_type))
    elif types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        offsets, flat = _flat(values)
        array = pyarrow.ListArray.from_arrays(offsets, restored(flat, kind.value_type))
    else:
        return _leaves(values, kind)
    return array if array.type == kind else compute.cast(array, kind)


def _structs(values: Sequence[Any], kind: Any) -> Any:
    children = [
        restored([None if value is None else value.get(field.name) for value in values], field.type) for field in kind
    ]
    missing = pyarrow.array([value is None for value in values], pyarrow.bool_())
    return pyarrow.StructArray.from_arrays(children, fields=list(kind), mask=missing)


def _flat(values: Sequence[Any]) -> tuple[Any, list[Any]]:
    """Where each list begins, None for one that is null, and what is in all of them."""
    offsets: list[int | None] = []
    flat: list[Any] = []
    for value in values:
        offsets.append(None if value is None else len(flat))
        flat += value or ()
    return pyarrow.array([*offsets, len(flat)], pyarrow.int32()), flat


def _leaves(values: Sequence[Any], kind: Any) -> Any:
    plain = plain_type(kind)
    if types.is_binary(plain):
        values = [value.encode() if isinstance(value, str) else value for value in values]
    array = pyarrow.array(values, plain)
    if types.is_time(kind):
        moments = compute.binary_join_element_wise("1970-01-01 ", array, "")
        return compute.cast(compute.cast(moments, pyarrow.timestamp(kind.unit)), kind)
    return array if plain == kind else compute.cast(array, kind, safe=not types.is_floating(kind))
