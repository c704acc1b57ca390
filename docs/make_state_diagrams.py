# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Draw every state machine from its table, into ``docs/state-machines/``.

Run ``python docs/make_state_diagrams.py`` after a table has changed; a test fails when a drawing is
stale. ``dot -Tsvg -O docs/state-machines/*.dot`` makes pictures of them.
"""

from __future__ import annotations

import importlib
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
FOLDER = HERE / "state-machines"

#: File name; module and name of the table; the states that a new machine begins in.
TABLES: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("invite-client", "sipsess.transaction.client_tables", "INVITE_CLIENT", ("CALLING",)),
    ("invite-server", "sipsess.transaction.server_tables", "INVITE_SERVER", ("PROCEEDING",)),
    ("non-invite-client", "sipsess.transaction.client_tables", "NON_INVITE_CLIENT", ("TRYING",)),
    ("non-invite-server", "sipsess.transaction.server_tables", "NON_INVITE_SERVER", ("TRYING",)),
    ("invite-usage", "sipsess.dialog.usage", "TABLE", ("INCOMING", "CALLING")),
    ("reliable-provisional", "sipsess.dialog.reliable", "TABLE", ("IDLE",)),
    ("registration", "sipsess.registration.table", "TABLE", ("STOPPED",)),
    ("offer-answer", "sipsess.sdp.offeranswer", "TABLE", ("STABLE",)),
)


def draw() -> dict[str, str]:
    """Return file name to text of each drawing."""
    from sipsess.machine import to_dot

    drawings = {}
    for name, module, attribute, initial in TABLES:
        table = getattr(importlib.import_module(module), attribute)
        title = name.upper().replace("-", "_")
        drawings[f"{name}.dot"] = to_dot(title, table, initial=initial)
    return drawings


def main() -> None:
    """Write all drawings and remove those of machines that are gone."""
    FOLDER.mkdir(exist_ok=True)
    drawings = draw()
    for path in FOLDER.glob("*.dot"):
        if path.name not in drawings:
            path.unlink()
    for name, text in drawings.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))
    main()
