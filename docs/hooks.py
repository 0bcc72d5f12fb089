"""Pages that the manual takes from elsewhere in the repository, so that nothing is written twice."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "GLOSSARY.md": "glossary.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "DEVELOPERS.md": "developers.md",
}
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def _link(match: re.Match[str]) -> str:
    """A link in a page from the root: to another such page, into the manual, or (code) as the bare path."""
    words, target, anchor = match[1], match[2], match[3] or ""
    if target.startswith(("http://", "https://", "mailto:")):
        return match[0]
    if target in PAGES:
        return f"[{words}]({PAGES[target]}{anchor})"
    if target.startswith("docs/"):
        return f"[{words}]({target.removeprefix('docs/')}{anchor})"
    return f"{words} (`{target}`)" if words.strip("`") != target else f"`{target}`"


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of `PAGES` to the manual, with their links turned to where they lead from there."""
    for source, page in PAGES.items():
        content = LINK.sub(_link, (ROOT / source).read_text(encoding="utf-8"))
        files.append(File.generated(config, page, content=content))
    return files
