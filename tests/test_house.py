"""The house keeps its rules: imports point down, heavy rooms load late, words lead to code."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]+)(?:#[^)\s]*)?\)")


def test_imports_only_point_down_the_house() -> None:
    script = Path(sys.executable).with_name("lint-imports")
    if not script.exists():
        pytest.skip("import-linter is not installed in this environment")
    done = subprocess.run([str(script), "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_asking_for_help_loads_no_compiler_and_no_tables() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; import equipoise.cli as c; "
        "heavy = {'numba', 'scipy', 'polars', 'matplotlib'} & set(sys.modules); "
        "print(sorted(heavy)); sys.exit(bool(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "page", ["README.md", "GLOSSARY.md", "CONTRIBUTING.md", "DEVELOPERS.md", "CHANGELOG.md"]
)
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    targets = [t for t in LINK.findall((ROOT / page).read_text(encoding="utf-8")) if "://" not in t]
    missing = [t for t in targets if not (ROOT / t).exists()]
    assert not missing, f"{page} leads to {missing}"


def test_every_word_of_the_glossary_is_used_in_the_code_it_leads_to() -> None:
    rows = re.findall(r"^\| ([a-z ]+) \|.*\]\((\S+)\) \|$", (ROOT / "GLOSSARY.md").read_text(), re.M)
    assert len(rows) > 30
    for word, place in rows:
        stem = word.split()[-1].replace("isation", "iz")[:6]
        text = (ROOT / place).read_text(encoding="utf-8").lower()
        assert stem in text, f"{place} does not speak of {word}"


def test_the_glossary_is_sorted_and_has_every_role_of_conduct() -> None:
    from equipoise.conduct import duties

    words = re.findall(r"^\| ([^|]+) \|.*\]\(\S+\) \|$", (ROOT / "GLOSSARY.md").read_text(), re.M)
    assert words == sorted(words, key=str.casefold)
    assert len(words) == len(set(words))
    wanted = {"flag", "freeze", "journal", "override", "proposal", "second factor", "signature", "token"}
    assert not {*duties.ROLES, *wanted} - set(words)


def test_every_module_says_what_it_is_for() -> None:
    modules = [p for p in (ROOT / "src").rglob("*.py") if p.stat().st_size]
    silent = [str(p.relative_to(ROOT)) for p in modules if not p.read_text().lstrip().startswith('"""')]
    assert not silent


LIMIT = re.compile(
    r"SECONDS|MINUTES|HOURS|DAYS|_TIME$|_AGE$|LIMIT|MOST|FEW|LEAST|MANY|LARGE|AHEAD|UNIT_|SPARE|AGES"
)
SOURCE = re.compile(
    r"assumed|as in django-allauth|RFC \d|NIST SP|OWASP|Regulation|four digits|as in `|`[\w.]+`\.$", re.I
)


def numbers_of(module: Path) -> Iterator[tuple[str, str]]:
    """The limits and times of a module, numbers in capital letters, each with the words that follow it; of
    some that stand together the words stand after the last."""
    body, waiting = ast.parse(module.read_text(encoding="utf-8")).body, list[str]()
    for one, after in pairwise([*body, None]):
        if not isinstance(one, ast.Assign | ast.AnnAssign) or one.value is None:
            waiting.clear()
            continue
        name = ast.unparse(one.targets[0] if isinstance(one, ast.Assign) else one.target)
        numbers = [
            part
            for part in ast.walk(one.value)
            if isinstance(part, ast.Constant) and type(part.value) in (int, float)
        ]
        if numbers and name.isupper() and LIMIT.search(name):
            waiting.append(name)
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            yield from ((name, str(after.value.value)) for name in waiting)
            waiting.clear()
        elif not isinstance(after, ast.Assign | ast.AnnAssign):
            yield from ((name, "") for name in waiting)


def test_every_limit_of_conduct_has_its_source_or_says_that_it_is_assumed() -> None:
    found = [
        (module.name, name, words)
        for module in (ROOT / "src" / "equipoise" / "conduct").rglob("*.py")
        for name, words in numbers_of(module)
    ]
    assert len(found) > 50
    assert {"AXES_FAILURE_LIMIT", "IDLE_MINUTES", "SESSION_COOKIE_AGE", "LARGE_CHANGE", "FEW_PLACES"} <= {
        name for _, name, _ in found
    }
    assert not [(module, name) for module, name, words in found if not SOURCE.search(words)]


def test_dates_for_people_are_written_in_one_place() -> None:
    places = {
        module.name
        for module in (ROOT / "src" / "equipoise" / "conduct").rglob("*.py")
        if re.search("%[bB]", module.read_text(encoding="utf-8"))
    }
    assert places == {"entering.py"}


@pytest.mark.parametrize(
    "said",
    [
        '"Equipoise-Password"', '"Equipoise-Now"', '"web", "allocation", "ledger"', '("=", "+", "-", "@"',
        "the database was made by a newer version", '"the database is not empty', "platform.machine()",
    ],
)  # fmt: skip
def test_what_several_rooms_of_conduct_share_is_written_once(said: str) -> None:
    modules = (ROOT / "src" / "equipoise" / "conduct").rglob("*.py")
    places = [module.name for module in modules if said in module.read_text(encoding="utf-8")]
    assert len(places) == 1, places


def test_the_checks_are_one_command_that_needs_only_python() -> None:
    run = ROOT / ".ci" / "run"
    assert os.access(run, os.X_OK)
    assert subprocess.run(["bash", "-n", str(run)]).returncode == 0
