# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What a stream tells about its quality: counts, jitter, and what a listener would say of it."""

from __future__ import annotations

from dataclasses import dataclass

#: Impairment by delay is stronger from here on (milliseconds, one way).
_LONG_DELAY = 177.3
#: How well G.711 with concealment bears random loss (ITU-T G.113, appendix I).
_ROBUSTNESS = 25.1
#: How well others do, by their encoding: the same, divided by how much more a loss distorts the
#: spectrum of speech that they carry through our concealment (measured, 1 to 20 % of loss). Samples
#: as they are bear it as G.711 does; what a decoder remembers is wrong for a while after a loss.
_ROBUSTNESS_OF = {"G722": 16.0, "OPUS": 15.0}
#: The rating of a call that nothing impairs (ITU-T G.107, all defaults).
_BEST = 93.2
#: Milliseconds that pass at least: one packet of 20 ms is filled, and one waits for its tick.
_LEAST_DELAY = 40.0


class JitterMeter:
    """The interarrival jitter of one sender, :rfc:`3550#section-6.4.1`, as its A.8 computes it."""

    __slots__ = ("_last", "clock_rate", "seconds")

    def __init__(self) -> None:
        #: Arrival less timestamp, in seconds, of the last packet.
        self._last: float | None = None
        #: The present estimate.
        self.seconds = 0.0
        #: Of the timestamps, in Hz.
        self.clock_rate = 8000

    def restart(self) -> None:
        """Another sender speaks, whose timestamps mean nothing beside those of the last."""
        self._last = None

    def arrive(self, timestamp: int, clock_rate: int, now: float) -> None:
        """Take the timestamp of an audio packet, and when it came."""
        if clock_rate != self.clock_rate:
            self._last = None
        transit, circle = now - timestamp / clock_rate, 0x100000000 / clock_rate
        if self._last is not None:
            change = abs(transit - self._last)
            # The timestamp may have rolled over between the two.
            self.seconds += (min(change, abs(circle - change)) - self.seconds) / 16
        self._last, self.clock_rate = transit, clock_rate


@dataclass(frozen=True, slots=True)
class StreamStatistics:
    """How one stream fared, at one moment."""

    #: The encoding that is sent.
    codec: str
    #: RTP packets and bytes of payload, both ways.
    packets_received: int
    bytes_received: int
    packets_sent: int
    bytes_sent: int
    #: Packets of the peer that never came, came after a newer one, and came twice in a row.
    lost: int
    late: int
    duplicates: int
    #: Interarrival jitter of the peer's packets.
    jitter_ms: float
    #: What a listener would say of what came, 1 to 4.4; ``None`` when nothing came.
    mos: float | None
    #: What the peer reports by RTCP, each ``None`` while he does not: the time to him and back, our
    #: packets that he lost, and their interarrival jitter.
    round_trip_ms: float | None = None
    remote_lost: int | None = None
    remote_jitter_ms: float | None = None

    @property
    def loss(self) -> float:
        """The share of the peer's packets that was lost."""
        expected = self.packets_received + self.lost
        return self.lost / expected if expected else 0.0

    @property
    def remote_loss(self) -> float | None:
        """The share of our packets that the peer lost; ``None`` when he does not report."""
        if self.remote_lost is None or not self.packets_sent:
            return None
        return min(max(self.remote_lost / self.packets_sent, 0.0), 1.0)

    def __str__(self) -> str:
        text = f"received {self.packets_received} packets, sent {self.packets_sent}"
        if self.mos is not None:
            text += (
                f"; lost {self.lost} ({self.loss:.1%}), late {self.late}, "
                f"jitter {self.jitter_ms:.1f} ms, MOS {self.mos:.1f}"
            )
        if self.remote_loss is not None:
            text += (
                f"; the peer lost {self.remote_lost} ({self.remote_loss:.1%}), "
                f"jitter {self.remote_jitter_ms:.1f} ms"
            )
        if self.round_trip_ms is not None:
            text += f"; round trip {self.round_trip_ms:.0f} ms"
        return text


def estimate_mos(
    loss: float, jitter_ms: float, round_trip_ms: float = 0.0, encoding: str = "PCMU"
) -> float:
    """
    Estimate a mean opinion score by the E-model of ITU-T G.107, simplified.

    Everything has its default but loss, taken for random and concealed, and delay: half the round
    trip when it is known, a packet, a tick, and a jitter buffer of twice the jitter. The codec
    counts by how it bears loss; that one of 16 kHz sounds better is beyond this scale.

    :param loss: share of packets.
    :param jitter_ms: interarrival jitter.
    :param round_trip_ms: to the peer and back.
    :param encoding: of the codec, in capitals.
    :return: 1 (bad) to 4.4 (as good as a telephone gets).
    """
    delay = _LEAST_DELAY + 2 * jitter_ms + round_trip_ms / 2
    by_delay = 0.024 * delay + 0.11 * max(delay - _LONG_DELAY, 0.0)
    percent = 100 * loss
    by_loss = 95 * percent / (percent + _ROBUSTNESS_OF.get(encoding, _ROBUSTNESS))
    rating = min(max(_BEST - by_delay - by_loss, 0.0), 100.0)
    return max(1.0, 1 + 0.035 * rating + rating * (rating - 60) * (100 - rating) * 7e-6)
