"""Captured rows (formats.md 6)."""

import uuid

from .base import lp, sha256


def captured_id(log, drawn):
    """The id of a captured row in the log: a UUIDv8."""
    raw = bytearray(sha256(lp("crmguard/audit/captured/v2", log, uuid.UUID(drawn).bytes))[:16])
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(raw)))
