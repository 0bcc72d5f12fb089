"""Evidence of validation: which requirement is shown by which tests, and how they ended.

The requirements stand in `requirements.yaml`; tests name the ids they show with
`@pytest.mark.requirement("A4", "D8")`. As a plugin of pytest (`-p equipoise.conduct.evidence`) this module
writes how each of those tests ended to a file (`--requirements-file`); `trace` puts both together, and
`as_html` and `as_markdown` print the dated page.
"""

from __future__ import annotations

import ast
import hashlib
import json
import platform
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

import equipoise
from equipoise.conduct import entering
from equipoise.conduct.folder import TrialFolder
from equipoise.errors import UserError

FILE = Path(__file__).with_name("requirements.yaml")
MARK = "requirement"
NOT_RUN = "not run"
IN_PART = "passed in part"
NO_TEST = "no test"
SHOWN = ("passed", "later")
"""Results of a requirement that leave nothing open: all its tests passed, or it is not covered yet."""
RAN_TO_THE_END = (0, 1)
"""How pytest ends when it ran what it was asked to: all passed, or some failed."""
STANDARD_ERROR = 2
"""Results go to standard output; how the tests get on is shown beside it."""
RESULTS_NAME = "requirements.json"
GROUPS = {
    "A": "Audit trail", "T": "Time", "S": "Signatures", "U": "Users and access", "I": "Integrity of data",
    "K": "Critical functions", "B": "Backups and evidence", "D": "Hazards",
}  # fmt: skip
LIBRARIES = (
    "Django", "django-allauth", "django-axes", "django-ninja", "cryptography", "gunicorn", "psycopg",
    "pydantic", "numpy", "numba", "polars",
)  # fmt: skip


@dataclass(frozen=True)
class Requirement:
    """One requirement; `later` says why it is not covered yet, empty when it is."""

    id: str
    what: str
    later: str = ""

    @property
    def group(self) -> str:
        """What it is about."""
        return GROUPS[self.id[0]]


@dataclass(frozen=True)
class Shown:
    """A requirement with the tests that show it: (test, how it ended)."""

    requirement: Requirement
    tests: tuple[tuple[str, str], ...]

    @property
    def result(self) -> str:
        """passed, passed in part (other tests of it were skipped or not run), failed, not run, no test, or
        later."""
        ended = {outcome for _, outcome in self.tests}
        if "failed" in ended:
            return "failed"
        if self.requirement.later:
            return "later"
        if not ended:
            return NO_TEST
        if "passed" not in ended:
            return NOT_RUN
        return "passed" if ended == {"passed"} else IN_PART


