"""Colours of the terminal: none in files and pipes, and none where the variable NO_COLOR asks for none."""

from __future__ import annotations

import os
from typing import Any

import click


def styled(text: str, **styles: Any) -> str:
    """The text with click's styles (`fg`, `bold`); `click.echo` removes them where the output is no terminal."""
    return text if os.environ.get("NO_COLOR") else click.style(text, **styles)
