"""OpenEEW .jsonl: one JSON object a packet of about one second, x, y, z in gal (openeew/openeew-seismology)."""

import json

import numpy as np
import pandas as pd

from tsgen.formats.recording import LARGEST_TEXT_IN_BYTES, Damaged, Recording, equal

HIGHEST_JITTER_IN_S = {"device_t": 0.25, "cloud_t": 1.5}  # beyond it packets are missing, not late
_KEYS = {"x", "y", "z", "cloud_t", "device_id"}


def decode(source, names, unit):
    """One Recording of one device: Z = x, E = y, N = z, azimuths unknown (sensors hang on walls). The nominal rate is
    up to 4 % off: ours is the slope of the cumulative sample count against the packets' times, stamped at the last
    sample by the device where it has a clock, else by the receiving computer."""
    lines = source.read(names[0], LARGEST_TEXT_IN_BYTES).splitlines()
    packets = [_packet(line, i) for i, line in enumerate(lines, 1) if line.strip()]
    if len(packets) < 3:
        raise Damaged(f"it holds {len(packets)} packets; three are needed to measure the rate")
    device = equal([str(packet["device_id"]) for packet in packets], "device")
    country = equal([str(packet.get("country_code", "")) for packet in packets], "country")
    if not device or len(device) > 12 or len(country) > 4:
        raise Damaged("it names no device")
    counts = np.array([len(packet["x"]) for packet in packets])
    clock = "device_t" if all(isinstance(packet.get("device_t"), (int, float)) for packet in packets) else "cloud_t"
    times = np.array([packet[clock] for packet in packets], float)
    if not np.isfinite(times).all() or not 0 < times[0] < 4e9 or np.any(np.diff(times) <= 0):
        raise Damaged("its packets are not in the order of time, or have impossible times")
    interval = np.median(np.diff(times) / counts[1:])
    away = np.diff(times) - counts[1:] * interval
    worst = int(np.abs(away).argmax())
    if abs(away[worst]) > HIGHEST_JITTER_IN_S[clock]:
        told = f"after packet {worst + 1} the times jump by {away[worst]:.2f} s: packets are missing"
        raise Damaged(told, "cut the file at the gap")
    rate = float(np.polyfit(times - times[0], np.cumsum(counts), 1)[0])
    start = pd.Timestamp(times[0] - (counts[0] - 1) / rate, unit="s").round("us").isoformat() + "Z"
    waveform = np.stack([np.concatenate([np.asarray(packet[axis], float) for packet in packets]) for axis in "yzx"])
    processing = f"raw; rate from packet times ({clock}); Z = x, E = y, N = z, azimuths unknown"
    return [Recording(waveform, rate, "OEEW" + country.upper(), device, processing, 0.0, {"start_time": start})]


def _packet(line, i):
    """The packet of line ``i``; raises Damaged for anything else."""
    try:
        packet = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"line {i} is not JSON ({str(error)[:60]})") from None
    if not isinstance(packet, dict) or not packet.keys() >= _KEYS:
        raise Damaged(f"line {i} lacks one of {', '.join(sorted(_KEYS))}")
    axes = [packet[axis] for axis in "xyz"]
    if not all(isinstance(axis, list) and 0 < len(axis) == len(packet["x"]) for axis in axes):
        raise Damaged(f"line {i}: x, y and z are not lists of equal length")
    if not isinstance(packet["cloud_t"], (int, float)):
        raise Damaged(f"line {i}: cloud_t is no time")
    return packet
