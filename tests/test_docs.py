"""The README and the manual are true: every command in them is run, and prints what they say that it prints.

In a ```console block a line that begins with `$ ` is a command; the lines below it, up to the next one, must
be found in what it prints, in any order (`…` stands for anything). The commands of one page are run one after
the other in one folder. Of other blocks only the Python of the README and of the Python page is run.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.M | re.S)
SHELL_ONLY = ("git ", "make ", "python", "pip ", "source ", ".ci/run", "cd ")
"""Commands of an installation, which `.ci/run` and the Makefile themselves are."""


@dataclass(frozen=True)
class Command:
    line: str
    says: tuple[str, ...]


def blocks(page: Path, kind: str) -> list[str]:
    return [text for found, text in BLOCK.findall(page.read_text(encoding="utf-8")) if found == kind]


def commands(page: Path) -> Iterator[Command]:
    for text in blocks(page, "console"):
        line, says = "", list[str]()
        for each in [*text.splitlines(), "$ "]:
            if each.startswith("$ "):
                if line and not line.startswith(SHELL_ONLY):
                    yield Command(line, tuple(says))
                line, says = each[2:].split("  # ")[0].strip(), []
            elif line.endswith("\\"):
                line = f"{line[:-1].strip()} {each.strip()}"
            elif each.strip() and each.strip() != "…":
                says.append(each.strip())


def squeezed(text: str) -> str:
    return re.sub(r"[\s│┃|─━]+", " ", text)


PAGES_WITH_COMMANDS = [page for page in PAGES if any(True for _ in commands(page))]


def test_the_readme_and_the_first_pages_show_commands() -> None:
    names = {page.name for page in PAGES_WITH_COMMANDS}
    assert {"README.md", "conduct.md", "first-trial.md", "your-own-trial.md", "real-data.md"} <= names


@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS, ids=lambda page: page.name)
def test_every_command_of_the_page_does_what_the_page_says(page: Path, tmp_path: Path) -> None:
    environment = os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "PYTHONHASHSEED": "0"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    for place in (tmp_path, tmp_path / "docs" / "examples"):
        shutil.copytree(ROOT / "docs" / "examples", place, dirs_exist_ok=True)
    if "gbsg2.csv" in page.read_text(encoding="utf-8"):
        data = pytest.importorskip("lifelines.datasets", reason="the data of the example come with lifelines")
        shutil.copy(Path(data.__file__).with_name("gbsg2.csv"), tmp_path)
    if any(command.line.startswith("equipoise conduct") for command in commands(page)):
        pytest.importorskip("django", reason="conducting a trial needs the extra conduct")
    for command in commands(page):
        assert shlex.split(command.line)[0] in ("equipoise", "cmp"), (
            f"{page.name} shows a command that is not run: {command.line}"
        )
        done = subprocess.run(
            ["bash", "-c", command.line],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        printed = done.stdout + done.stderr
        assert "Traceback" not in printed, printed
        wrong = "does not pass" in command.line or any(
            "✗" in s or s.startswith(("Error", "equipoise: ")) for s in command.says
        )
        assert (done.returncode == 0) is not wrong, f"$ {command.line}\n{printed}"
        for said in command.says:
            parts = [squeezed(part).strip() for part in said.split("…") if part.strip()]
            missing = [part for part in parts if part not in squeezed(printed)]
            assert not missing, f"$ {command.line}\ndoes not print {missing}; it prints\n{printed}"


@pytest.mark.parametrize("name", ["README.md", "docs/python.md"])
def test_the_python_of_the_page_runs(name: str, tmp_path: Path) -> None:
    code = "\n".join(blocks(ROOT / name, "python"))
    assert "import equipoise as eq" in code
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr


def test_the_manual_is_built_without_a_warning(tmp_path: Path) -> None:
    mkdocs = Path(sys.executable).with_name("mkdocs")
    if not mkdocs.exists():
        pytest.skip("mkdocs is not installed in this environment")
    done = subprocess.run(
        [str(mkdocs), "build", "--quiet", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    index = (tmp_path / "index.html").read_text(encoding="utf-8")
    loaded = re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="(https?://[^"]+)"', index)
    assert not loaded, f"the manual loads {loaded} from elsewhere"


def test_every_page_of_the_manual_is_in_its_contents() -> None:
    contents = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"[\w-]+\.md", contents.partition("\nnav:")[2]))
    pages = {page.name for page in (ROOT / "docs").rglob("*.md")}
    assert pages <= listed, f"not in mkdocs.yml: {sorted(pages - listed)}"
