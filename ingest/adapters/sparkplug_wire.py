"""Sparkplug B 3.0 payloads as protobuf: the fields we read, as a table. Pure.

The table is the descriptor: field numbers and types of the specification's chapter 6.
What is not in it (data sets, templates, properties, metadata) is skipped by the parser.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from domain.errors import PayloadError
from ingest.codec import PAYLOAD_BYTES_MAX

PACKAGE = "gridpulse.sparkplug"
U32, U64, FLOAT, DOUBLE, BOOL, STRING, MESSAGE = "UINT32", "UINT64", "FLOAT", "DOUBLE", "BOOL", "STRING", "MESSAGE"

METRIC = (
    ("name", 1, STRING), ("alias", 2, U64), ("timestamp", 3, U64), ("datatype", 4, U32),
    ("is_historical", 5, BOOL), ("is_transient", 6, BOOL), ("is_null", 7, BOOL),
    ("int_value", 10, U32), ("long_value", 11, U64), ("float_value", 12, FLOAT), ("double_value", 13, DOUBLE),
    ("boolean_value", 14, BOOL), ("string_value", 15, STRING),
)  # fmt: skip
PAYLOAD = (("timestamp", 1, U64), ("metrics", 2, MESSAGE), ("seq", 3, U64))

VALUE_FIELDS = ("int_value", "long_value", "float_value", "double_value", "boolean_value")
SIGNED_BITS = {1: 8, 2: 16, 3: 32, 4: 64}
"""Datatypes Int8 to Int64: two's complement in an unsigned field."""


def _classes() -> tuple[Any, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="gridpulse_sparkplug.proto", package=PACKAGE, syntax="proto2")
    for name, fields in (("Metric", METRIC), ("Payload", PAYLOAD)):
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            message.field.add(
                name=field, number=number, type=getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{kind}"),
                label=(
                    descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
                    if kind == MESSAGE
                    else descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
                ),
                type_name=f".{PACKAGE}.Metric" if kind == MESSAGE else None,
            )  # fmt: skip
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    of = message_factory.GetMessageClass
    return (
        of(pool.FindMessageTypeByName(f"{PACKAGE}.Payload")),
        of(pool.FindMessageTypeByName(f"{PACKAGE}.Metric")),
    )


Payload, Metric = _classes()


def parse(payload: bytes) -> Any:
    """A Payload. Raises: PayloadError ``not_protobuf``, ``too_large``."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise PayloadError("too_large", f"{len(payload)} bytes, more than {PAYLOAD_BYTES_MAX}")
    message = Payload()
    try:
        message.ParseFromString(payload)
    except (DecodeError, ValueError, UnicodeDecodeError) as error:
        raise PayloadError("not_protobuf", f"payload: {error}") from error
    for index, metric in enumerate(message.metrics):
        # proto2 does not check texts; what is no UTF-8 comes out as bytes.
        if not isinstance(metric.name, str):
            raise PayloadError("not_protobuf", f"metrics[{index}].name is not UTF-8")
    return message


def value_of(metric: Any, datatype: int) -> float | None:
    """A metric's value as a number; None for texts, nulls and what has none."""
    if metric.is_null:
        return None
    for field in VALUE_FIELDS:
        if metric.HasField(field):
            value = getattr(metric, field)
            bits = SIGNED_BITS.get(datatype)
            if bits and field in ("int_value", "long_value"):
                value &= (1 << bits) - 1
                value -= (1 << bits) if value >> (bits - 1) else 0
            return float(value)
    return None


def rebirth_request(timestamp_ms: int) -> bytes:
    """The payload of an NCMD that asks a node to be born again."""
    message = Payload(timestamp=timestamp_ms)
    message.metrics.add(name="Node Control/Rebirth", timestamp=timestamp_ms, datatype=11, boolean_value=True)
    encoded: bytes = message.SerializeToString()
    return encoded