@dataclass(frozen=True)
class Trace:
    """Requirement, tests, results, and what they were found on."""

    made_at: datetime
    shown: tuple[Shown, ...]
    facts: tuple[tuple[str, str], ...]
    known_issues: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Result -> number of requirements."""
        found: dict[str, int] = {}
        for one in self.shown:
            found[one.result] = found.get(one.result, 0) + 1
        return found

    @property
    def shows_all(self) -> bool:
        """Whether each requirement that is covered has tests, and all of them were run and passed."""
        return self.counts.keys() <= set(SHOWN)

    @property
    def sha256(self) -> str:
        """Hash of all that the page says."""
        content = [
            self.made_at.isoformat(), self.facts, self.known_issues,
            [(r.requirement.id, r.requirement.what, r.requirement.later, r.tests) for r in self.shown],
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


@cache
def requirements() -> tuple[Requirement, ...]:
    """All requirements, in the order of the file."""
    read = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return tuple(Requirement(id, **content) for id, content in read["requirements"].items())


@cache
def known_issues() -> tuple[str, ...]:
    """What is known not to be as one might expect."""
    return tuple(yaml.safe_load(FILE.read_text(encoding="utf-8"))["known_issues"])


# --- tests ------------------------------------------------------------------------------------------------


def named_in(tests: Path) -> dict[str, list[str]]:
    """Requirement -> tests that name it, from the text of the tests: nothing is run."""
    found: dict[str, list[str]] = {}
    for file in sorted(tests.rglob("test_*.py")):
        for test, ids in _marked(ast.parse(file.read_text(encoding="utf-8")), file.relative_to(tests.parent)):
            for id in ids:
                found.setdefault(id, []).append(test)
    return found


def _marked(tree: ast.Module, file: Path) -> Iterator[tuple[str, list[str]]]:
    everywhere = [
        id for node in tree.body
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets)
        for id in _ids_in(node.value)
    ]  # fmt: skip
    for node in tree.body:
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        around = [id for one in getattr(node, "decorator_list", ()) for id in _ids_in(one)]
        for member in members:
            if not isinstance(member, ast.FunctionDef) or not member.name.startswith("test"):
                continue
            own = [id for one in member.decorator_list for id in _ids_in(one)]
            within = [node.name] if isinstance(node, ast.ClassDef) else []
            ids = list(dict.fromkeys([*everywhere, *around, *own]))
            if ids:
                yield "::".join([file.as_posix(), *within, member.name]), ids


def _ids_in(node: ast.expr) -> list[str]:
    """The ids in an expression that applies the mark, or in a list of such."""
    if isinstance(node, ast.List | ast.Tuple):
        return [id for one in node.elts for id in _ids_in(one)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == MARK:
        return [
            one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)
        ]
    return []


# --- as a plugin of pytest --------------------------------------------------------------------------------


def pytest_addoption(parser: Any) -> None:
    """The option that names the file."""
    parser.addoption(
        "--requirements-file", default=RESULTS_NAME,
        help="where to write how the tests of requirements ended",
    )  # fmt: skip


def pytest_itemcollected(item: Any) -> None:
    """Let the reports of a test carry the ids that it names."""
    for mark in item.iter_markers(MARK):
        for id in mark.args:
            item.user_properties.append((MARK, id))


def pytest_configure(config: Any) -> None:
    """Begin a list of results."""
    config.pluginmanager.register(_Collector(config), "equipoise-requirements")


class _Collector:
    """Notes how each test of a requirement ended; writes them when all have."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self.ended: dict[str, dict[str, Any]] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        """A test has ended, or one of its stages."""
        ids = sorted({id for name, id in report.user_properties if name == MARK})
        if not ids or (report.when != "call" and report.outcome == "passed"):
            return
        noted = self.ended.setdefault(report.nodeid, {"requirements": ids, "outcome": report.outcome})
        if report.outcome == "failed":
            noted["outcome"] = "failed"

    def pytest_sessionfinish(self, session: Any) -> None:
        """Write the file, once, whatever number of processes ran the tests."""
        if hasattr(self.config, "workerinput"):
            return
        content = {
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "facts": dict(machine()),
            "tests": [{"test": test, **noted} for test, noted in sorted(self.ended.items())],
        }
        Path(self.config.getoption("--requirements-file")).write_text(json.dumps(content, indent=1))


# --- the trace --------------------------------------------------------------------------------------------


def machine() -> list[tuple[str, str]]:
    """What the software runs on."""
    facts = [
        ("Equipoise", equipoise.__version__),
        ("Python", platform.python_version()),
        ("SQLite", sqlite3.sqlite_version),
        ("System", f"{platform.system()} {platform.release()} {platform.machine()}"),
    ]
    for name in LIBRARIES:
        try:
            facts.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            facts.append((name, "not installed"))
    return facts


def trace(trial: TrialFolder | None, results: Path | None, tests: Path | None) -> Trace:
    """Requirements with the tests that name them and how those ended.

    `results` is the file that the plugin wrote; `tests` the folder of tests, for those that were not run.
    Raises UserError when the file cannot be read.
    """
    facts = [*machine()]
    ended: dict[str, list[tuple[str, str]]] = {}
    if results is not None:
        read = _results(results)
        facts.append(("Tests ended", f"{read['made_at']}, Equipoise {read['facts'].get('Equipoise', '?')}"))
        for one in read["tests"]:
            for id in one["requirements"]:
                ended.setdefault(id, []).append((one["test"], one["outcome"]))
    if tests is not None:
        if not tests.is_dir():
            raise UserError(f"{tests} is not a folder: name the one that holds the tests with --tests")
        for id, named in named_in(tests).items():
            run = {test.partition("[")[0] for test, _ in ended.get(id, [])}
            ended.setdefault(id, []).extend((test, NOT_RUN) for test in named if test not in run)
    if trial is not None:
        facts += [
            ("Trial", f"{trial.name} ({trial.kind})"), ("Protocol SHA-256", trial.protocol_sha256),
        ]  # fmt: skip
    return Trace(
        datetime.now(UTC).replace(microsecond=0),
        tuple(Shown(one, tuple(sorted(ended.get(one.id, ())))) for one in requirements()),
        tuple(facts),
        known_issues(),
    )


def _results(file: Path) -> dict[str, Any]:
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
        complete = {"made_at", "facts", "tests"} <= set(read) and all(
            {"test", "outcome", "requirements"} <= set(one) for one in read["tests"]
        )
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    except (ValueError, TypeError):
        complete = False
    if not complete:
        raise UserError(
            f"{file}: these are not results of tests: write them with  pytest -m requirement "
            "-p equipoise.conduct.evidence"
        )
    return dict(read)


def run_tests(tests: Path, results: Path) -> None:
    """Run the tests that name a requirement; how they ended goes to `results`, whatever stood there before.

    Raises UserError when they could not be run to the end: there are no results then.
    """
    import subprocess

    if not tests.is_dir():
        raise UserError(f"{tests} is not a folder: name the one that holds the tests with --tests")
    try:
        results.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{results}: cannot be replaced: {error.strerror}") from None
    status = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", MARK, "-p", "equipoise.conduct.evidence",
         "--requirements-file", str(results.resolve()), str(tests.resolve())],
        cwd=tests.resolve().parent, stdout=STANDARD_ERROR,
    ).returncode  # fmt: skip
    if status not in RAN_TO_THE_END or not results.is_file():
        results.unlink(missing_ok=True)
        raise UserError(
            f"the tests in {tests} did not run to the end (pytest ended with status {status}): there are no "
            "results to show; what it says stands above"
        )


# --- the page ---------------------------------------------------------------------------------------------

_WORDS = {
    "passed": "passed", IN_PART: "passed in part", "failed": "FAILED", NOT_RUN: "not run",
    NO_TEST: "NO TEST", "later": "later",
}  # fmt: skip
_HTML = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Evidence of validation, {{ trace.made_at.date() }}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; max-width: 75em; margin: 2em auto; padding: 0 1em;
color: #1b2a30; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; vertical-align: top;
padding: .3em .6em; border-bottom: 1px solid #c9d3d6; } th { background: #eef3f4; }
td.test { font: 12px/1.4 ui-monospace, monospace; overflow-wrap: anywhere; } .failed, .no { font-weight: bold;
color: #a1200d; } .passed { color: #17603a; } .part { color: #7a4b00; }
tr { break-inside: avoid; } code { overflow-wrap: anywhere; }
</style></head><body>
<h1>Evidence of validation</h1>
<p>Made {{ made_at }}. {{ summary }}</p>
<table><tbody>{% for name, words in trace.facts %}<tr><th scope="row">{{ name }}</th>
<td><code>{{ words }}</code></td></tr>{% endfor %}</tbody></table>
{% for group, rows in groups %}<h2>{{ group }}</h2>
<table><thead><tr><th scope="col">Id</th><th scope="col">Requirement</th><th scope="col">Result</th>
<th scope="col">Tests</th></tr></thead><tbody>
{% for one in rows %}<tr><th scope="row">{{ one.requirement.id }}</th><td>{{ one.requirement.what }}</td>
<td class="{{ one.result }}">{{ words[one.result] }}</td><td class="test">{% if one.requirement.later
%}{{ one.requirement.later }}{% endif %}{% for test, outcome in one.tests %}{{ test }}: {{ outcome }}<br>
{% endfor %}</td></tr>{% endfor %}</tbody></table>{% endfor %}
<h2>Known issues</h2><ul>{% for one in trace.known_issues %}<li>{{ one }}</li>{% endfor %}</ul>
<p>SHA-256 of what this page says: <code>{{ trace.sha256 }}</code></p>
</body></html>
"""


