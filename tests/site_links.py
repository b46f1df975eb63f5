"""What is wrong with the links of a built site: read from its HTML, without asking any other server."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("audio", "src"), ("video", "src")}
_LOADED_RELATIONS = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload"}


class _Page(HTMLParser):
    """The anchors that a page has, where it leads to, and what a browser loads for it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what *tag* names, leads to or loads."""
        has = {name: value or "" for name, value in attrs}
        self.anchors |= {has[name] for name in ("id", "name") if name in has}
        if tag == "a" and "href" in has:
            self.links.append(has["href"])
        if tag == "link" and _LOADED_RELATIONS & set(has.get("rel", "").split()):
            self.loaded.append(has["href"])
        self.loaded += [has[name] for element, name in _LOADED if element == tag and name in has]


def faults_of(site: Path, address: str) -> list[str]:
    """Return one line for each fault of the site that is built at *site* and made to be served at *address*.

    A link within the site leads to no file or to no anchor; something is loaded from elsewhere, or is not there.
    Links to other servers are not followed.
    """
    pages = {path: _Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    faults = []
    for path, page in pages.items():
        where = path.relative_to(site)
        faults += [f"{where}: loads {each}" for each in page.loaded if urlsplit(each).netloc]
        for each in [*page.links, *page.loaded]:
            fault = _fault(each, path, site, pages, urlsplit(address).path)
            if fault:
                faults.append(f"{where}: {each}: {fault}")
    return faults


def _fault(target: str, path: Path, site: Path, pages: dict[Path, _Page], root: str) -> str:
    parts = urlsplit(target)
    if parts.scheme in {"http", "https", "mailto", "data"} or parts.netloc:
        return ""
    if parts.scheme:
        return "a scheme that no page needs"
    found = path
    if parts.path.startswith("/"):  # only 404.html has these: it is shown at any address
        found = site / unquote(parts.path).removeprefix(root or "/").lstrip("/")
    elif parts.path:
        found = (path.parent / unquote(parts.path)).resolve()
    if found.is_dir():
        found /= "index.html"
    if not found.exists():
        return "leads to no file"
    if parts.fragment and found in pages and unquote(parts.fragment) not in pages[found].anchors:
        return "leads to no anchor"
    return ""
