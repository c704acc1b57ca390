# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What was found: one sentence, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

#: All is well.
OK = "ok"
#: Right or wrong, depending on what is wanted.
NOTE = "note"
#: Something will not work.
WRONG = "WRONG"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding."""

    #: :data:`OK`, :data:`NOTE` or :data:`WRONG`.
    level: str
    #: What it is about: a listener, the media...
    subject: str
    #: One sentence.
    text: str
    #: What to do, or empty.
    advice: str = ""


def write_findings(findings: Iterable[Finding]) -> Iterator[str]:
    """Return the lines of a report, by subject in the order of the findings."""
    by_subject: dict[str, list[Finding]] = {}
    for finding in findings:
        by_subject.setdefault(finding.subject, []).append(finding)
    for subject, found in by_subject.items():
        yield subject
        for finding in found:
            yield f"  {finding.level:<6} {finding.text}"
            if finding.advice:
                yield f"         -> {finding.advice}"
