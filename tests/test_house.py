"""The house keeps its rules: imports point down, heavy rooms load late, words lead to code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
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


def test_every_module_says_what_it_is_for() -> None:
    modules = [p for p in (ROOT / "src").rglob("*.py") if p.stat().st_size]
    silent = [str(p.relative_to(ROOT)) for p in modules if not p.read_text().lstrip().startswith('"""')]
    assert not silent


def test_the_checks_are_one_command_that_needs_only_python() -> None:
    run = ROOT / ".ci" / "run"
    assert os.access(run, os.X_OK)
    assert subprocess.run(["bash", "-n", str(run)]).returncode == 0
