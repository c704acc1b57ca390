# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The pages for people: they parse, their links lead somewhere, their code compiles.

The pages are plain reStructuredText and need no tool but docutils, so that they read well as they
are; the README is Markdown, because package indexes show it.
"""

from __future__ import annotations

import ast
import io
import pathlib
import re
from collections.abc import Iterator

import docutils.nodes
from docutils.core import publish_doctree
from twisted.trial.unittest import SynchronousTestCase

from tests.source import ROOT

_SETTINGS = {
    "report_level": 2,
    "halt_level": 5,
    "syntax_highlight": "none",
    "file_insertion_enabled": True,
    "_disable_config": True,
}

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARKDOWN_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


def rst_pages() -> list[pathlib.Path]:
    """Return every reStructuredText page that people read, sorted."""
    pages = [path for path in (ROOT / "docs").rglob("*.rst") if "_api" not in path.parts]
    return sorted([*pages, *ROOT.glob("*.rst"), *(ROOT / "newsfragments").glob("*.rst")])


def markdown_pages() -> list[pathlib.Path]:
    """Return every Markdown page, sorted."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def parse(path: pathlib.Path) -> tuple[docutils.nodes.document, str]:
    """Return the document of a page, and what docutils had to say about it."""
    complaints = io.StringIO()
    tree = publish_doctree(
        path.read_text(encoding="utf-8"),
        source_path=str(path),
        settings_overrides=_SETTINGS | {"warning_stream": complaints},
    )
    return tree, complaints.getvalue()


def snippets(path: pathlib.Path) -> Iterator[tuple[str, str]]:
    """Yield ``(language, code)`` for each block of code in a page."""
    if path.suffix == ".md":
        for match in _FENCE.finditer(path.read_text(encoding="utf-8")):
            yield match[1], match[2]
        return
    tree, _ = parse(path)
    for block in tree.findall(docutils.nodes.literal_block):
        classes = block["classes"]
        yield (classes[1] if len(classes) > 1 else ""), block.astext()


def links(path: pathlib.Path) -> Iterator[str]:
    """Yield each link of a page that points into the project, without its ``#anchor``."""
    if path.suffix == ".md":
        targets = _MARKDOWN_LINK.findall(path.read_text(encoding="utf-8"))
    else:
        tree, _ = parse(path)
        targets = [
            item["refuri"] for item in tree.findall(docutils.nodes.reference) if "refuri" in item
        ]
    for target in targets:
        plain = target.partition("#")[0]
        if plain and not re.match(r"[a-z]+:", plain):
            yield plain


class PageTests(SynchronousTestCase):
    """What holds for every page."""

    def test_pages_parse(self) -> None:
        """docutils has no warning about any page."""
        for path in rst_pages():
            _, complaints = parse(path)
            self.assertEqual(complaints, "", path.relative_to(ROOT))

    def test_links_lead_somewhere(self) -> None:
        """Each relative link names a file or folder of the project."""
        for path in [*rst_pages(), *markdown_pages()]:
            for target in links(path):
                place = (path.parent / target).resolve()
                self.assertTrue(place.exists(), f"{path.relative_to(ROOT)} links to {target}")

    def test_index_reaches_every_page(self) -> None:
        """Each page under docs/ can be reached by links from docs/index.rst."""
        reached: set[pathlib.Path] = set()
        waiting = [ROOT / "docs" / "index.rst"]
        while waiting:
            path = waiting.pop()
            if path in reached or not path.is_file() or path.suffix not in {".rst", ".md"}:
                continue
            reached.add(path)
            waiting += [(path.parent / target).resolve() for target in links(path)]
        pages = {path for path in rst_pages() if path.is_relative_to(ROOT / "docs")}
        lost = sorted(str(path.relative_to(ROOT)) for path in pages - reached)
        self.assertEqual(lost, [], "no page links to them")

    def test_code_compiles(self) -> None:
        """Each block of Python compiles, ``await`` at its top allowed."""
        for path in [*rst_pages(), *markdown_pages()]:
            for language, code in snippets(path):
                if language in {"python", "py", "python3"} and not code.lstrip().startswith(">>>"):
                    name = f"{path.relative_to(ROOT)}: {code[:40]!r}"
                    compile(code, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    def test_fences_are_balanced(self) -> None:
        """No Markdown page leaves a block of code open."""
        for path in markdown_pages():
            fences = re.findall(r"^```", path.read_text(encoding="utf-8"), re.MULTILINE)
            self.assertEqual(len(fences) % 2, 0, path.relative_to(ROOT))


class DecisionTests(SynchronousTestCase):
    """The architecture decision records."""

    def test_each_has_the_four_parts(self) -> None:
        """Context, choice, what was rejected, consequence; one page."""
        for path in sorted((ROOT / "docs" / "adr").glob("[0-9]*.rst")):
            text = path.read_text(encoding="utf-8")
            for part in ("Context", "Choice", "Rejected", "Consequence"):
                self.assertRegex(text, rf"(?m)^{part}\n-+$", path.name)
            self.assertLess(text.count("\n"), 70, f"{path.name} is longer than a page")

    def test_numbers_are_not_reused(self) -> None:
        """Each record has a number of its own."""
        numbers = [path.name[:4] for path in (ROOT / "docs" / "adr").glob("[0-9]*.rst")]
        self.assertEqual(len(numbers), len(set(numbers)))
