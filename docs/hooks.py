"""A hook of MkDocs, for what pages have that the site does not know.

Links to files of the repository that are not in docs/ (studies, examples, code) lead to `repo_url` where it is set, and
else are plain text with the file's path. A file that does not exist fails a strict build, as a page that does not exist
does. The second word of a code block's first line (```sh people), by which tests find the block, is left out.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(?P<picture>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<path>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
NAMED = re.compile(r"^(```\w+) [\w-]+$", re.MULTILINE)
log = logging.getLogger("mkdocs.hooks.links")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Called by MkDocs for each page, before it is rendered."""
    folder = Path(page.file.abs_src_path).parent

    def outside(match: re.Match[str]) -> str:
        path = match["path"]
        if re.match(r"[a-z]+:", path):
            return match[0]
        target = Path(os.path.normpath(folder / path))
        if target.is_relative_to(ROOT / "docs") and target.suffix != ".py":
            return match[0]
        if not target.exists():
            log.warning("%s links to %s, which does not exist", page.file.src_path, path)
        name = target.relative_to(ROOT).as_posix()
        if config.repo_url:
            return f"[{match['text']}]({config.repo_url.rstrip('/')}/blob/main/{name}{match['anchor'] or ''})"
        return match["text"] if name in match["text"] else f"{match['text']} (`{name}`)"

    return NAMED.sub(r"\1", LINK.sub(outside, markdown))
