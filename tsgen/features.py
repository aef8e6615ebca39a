"""What of a record the energy distances compare: four sets of features, each a column of one frame, one row a record.

site: ln HVSR; spectra: ln RotD50 pseudo-spectral acceleration; duration: ln D5-75, D5-95 and Arias intensity; wave:
what these three miss, since east set equal to north, or time reversed, would pass them.
"""

import numpy as np
import pandas as pd
from scipy import signal

from tsgen.coherence import coherence
from tsgen.hvsr import hvsr, in_band
from tsgen.intensity import without_vertical
from tsgen.measures import SPECTRAL, measures
from tsgen.oscillator import true_waveforms

SITE_FREQUENCIES_IN_HZ = np.geomspace(1.0, 20.0, 40)
SITE = tuple(f"hvsr_{frequency:.3f}" for frequency in SITE_FREQUENCIES_IN_HZ)
BANDS_IN_HZ = ((0.5, 1.5), (1.5, 3.0), (3.0, 6.0), (6.0, 12.0))  # of coherence and of vertical over horizontal
ARRIVAL_BANDS_IN_HZ = ((0.5, 2.0), (2.0, 5.0), (5.0, 12.0))
ARIAS_SHARES = (0.05, 0.25, 0.5, 0.75)
WAVE = (
    *(f"{name}_{low:g}" for name in ("coherence", "vertical") for low, _ in BANDS_IN_HZ),
    *(f"arrival_{low:g}_{share:g}" for low, _ in ARRIVAL_BANDS_IN_HZ for share in ARIAS_SHARES),
    "before_s",
)
FEATURES = {"site": SITE, "spectra": SPECTRAL, "duration": ("d5_75", "d5_95", "arias"), "wave": WAVE}
EARLIEST_IN_S = 0.1  # after P: a time at or before it would have no logarithm
LEAST_SHARE = 1e-5  # of energy before S, for its logarithm
BATCH = 64  # records at once


def everything(records, settings):
    """DataFrame, a row a record: measures.COLUMNS, FEATURES and f0 (ln Hz). settings: a config.Profile."""
    found, before = hvsr(records, settings.hvsr), settings.window.before_p_in_s
    f0 = pd.Series(np.log(found.f0_in_hz), name="f0")
    return pd.concat([measures(records, before), wave(records, before), site(found), f0], axis=1)


def site(found):
    """DataFrame (n, SITE) of ln HVSR by linear interpolation of the curves of an ``hvsr.HVSR``; NaN where they are."""
    curves = np.log(found.curves)
    at = [np.interp(SITE_FREQUENCIES_IN_HZ, found.frequency_in_hz, curve) for curve in curves]
    return pd.DataFrame(np.reshape(at, (-1, len(SITE))), columns=list(SITE))


def wave(records, before_p_in_s=5.0):
    """DataFrame (n, WAVE), NaN where a record's usable band or its missing vertical does not show a feature.
    Squared coherence of E and N in BANDS_IN_HZ; ln vertical over horizontal energy there; ln seconds after P to each of
    ARIAS_SHARES of the horizontals' energy in ARRIVAL_BANDS_IN_HZ; ln share of vertical energy before the horizontals
    have 5 % of theirs, in units of theirs (P against S). before_p_in_s: where P is in a record that does not say."""
    rate, parts = records.sampling_rate_in_hz, []
    for part in records.batches(BATCH):
        x = true_waveforms(part).astype(float)
        p_in_s = part.p_arrival(before_p_in_s) / rate
        values = [coherence(x[:, 0], x[:, 1], rate, BANDS_IN_HZ), _vertical(x, rate)]
        for band in ARRIVAL_BANDS_IN_HZ:
            filtered = signal.sosfilt(signal.butter(2, band, "bandpass", fs=rate, output="sos"), x[:, :2])
            values.append(_times(filtered, rate) - p_in_s[:, None])
        values[2:] = [np.log(np.maximum(each, EARLIEST_IN_S)) for each in values[2:]]
        parts.append(np.column_stack([*values, _before_s(x)]))
    frame = pd.DataFrame(np.reshape(np.concatenate(parts), (-1, len(WAVE))), columns=list(WAVE))
    for bands, start in ((BANDS_IN_HZ, ("coherence", "vertical")), (ARRIVAL_BANDS_IN_HZ, ("arrival",))):
        for low, high in bands:
            names = [name for name in WAVE if name.split("_")[:2] in [[each, f"{low:g}"] for each in start]]
            frame.loc[~in_band(records, [low, high]).all(axis=1), names] = np.nan
    vertical = [name for name in WAVE if name.startswith(("vertical", "before"))]
    frame.loc[without_vertical(records), vertical] = np.nan
    return frame


def _vertical(x, rate):
    """(n, bands) ln energy of Z over the mean energy of E and N."""
    frequency, power = np.fft.rfftfreq(x.shape[2], 1 / rate), np.abs(np.fft.rfft(x)) ** 2
    inside = np.array([(frequency >= low) & (frequency < high) for low, high in BANDS_IN_HZ])
    energy = np.maximum(power @ inside.T, 1e-30)  # (n, 3, bands)
    return np.log(energy[:, 2] / energy[:, :2].mean(axis=1))


def _times(x, rate):
    """(n, shares) seconds from the start to each of ARIAS_SHARES of the energy of x (n, components, t)."""
    energy = np.cumsum((x**2).sum(axis=1), axis=1)
    return np.stack([(energy < share * energy[:, -1:]).sum(axis=1) for share in ARIAS_SHARES], axis=1) / rate


def _before_s(x):
    """(n,) ln of the vertical's energy until the horizontals have had 5 % of theirs, over theirs."""
    vertical, horizontal = np.cumsum(x[:, 2] ** 2, axis=1), np.cumsum((x[:, :2] ** 2).sum(axis=1), axis=1)
    at = np.minimum((horizontal < ARIAS_SHARES[0] * horizontal[:, -1:]).sum(axis=1), x.shape[2] - 1)
    early = np.take_along_axis(vertical, at[:, None], axis=1)[:, 0]
    return np.log(early / np.maximum(horizontal[:, -1], 1e-30) + LEAST_SHARE)


def shown(frame, columns, stations):
    """The columns that nine tenths of the recordings of every station show."""
    known = frame[list(columns)].notna().groupby(frame["station"]).mean().reindex(list(stations))
    return [name for name in columns if (known[name] >= 0.9).all()]


def shifted(training, background, stations, n, seed=0):
    """Control without a record (control_shift): the mean features of a station's recordings plus deviations of the
    background's from their own station's mean. Frames of station, event and features; ``n`` rows a station.
    A deviation from a mean of m records is too small by (1 - 1/m): it is scaled to make up for it."""
    columns = [name for name in background if name not in ("station", "event")]
    groups = background.groupby("station")[columns]
    m = background.groupby("station")["event"].transform("size")
    several = m > 1
    left = (background[columns] - groups.transform("mean"))[several].mul(np.sqrt(m / (m - 1))[several], axis=0)
    parts, rng = [], np.random.default_rng(seed)
    for station in stations:
        mean = training.loc[training["station"] == station, columns].mean()
        drawn = left.iloc[rng.integers(len(left), size=n)].reset_index(drop=True) + mean
        names = [f"control_shift:{station}:{seed}:{i:05d}" for i in range(n)]
        parts.append(drawn.assign(station=station, event=names))
    return pd.concat(parts, ignore_index=True)
