"""What is measured of each record, one row a record: natural logarithms (differences are ratios) of its intensities and
spectra, and sanity; ``p_lead`` alone is in s."""

import numpy as np
import pandas as pd
from scipy.integrate import cumulative_trapezoid

from tsgen import hvsr, intensity
from tsgen.oscillator import true_waveforms
from tsgen.records import COMPONENTS

PERIODS_IN_S = np.geomspace(0.05, 3.0, 20)
FREQUENCIES_IN_HZ = np.geomspace(0.5, 16.0, 11)
AMPLITUDE = {"rms": "rms_in_cm_s2", "pga": "pga_rotd50_in_cm_s2", "pgv": "pgv_rotd50_in_cm_s"}
ENERGY = {"arias": "arias_in_cm_s", "cav": "cav_in_cm_s", "d5_75": "d5_75_in_s", "d5_95": "d5_95_in_s"}
SPECTRAL = tuple(f"sa_{period:.3f}" for period in PERIODS_IN_S)
FOURIER = tuple(f"fourier_{name.lower()}_{f:.2f}" for name in COMPONENTS for f in FREQUENCIES_IN_HZ)
SANITY = ("drift", "quiet", "p_lead", "vertical")
COLUMNS = (*AMPLITUDE, *ENERGY, *SPECTRAL, *FOURIER, *SANITY)
SCENARIO = ["station", "magnitude", "distance_in_km", "depth_in_km", "vs30_in_m_per_s"]
NEEDED = ["magnitude", "distance_in_km"]  # of a scenario
IDENTITY = [*SCENARIO, "event"]
ONSET_SHARE = 0.05  # of a component's energy: where its motion has begun
GUARD_IN_S = 0.5  # left out beside the window's taper and the onset of P
LAST_SHARE = 0.1  # of the record, over which the final displacement is averaged


def measures(records, before_p_in_s=5.0):
    """DataFrame (n, COLUMNS), NaN where a record cannot show a measure: amplitude, energy and duration of the
    horizontals (``intensity.measures``); RotD50 pseudo-spectral acceleration and Fourier amplitude of each component
    within the usable band; ``sanity``. before_p_in_s: where P is taken to be in a record that does not say."""
    found = intensity.measures(records)
    frame = pd.DataFrame({name: found[column] for name, column in (AMPLITUDE | ENERGY).items()})
    spectra = intensity.rotd(records, PERIODS_IN_S, (50,))[0]
    frame[list(SPECTRAL)] = np.where(hvsr.in_band(records, 1 / PERIODS_IN_S), spectra, np.nan)
    amplitude = intensity.fourier_amplitude(records, np.minimum(FREQUENCIES_IN_HZ, records.sampling_rate_in_hz / 2))
    amplitude = np.where(hvsr.in_band(records, FREQUENCIES_IN_HZ)[:, None], amplitude, np.nan)  # (n, 3, f)
    frame[list(FOURIER)] = amplitude.reshape(len(records), -1)
    horizontal = np.sqrt(found["pga_e_in_cm_s2"] * found["pga_n_in_cm_s2"])
    frame["vertical"] = found["pga_z_in_cm_s2"] / horizontal.where(horizontal > 0)
    frame["drift"], frame["quiet"], lead = sanity(records, before_p_in_s)
    return np.log(frame.where(frame > 0)).assign(p_lead=lead)[list(COLUMNS)]


def keys_of(column):
    """{"measure", "period_in_s"} of a column, as findings have them: sa_0.050 is psa, fourier_e_2.00 is at 0.5 s."""
    name, _, last = column.rpartition("_")
    if column in SPECTRAL:
        return {"measure": "psa", "period_in_s": round(float(PERIODS_IN_S[SPECTRAL.index(column)]), 4)}
    if column in FOURIER:
        return {"measure": name, "period_in_s": round(1 / float(last), 4)}
    return {"measure": column}


def sanity(records, before_p_in_s=5.0):
    """Three arrays (n,) that say whether a record could be one. drift: displacement by double integration, its mean
    over the last tenth over its peak, both averaged over components (near 1 with a wrong baseline). quiet: RMS before P
    over the record's peak. P's lead in s: how much earlier the vertical has had 5 % of its energy than the
    horizontals."""
    rate = records.sampling_rate_in_hz
    x, samples, p = true_waveforms(records), records.table["samples"].to_numpy(int), records.p_arrival(before_p_in_s)
    drift, quiet, lead = np.full((3, len(records)), np.nan)
    for i, (wave, n) in enumerate(zip(x, samples, strict=True)):
        wave = wave[:, :n]
        if not (peak := np.abs(wave).max()) > 0:
            continue
        speed = cumulative_trapezoid(wave, dx=1 / rate, initial=0.0)
        displacement = cumulative_trapezoid(speed, dx=1 / rate, initial=0.0)
        last = displacement[:, -max(1, round(LAST_SHARE * n)) :].mean(axis=1)
        drift[i] = np.abs(last).mean() / np.abs(displacement).max(axis=1).mean()
        before = wave[:, round(GUARD_IN_S * rate) : max(0, round(p[i] - GUARD_IN_S * rate))]
        if before.shape[1] >= rate:
            quiet[i] = np.sqrt((before**2).mean()) / peak
        energy = np.cumsum(np.stack([(wave[:2] ** 2).sum(axis=0), wave[2] ** 2]), axis=1)
        horizontal, vertical = (energy >= ONSET_SHARE * energy[:, -1:]).argmax(axis=1)
        lead[i] = (horizontal - vertical) / rate
    return drift, quiet, lead
