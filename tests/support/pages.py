"""A page as a browser takes it: well formed, ids once, nothing fetched from elsewhere."""

import re
from html.parser import HTMLParser
from pathlib import Path


class Page(HTMLParser):
    """Tags that are open, ids, and everything that a browser would fetch."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.fetched, self.text = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.fetched += [given[k] for k in ("src", "href", "xlink:href") if k in given and tag != "a" and tag != "use"]
        self.ids += [given["id"]] if "id" in given else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.fetched += [given[k] for k in ("src", "href") if k in given and tag not in ("a", "use")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def check_page(path: Path) -> Page:
    text = path.read_text()
    page = Page(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert all(address.startswith(("data:", "#")) for address in page.fetched)
    assert not re.search(r"@import|url\((?!#)", text)
    assert "<script" not in text
    assert 'name="viewport"' in text
    return page
