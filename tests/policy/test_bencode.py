# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Bencoding, as rtpengine speaks it: what is written, what is read, and what is refused."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.engine.bencode import MAX_BYTES, MAX_DEPTH, BencodeError, decode, encode

VALUES = st.recursive(
    st.integers(-(10**18), 10**18) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


def as_read(value: Any) -> Any:
    """Return what is read of what was written: all keys are bytes."""
    if isinstance(value, dict):
        return {key.encode(): as_read(item) for key, item in value.items()}
    return [as_read(item) for item in value] if isinstance(value, list) else value


class BencodeTests(SynchronousTestCase):
    """Both ways."""

    def test_written(self) -> None:
        """Integers, strings, lists and dictionaries; text is UTF-8, keys are sorted."""
        cases: tuple[tuple[Any, bytes], ...] = (
            (0, b"i0e"),
            (-12, b"i-12e"),
            (b"", b"0:"),
            ("é", b"2:\xc3\xa9"),
            (["spam", 7], b"l4:spami7ee"),
            (("a",), b"l1:ae"),
            ({"b": 1, "a": {"x": []}}, b"d1:ad1:xlee1:bi1ee"),
        )
        for value, data in cases:
            self.assertEqual(encode(value), data)

    @given(VALUES)
    def test_there_and_back(self, value: Any) -> None:
        """What is written is read again."""
        self.assertEqual(decode(encode(value)), as_read(value))

    def test_keys_in_any_order(self) -> None:
        """The order of keys is rtpengine's own."""
        self.assertEqual(decode(b"d1:bi1e1:ai2ee"), {b"b": 1, b"a": 2})

    def test_refused(self) -> None:
        """Whatever is no bencoding, or not the only one of a value, is an error."""
        for data in (
            *(b"", b"x", b"e", b"i", b"ie", b"i1", b"i-e", b"i-0e", b"i01e", b"i 1e", b"i1.5e"),
            *(b"i" + b"9" * 5000 + b"e", b"1:", b"2:a", b"01:a", b"-1:a", b"99999999:a", b":"),
            *(b"l", b"li1e", b"d", b"d1:a", b"d1:ai1e", b"di1ei2ee", b"dle1:ae", b"d1:ae"),
            *(b"d1:ai1e1:ai2ee", b"i1ei2e", b"le ", b"i\xb2e"),
        ):
            self.assertRaises(BencodeError, decode, data)

    def test_limits(self) -> None:
        """What is too long, or too deep, is refused before it costs anything."""
        deep = b"l" * MAX_DEPTH + b"e" * MAX_DEPTH
        self.assertIsInstance(decode(deep), list)
        self.assertRaises(BencodeError, decode, b"l" + deep + b"e")
        self.assertRaises(BencodeError, decode, b"l" * 60_000)
        whole = b"%d:" % (MAX_BYTES - 6)
        self.assertIsInstance(decode(whole + b"x" * (MAX_BYTES - 6)), bytes)
        self.assertRaises(BencodeError, decode, b"%d:" % MAX_BYTES + b"x" * MAX_BYTES)

    @given(st.binary(max_size=60) | st.text("dlei0123456789:-ab", max_size=60).map(str.encode))
    def test_any_bytes(self, data: bytes) -> None:
        """For any bytes there is a value, or the one error; what was read is written the same."""
        try:
            value = decode(data)
        except BencodeError:
            return
        self.assertLessEqual(len(repr(value)), 20 * len(data))