def summary(found: Trace) -> str:
    """The result in one sentence."""
    counts = found.counts
    parts = [f"{counts[name]} {words}" for name, words in _WORDS.items() if counts.get(name)]
    return f"{len(found.shown)} requirements: {', '.join(parts)}."


def _made_at(found: Trace) -> str:
    return f"{entering.short(found.made_at)}, {found.made_at:%H:%M} UTC"


def _groups(found: Trace) -> list[tuple[str, list[Shown]]]:
    groups: dict[str, list[Shown]] = {}
    for one in found.shown:
        groups.setdefault(one.requirement.group, []).append(one)
    return list(groups.items())


def as_html(found: Trace) -> str:
    """The page, on its own: nothing is loaded from elsewhere."""
    import jinja2

    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(_HTML)
    return page.render(
        trace=found, groups=_groups(found), words=_WORDS, summary=summary(found), made_at=_made_at(found)
    )  # fmt: skip


def as_markdown(found: Trace) -> str:
    """The same as plain text."""
    lines = [
        "# Evidence of validation", "", f"Made {_made_at(found)}. {summary(found)}", "",
        *(f"- {name}: {words}" for name, words in found.facts),
    ]  # fmt: skip
    for group, rows in _groups(found):
        lines += ["", f"## {group}", "", "| id | requirement | result | tests |", "|---|---|---|---|"]
        for one in rows:
            tests = one.requirement.later or "<br>".join(f"`{test}`: {ended}" for test, ended in one.tests)
            what = f"{one.requirement.what} | {_WORDS[one.result]} | {tests}".replace("\n", " ")
            lines.append(f"| {one.requirement.id} | {what} |")
    lines += ["", "## Known issues", "", *(f"- {one}" for one in found.known_issues), ""]
    return "\n".join([*lines, f"SHA-256 of what this page says: {found.sha256}", ""])
