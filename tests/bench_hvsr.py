"""HVSR of 300 records of 3 x 6000 samples: ours, a plain loop over centre frequencies, and hvsrpy if installed.

    python tests/bench_hvsr.py [--records 300] [--repeats 5]

Each repeat times every way once, one after the other; the table gives medians, wall clock and processor time, and the
median of the ratios within a repeat. The loop smooths a few records only and is scaled up, for its cost is a multiple
of their number. On a busy machine set OPENBLAS_NUM_THREADS=1: threads that wait for each other measure the neighbours.
"""

import argparse
import importlib.util
import time
import warnings

import numpy as np
import pandas as pd
from scipy import fft

from tsgen.config import HVSRSettings
from tsgen.hvsr import _gain_and_matrix, _spectra, hvsr, konno_ohmachi
from tsgen.records import Records

RATE_IN_HZ, N_SAMPLES, N_LOOPED = 100.0, 6000, 4


def noise_records(n):
    waveforms = np.random.default_rng(0).standard_normal((n, 3, N_SAMPLES), dtype=np.float32)
    columns = {"station": "SIM.01", "kind": "simulated", "source": "noise", "samples": N_SAMPLES}
    band = {"native_sampling_rate_in_hz": RATE_IN_HZ, "usable_from_hz": 0.1, "usable_to_hz": 40.0}
    return Records(waveforms, RATE_IN_HZ, pd.DataFrame({"event": [str(i) for i in range(n)]} | columns | band))


def smooth_in_a_loop(frequency_in_hz, spectra, centre_in_hz, b=40.0):
    """One window a spectrum and centre frequency, computed when it is needed."""
    out = np.empty((len(spectra), len(centre_in_hz)))
    positive = frequency_in_hz > 0
    for i, spectrum in enumerate(spectra):
        for j, centre in enumerate(centre_in_hz):
            weights = np.zeros(len(frequency_in_hz))
            weights[positive] = np.sinc(b / np.pi * np.log10(frequency_in_hz[positive] / centre)) ** 4
            out[i, j] = (weights * spectrum).sum() / weights.sum()
    return out


def hvsrpy_chain(records, centre_in_hz):
    """hvsrpy's own recordings, made before the clock starts, and the function to time (it windows them in place)."""
    import hvsrpy

    recordings = [
        hvsrpy.SeismicRecording3C(*(hvsrpy.TimeSeries(wave[i].astype(float), 1 / RATE_IN_HZ) for i in (1, 0, 2)))
        for wave in records.waveforms
    ]
    before = hvsrpy.settings.HvsrPreProcessingSettings(
        window_length_in_seconds=None, detrend="linear", orient_to_degrees_from_north=None
    )
    smoothing = {"operator": "konno_and_ohmachi", "bandwidth": 40, "center_frequencies_in_hz": centre_in_hz}
    settings = hvsrpy.settings.HvsrTraditionalProcessingSettings(
        window_type_and_width=["tukey", 0.0], smoothing=smoothing, method_to_combine_horizontals="geometric_mean"
    )
    return lambda: hvsrpy.process(hvsrpy.preprocess(recordings, before), settings).amplitude


def seconds(function):
    """Wall-clock and processor seconds (2,), and the result."""
    wall, processor = time.perf_counter(), time.process_time()
    result = function()
    return np.array([time.perf_counter() - wall, time.process_time() - processor]), result


def measure(n_records, repeats):
    """Seconds (repeats, 2: wall clock, processor) of each way, and the largest relative differences of results."""
    records, settings = noise_records(n_records), HVSRSettings()
    centre_in_hz = hvsr(records.take([0])).frequency_in_hz
    n_fft = fft.next_fast_len(N_SAMPLES + 2 * round(settings.padding_in_s * RATE_IN_HZ), real=True)
    frequency_in_hz = fft.rfftfreq(n_fft, 1 / RATE_IN_HZ)
    gain, matrix = _gain_and_matrix(RATE_IN_HZ, n_fft, settings)
    spectra = np.concatenate(_spectra(records, n_fft, gain))  # horizontals, then verticals
    with_hvsrpy = importlib.util.find_spec("hvsrpy") is not None
    times, scale = {}, len(spectra) / (2 * N_LOOPED)
    if with_hvsrpy:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            hvsrpy_chain(records.take([0]), centre_in_hz)()  # numba compiles
    for _ in range(repeats):
        chain, ours = seconds(lambda: hvsr(records).curves)
        build, _ = seconds(lambda: konno_ohmachi(frequency_in_hz, centre_in_hz))
        product, smooth = seconds(lambda: spectra @ matrix)
        loop, looped = seconds(lambda: smooth_in_a_loop(frequency_in_hz, spectra[: 2 * N_LOOPED], centre_in_hz))
        row = {"chain, ours": chain, "matrix, once": build, "smoothing, ours": product, "smoothing, loop": loop * scale}
        differences = {"loop": np.abs(smooth[: 2 * N_LOOPED] / looped - 1).max()}
        if with_hvsrpy:
            row["chain, hvsrpy"], theirs = seconds(hvsrpy_chain(records, centre_in_hz))
            differences["hvsrpy"] = np.abs(ours / theirs - 1).max()
        for name, value in row.items():
            times.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in times.items()}, differences


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    times, differences = measure(arguments.records, arguments.repeats)
    print(
        f"{arguments.records} records of 3 x {N_SAMPLES} samples, 400 centre frequencies, {arguments.repeats} repeats"
    )
    print(f"{'median seconds':26s} {'wall':>9s} {'processor':>9s}")
    for name, values in times.items():
        print(f"{name:26s} {np.median(values[:, 0]):9.3f} {np.median(values[:, 1]):9.3f}")
    for name, slow, fast in (
        ("smoothing, loop over ours", "smoothing, loop", "smoothing, ours"),
        ("chain, hvsrpy over ours", "chain, hvsrpy", "chain, ours"),
    ):
        if slow in times:
            wall, processor = np.median(times[slow] / times[fast], axis=0)
            print(f"{name:26s} {wall:8.1f}x {processor:8.1f}x")
        else:
            print(f"{name:26s} hvsrpy is not installed")
    for name, value in differences.items():
        print(f"largest relative difference from {name}: {value:.1e}")


if __name__ == "__main__":
    main()
