"""Reads a page of HTML as a browser would, and says what is wrong with it."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "input", "br"}


class Page(HTMLParser):
    """A page's elements; fails where tags do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not set(self.open) & {"script", "style"}:
            self.text += data


def stands_alone(text):
    """It nests, refers to nothing outside, and forbids what it does not need."""
    page = Page(text)
    assert page.elements[0] == ("html", {"lang": "en"})
    assert {
        tag for tag, _ in page.elements if tag in {"link", "img", "iframe", "object", "base", "a"}
    } == set()
    for tag, attributes in page.elements:
        assert not {
            name for name in attributes if name.startswith("on") or name in {"src", "href", "style"}
        }, tag
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert "@import" not in text
    assert "url(" not in text
    policy = next(each["content"] for tag, each in page.elements if tag == "meta" and "http-equiv" in each)
    assert "default-src 'none'" in policy


def readable_without_eyes(page):
    """Headings, tables and charts say what they are."""
    assert [tag for tag, _ in page.elements].count("h1") == 1
    assert all(each.get("scope") in {"col", "row"} for tag, each in page.elements if tag == "th")
    charts = [each for tag, each in page.elements if tag == "svg" and "aria-hidden" not in each]
    assert charts
    for each in charts:
        assert each["role"] == "img"
        assert "aria-label" in each or each["class"] == "spark"
