# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
State machines as data: cells, tables, and what can be done with a complete table.

Theory of operation
    A machine is a ``TABLE: Table``, a dict of rows, one for each state; a row has one
    :class:`Cell` for each event, even for those that are dropped (:func:`ignore`) or would be a
    bug of this side (:func:`illegal`). Who runs the machine does three things, in this order::

        cell = TABLE[machine.state][event]
        if not cell.legal:
            raise IllegalTransition("NAME", machine.state, event)
        machine.state = cell.next_state
        for action in cell.actions:
            action(machine, payload, now)

    Actions never read or set the state and never feed an event; they append upcalls and outputs to
    the :class:`~sipsess.turn.Turn`. As the look-up is by item at each step, tests can record the
    cells (:func:`recording`), and it costs nothing when they do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from textwrap import wrap
from typing import NamedTuple, TypeAlias

#: Letters in one line of the note in a diagram.
NOTE_WIDTH = 90


class Cell(NamedTuple):
    """What one event does in one state."""

    #: The state afterwards.
    next_state: str
    #: Called in order, as ``action(machine, payload, now)``, after the state was set.
    actions: tuple[Callable[..., None], ...] = ()
    #: ``False`` when the event is our own bug in this state (IllegalTransition).
    legal: bool = True


#: State to event to cell.
Table: TypeAlias = dict[str, dict[str, Cell]]


def ignore(state: str) -> Cell:
    """Return the cell of an event that is dropped on purpose in ``state``."""
    return Cell(state)


def illegal(state: str) -> Cell:
    """Return the cell of an event that this side must never feed in ``state``."""
    return Cell(state, (), False)


def row(
    state: str,
    cells: Mapping[str, Cell],
    *,
    ignored: Iterable[str] = (),
    refused: Iterable[str] = (),
) -> dict[str, Cell]:
    """
    Return the row of ``state`` with the ignored and the illegal events written out.

    :param cells: event to cell, for those that do something.
    :param ignored: the events that are dropped on purpose.
    :param refused: the events that would be a bug of this side.
    :raises ValueError: when an event is named twice.
    """
    result = dict(cells)
    for events, make in ((ignored, ignore), (refused, illegal)):
        for event in events:
            if event in result:
                raise ValueError(f"{event} is named twice in state {state}")
            result[event] = make(state)
    return result


def check_complete(table: Table, states: Iterable[str], events: Iterable[str]) -> None:
    """
    Check that the table has a cell for each pair, no other pair, and leads to known states only.

    :raises ValueError: naming what is missing, unknown or leads nowhere.
    """
    known_states, known_events = set(states), set(events)
    faults = [f"state {state} is missing" for state in known_states - table.keys()]
    faults += [f"state {state} is unknown" for state in table.keys() - known_states]
    for state, cells in table.items():
        faults += [f"{state} has no cell for {event}" for event in known_events - cells.keys()]
        faults += [
            f"{state} has the unknown event {event}" for event in cells.keys() - known_events
        ]
        faults += [
            f"{state} leads on {event} to the unknown state {cell.next_state}"
            for event, cell in cells.items()
            if cell.next_state not in known_states
        ]
    if faults:
        raise ValueError("; ".join(sorted(faults)))


@contextmanager
def recording(tables: Mapping[str, Table]) -> Iterator[set[tuple[str, str, str]]]:
    """
    Record which cells are looked up while the block runs, for tests.

    The rows are replaced in place and put back at the end, so that a table pays nothing when it is
    not recorded.

    :param tables: name to table.
    :return: a context manager of the growing set of ``(name, state, event)``.
    """
    seen: set[tuple[str, str, str]] = set()
    plain = {name: dict(table) for name, table in tables.items()}
    for name, table in tables.items():
        for state, cells in plain[name].items():
            table[state] = _RecordedRow(name, state, cells, seen)
    try:
        yield seen
    finally:
        for name, table in tables.items():
            table.update(plain[name])


class _RecordedRow(dict[str, Cell]):
    """A row that notes which of its cells were looked up."""

    def __init__(
        self, name: str, state: str, cells: dict[str, Cell], seen: set[tuple[str, str, str]]
    ) -> None:
        super().__init__(cells)
        self._place = (name, state)
        self._cells = cells
        self._seen = seen

    def __getitem__(self, event: str) -> Cell:
        self._seen.add((*self._place, event))
        # Which may be recorded, too.
        return self._cells[event]


def to_dot(name: str, table: Table, *, initial: str | tuple[str, ...]) -> str:
    """
    Return the table as graphviz text; the same table always gives the same text.

    Each cell that does something is an edge; those that are ignored or illegal stand in a note.

    :param name: the title, such as ``"INVITE_CLIENT"``.
    :param initial: the state, or the states, that a new machine may begin in.
    """
    lines = [
        f"digraph {name} {{",
        f'    label="{name}"; labelloc=t; node [shape=box, style=rounded];',
        "    start [shape=point];",
    ]
    beginnings = (initial,) if isinstance(initial, str) else initial
    lines += [f"    start -> {state};" for state in beginnings]
    notes = []
    for state, cells in table.items():
        is_final = all(cell.next_state == state for cell in cells.values())
        lines.append(f"    {state} [peripheries=2];" if is_final else f"    {state};")
        lines += [
            _edge(state, event, cell)
            for event, cell in cells.items()
            if _does_something(state, cell)
        ]
        notes += _notes(state, cells)
    if notes:
        lines += ['    note [shape=note, style="", label="\\', *notes, '"];']
    return "\n".join([*lines, "}", ""])


def _does_something(state: str, cell: Cell) -> bool:
    return cell.legal and (cell.next_state != state or bool(cell.actions))


def _edge(state: str, event: str, cell: Cell) -> str:
    names = [event, *(action.__name__.strip("_").replace("_", " ") for action in cell.actions)]
    label = "\\n".join(names)
    return f'    {state} -> {cell.next_state} [label="{label}"];'


def _notes(state: str, cells: Mapping[str, Cell]) -> list[str]:
    """Return the lines of the note, each left-aligned and continued by the next."""
    quiet = {event: cell for event, cell in cells.items() if not _does_something(state, cell)}
    result = []
    for word, legal in (("ignores", True), ("never sees", False)):
        events = [event for event, cell in quiet.items() if cell.legal is legal]
        if events:
            text = f"{state} {word}: {', '.join(events)}"
            lines = wrap(text, NOTE_WIDTH, subsequent_indent="    ")
            result += [line + "\\l\\" for line in lines]
    return result
