"""The record: what a trial leaves behind, the same tables whether its participants were virtual or real.

A snapshot of a trial that is still going on is a record with a data cut.

`RecordWriter` and `write` make one, `read` opens one, `check` says row by row what is wrong with it. The
tables are described in `equipoise.record.schemas`; `equipoise.record.mapping` reads other people's data.
"""

from equipoise.record.checking import Finding, check
from equipoise.record.manifest import Manifest, Provenance
from equipoise.record.mapping import AnalysisInput
from equipoise.record.reading import Record, read
from equipoise.record.writing import RecordWriter, save, write

__all__ = [
    "AnalysisInput", "Finding", "Manifest", "Provenance", "Record", "RecordWriter", "check", "read", "save",
    "write",
]  # fmt: skip
