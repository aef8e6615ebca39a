"""Seconds that intensity measures and spectra of many records take.

    python tests/bench_intensity.py [--records 1000] [--periods 20]

Records of 3 x 2048 samples at 50 Hz, periods from 0.05 to 3 s: the quick profile. Wall-clock and processor time: on a
busy machine the second is what the work costs.
"""

import argparse
import time

import numpy as np
from test_intensity import motion, records_of

from tsgen import intensity, memorisation, oscillator


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--periods", type=int, default=20)
    arguments = parser.parse_args()
    records = records_of(motion(arguments.records), 50.0)
    periods = np.geomspace(0.05, 3.0, arguments.periods)
    few, structural = records.take(np.arange(min(100, len(records)))), np.geomspace(0.1, 2.0, 8)
    half = len(records) // 2
    ways = {
        "measures": lambda: intensity.measures(records),
        "response_spectra": lambda: intensity.response_spectra(records, periods),
        "rotd": lambda: intensity.rotd(records, periods),
        "fourier_amplitude": lambda: intensity.fourier_amplitude(records, np.geomspace(0.5, 20, 100)),
        "memorisation": lambda: memorisation.memorisation(
            records.take(np.arange(half)), records.take(np.arange(half, min(half + 60, len(records))))
        ),
        f"bilinear, {len(few)} records, 8 periods, 3 factors": lambda: oscillator.inelastic_displacement(
            few, structural, [2, 4, 6]
        ),
    }
    print(f"{len(records)} records of 3 x {records.n_samples} samples, {len(periods)} periods")
    for name, way in ways.items():
        wall, processor = time.perf_counter(), time.process_time()
        way()
        print(f"{name:42s} {time.perf_counter() - wall:6.2f} s, processor {time.process_time() - processor:6.2f} s")


if __name__ == "__main__":
    main()
