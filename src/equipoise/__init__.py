"""Equipoise executes clinical trials: one protocol file, from design to result.

    import equipoise as eq

    done = eq.run("silcaat", out="silcaat-1")             # simulate, analyse, report
    protocol = eq.load_protocol("silcaat")                # or the path of your own file
    record = eq.simulate_trial(protocol, seed=1)
    results = eq.analyse_record(record)
    print(eq.summary(results, protocol))

Each name is loaded when it is first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from equipoise.analyse import Results
    from equipoise.analyse import run as analyse_record
    from equipoise.analyse import write as write_results
    from equipoise.analyse.summary import summary
    from equipoise.errors import UserError
    from equipoise.job import explain, fit, power, run, surrogate
    from equipoise.protocol import Protocol
    from equipoise.protocol import bundled as bundled_protocols
    from equipoise.protocol import load as load_protocol
    from equipoise.record import Record
    from equipoise.record import check as check_record
    from equipoise.record import read as read_record
    from equipoise.record.mapping import analysis_input as map_data
    from equipoise.report import write as write_report
    from equipoise.rules import decide
    from equipoise.simulate.replicates import replicates as simulate_replicates
    from equipoise.simulate.runs import trial as simulate_trial

_PLACES = {
    "Protocol": ("equipoise.protocol", "Protocol"),
    "Record": ("equipoise.record", "Record"),
    "Results": ("equipoise.analyse", "Results"),
    "UserError": ("equipoise.errors", "UserError"),
    "analyse_record": ("equipoise.analyse", "run"),
    "bundled_protocols": ("equipoise.protocol", "bundled"),
    "check_record": ("equipoise.record", "check"),
    "decide": ("equipoise.rules", "decide"),
    "explain": ("equipoise.job", "explain"),
    "fit": ("equipoise.job", "fit"),
    "load_protocol": ("equipoise.protocol", "load"),
    "map_data": ("equipoise.record.mapping", "analysis_input"),
    "power": ("equipoise.job", "power"),
    "read_record": ("equipoise.record", "read"),
    "run": ("equipoise.job", "run"),
    "simulate_replicates": ("equipoise.simulate.replicates", "replicates"),
    "simulate_trial": ("equipoise.simulate.runs", "trial"),
    "summary": ("equipoise.analyse.summary", "summary"),
    "surrogate": ("equipoise.job", "surrogate"),
    "write_report": ("equipoise.report", "write"),
    "write_results": ("equipoise.analyse", "write"),
}

__all__ = [
    "Protocol", "Record", "Results", "UserError", "__version__", "analyse_record", "bundled_protocols",
    "check_record", "decide", "explain", "fit", "load_protocol", "map_data", "power", "read_record", "run",
    "simulate_replicates", "simulate_trial", "summary", "surrogate", "write_report", "write_results",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'equipoise' has no attribute {name!r}")
    module, attribute = _PLACES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
