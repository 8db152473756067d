"""Tracks, slices, counters and flows as a file of Perfetto, in order of time; what happens at once, in the order in which it was told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neurosim.errors import LoadError

_KINDS = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value"}
"""Type of an argument -> field of a debug annotation."""


class PerfettoFile:
    """A file of Perfetto in memory. Times are whole numbers; Perfetto calls their unit a nanosecond.

    Raises
    ------
    LoadError
        Where the package ``perfetto`` is missing.
    """

    def __init__(self) -> None:
        try:
            from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TrackDescriptor, TrackEvent
            from perfetto.trace_builder.proto_builder import TraceProtoBuilder
        except ImportError:
            raise LoadError("timelines need perfetto (pip install 'neurosim-chip[timeline]')") from None
        self._builder, self._kinds, self._explicit = TraceProtoBuilder(), TrackEvent, TrackDescriptor.EXPLICIT
        self._n_tracks = 0

    def to_bytes(self) -> bytes:
        """A serialised ``perfetto.protos.Trace``."""
        self._builder.trace.packet.sort(key=lambda packet: packet.timestamp)
        return self._builder.serialize()

    def track(self, name: str, parent: int | None = None, unit: str | None = None) -> int:
        """Add a track behind those that were added before; with a unit it is a counter. Returns its number."""
        self._n_tracks += 1
        track = self._builder.add_packet().track_descriptor
        track.uuid, track.name, track.sibling_order_rank = self._n_tracks, name, self._n_tracks
        track.child_ordering = self._explicit
        if parent is not None:
            track.parent_uuid = parent
        if unit is not None:
            track.counter.unit_name = unit
        return self._n_tracks

    def begin(self, track: int, at: int, name: str, arguments: Mapping[str, Any], sends: Sequence[int] = (),
              receives: Sequence[int] = ()) -> None:
        """Begin a slice, inside the one that is open on its track; the flows `sends` begin in it, the flows `receives` end."""
        event = self._event(self._kinds.TYPE_SLICE_BEGIN, track, at)
        event.name = name
        event.flow_ids.extend(sends)
        event.terminating_flow_ids.extend(receives)
        _annotate(event.debug_annotations, arguments)

    def end(self, track: int, at: int) -> None:
        """End the slice that was begun last on a track."""
        self._event(self._kinds.TYPE_SLICE_END, track, at)

    def instant(self, track: int, at: int, name: str, arguments: Mapping[str, Any], sends: Sequence[int] = ()) -> None:
        """Add a slice without duration."""
        event = self._event(self._kinds.TYPE_INSTANT, track, at)
        event.name = name
        event.flow_ids.extend(sends)
        _annotate(event.debug_annotations, arguments)

    def count(self, track: int, at: int, value: float) -> None:
        """Set a counter from now on."""
        event = self._event(self._kinds.TYPE_COUNTER, track, at)
        if isinstance(value, int):
            event.counter_value = value
        else:
            event.double_counter_value = value

    def _event(self, kind: int, track: int, at: int) -> Any:
        packet = self._builder.add_packet()
        packet.timestamp, packet.trusted_packet_sequence_id = at, 1
        packet.track_event.type, packet.track_event.track_uuid = kind, track
        return packet.track_event


def _annotate(annotations: Any, arguments: Mapping[str, Any]) -> None:
    """Add named values, and mappings of them; nothing for an empty mapping."""
    for name, value in arguments.items():
        if not isinstance(value, Mapping):
            setattr(annotations.add(name=name), _KINDS[type(value)], value)
        elif value:
            _annotate(annotations.add(name=name).dict_entries, value)
