"""A page in a browser, with everything that goes wrong in it."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page


class Watched:
    """A page that was opened, and everything that went wrong in it or left it."""

    def __init__(self, page: Page, path: Path) -> None:
        self.page, self.wrong = page, []
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("console", lambda said: self.wrong.append(f"{said.type}: {said.text}"))
        page.on("dialog", lambda dialog: (self.wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: self._note_request(request.url, path.as_uri()))
        page.goto(path.as_uri())

    def _note_request(self, url: str, own: str) -> None:
        if url != own and not url.startswith(("data:", "blob:")):
            self.wrong.append(f"request: {url}")

    def scroll_through(self) -> None:
        """Shows every part once, so that figures that are drawn when they come into view are drawn."""
        for plot in self.page.query_selector_all(".plot"):
            plot.scroll_into_view_if_needed()
            plot.wait_for_selector("svg.main-svg", state="attached")
