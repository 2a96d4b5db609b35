"""Take the pages that lie outside docs/ into the site, as hooks of MkDocs, and point the links between all there."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
# path in the repository, and name of the page in the site
TAKEN_IN = {
    "README.md": "index.md",
    "bundles/nce/docs/README.md": "model_card.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for source, page in TAKEN_IN.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite links: to a page, to where it is in the site; to what is no page of it, such as code, to its name."""
    uri = page.file.src_uri
    source = next((path for path, name in TAKEN_IN.items() if name == uri), f"docs/{uri}")

    def link(match: re.Match[str]) -> str:
        picture, text, target = match.groups()
        path, _, anchor = target.partition("#")
        if not path or "://" in path:
            return match[0]
        place = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if not (ROOT / place).exists():
            return match[0]  # MkDocs says so
        there = TAKEN_IN.get(place) or place.removeprefix("docs/")
        if files.get_file_from_path(there) is None:
            return text
        relative = posixpath.relpath(there, posixpath.dirname(uri) or ".")
        return f"{picture}[{text}]({relative}{'#' + anchor if anchor else ''})"

    return LINK.sub(link, markdown)
