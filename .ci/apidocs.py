# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Run pydoctor (its arguments are ours) with two habits of reStructuredText that it lacks.

``~sipsess.turn.Turn`` shows the last part of a name only, ``.Turn`` is looked for everywhere, and a
name of the standard library, Twisted or zope.interface is a good reference when it really exists
there; pydoctor alone would fetch the inventories of those projects from the network. Everything
else that it warns of is an error.
"""

from __future__ import annotations

import importlib
import re
import sys
from typing import Any

from pydoctor import driver, model, sphinx
from pydoctor.epydoc.markup import restructuredtext

_SHORTENED = re.compile(r"(?<!`)`~([\w.]*?)(\w+)`(?!`)")
_ANYWHERE = re.compile(r"(?<!`)`\.([A-Za-z_][\w.]*)`(?!`)")
_PLAIN_PARSE = restructuredtext.parse_docstring


def _parse_docstring(docstring: str, errors: list[Any]) -> Any:
    """Write both in the way that pydoctor reads, with the label before the target."""
    text = _SHORTENED.sub(r"`\2 <\1\2>`", docstring)
    return _PLAIN_PARSE(_ANYWHERE.sub(r"`\1`", text), errors)


def _exists(name: str) -> bool:
    """Return whether a dotted name can be imported or reached by attributes."""
    module, _, rest = name.partition(".")
    try:
        place: Any = importlib.import_module(module)
        for part in rest.split(".") if rest else ():
            if not hasattr(place, part):
                importlib.import_module(f"{place.__name__}.{part}")
            place = getattr(place, part)
    except (ImportError, AttributeError):
        return False
    return True


class Inventory(sphinx.SphinxInventory):
    """Knows the names of other packages by looking them up."""

    def getLink(self, name: str) -> str | None:
        """Return where ``name`` is documented, or ``None`` when there is no such name."""
        top = name.partition(".")[0]
        if _exists(f"builtins.{name}"):
            return f"https://docs.python.org/3/library/builtins.html#{name}"
        if top in sys.stdlib_module_names and _exists(name):
            return f"https://docs.python.org/3/library/{top}.html#{name}"
        if top == "twisted" and _exists(name):
            return f"https://docs.twisted.org/en/stable/api/{name}.html"
        if top == "zope" and _exists(name):
            return "https://zopeinterface.readthedocs.io/"
        return super().getLink(name)


class System(model.System):
    """pydoctor's system, with that inventory."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.intersphinx = Inventory(logger=self.msg)


if __name__ == "__main__":
    restructuredtext.parse_docstring = _parse_docstring
    # pydoctor imports the system class by name, so this module must be importable under one.
    sys.modules["apidocs"] = sys.modules[__name__]
    sys.exit(driver.main(["--system-class=apidocs.System", *sys.argv[1:]]))
