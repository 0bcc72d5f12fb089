"""The trial as data: model, reader, writer, units, criteria language and the bundled protocols.

`load` reads a protocol, `dumps` writes one, `sha256` names its version. The criteria language is in
`equipoise.protocol.criteria`, units in `equipoise.protocol.units`.
"""

from equipoise.protocol.model import Protocol
from equipoise.protocol.reading import ProtocolError, bundled, load, loads
from equipoise.protocol.writing import canonical, dumps, json_schema, resolve, sha256

__all__ = [
    "Protocol", "ProtocolError", "bundled", "canonical", "dumps", "json_schema", "load", "loads",
    "resolve", "sha256",
]  # fmt: skip
