# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Write ``docs/supported-rfcs.rst`` from the table in ``tests/rfc.py``.

Run ``python docs/make_supported_rfcs.py`` after the table has changed; a test fails when the page
is stale.
"""

from __future__ import annotations

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
PAGE = HERE / "supported-rfcs.rst"

HEAD = """\
Supported RFCs
==============

What sipsess keeps, section by section, each with the test that shows it. *Done* is kept. *Partial*
is kept but for what is said. *Not* is not kept, and what happens instead is said. What is not named
here was not looked at.

A test is run by its name, such as::

    python -m twisted.trial tests.sim.test_rfc5407

The page is made by ``docs/make_supported_rfcs.py`` from ``tests/rfc.py``, and tests fail when it is
stale, names a test that does not exist, or calls something done that has no test.
"""


def build() -> str:
    """Return the page."""
    from tests.rfc import ALL, STATUSES

    every = [section.status for item in ALL for section in item.sections]
    counts = ", ".join(f"{every.count(status)} {status}" for status in STATUSES)
    lines = [HEAD, f"{len(ALL)} RFCs, {len(every)} sections: {counts}.", ""]
    for item in sorted(ALL, key=lambda item: item.number):
        title = f"RFC {item.number}: {item.title}"
        lines += [title, "-" * len(title), ""]
        for section in item.sections:
            where = f"{section.number} {section.title}".lstrip()
            note = f". {section.note[0].upper()}{section.note[1:]}." if section.note else ""
            lines.append(f"- **{section.status}** {where}{note}")
            lines += [f"  ``{test}``" for test in section.tests]
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(build(), encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))
    main()
