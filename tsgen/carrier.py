"""A carrier at two scales: fresh noise that takes a record's power in time and frequency, coarse, and its Fourier
spectrum, fine. Strong motion above 1 Hz is close to such noise; one window alone cannot show both an f0 of 1.8 Hz and a
duration. It is driven by recordings (``renoised``) or by whatever makes the two shapes."""

import numpy as np
import torch
from scipy import fft

from tsgen import spectrogram
from tsgen.generate import by_station
from tsgen.hvsr import konno_ohmachi
from tsgen.oscillator import cut, true_waveforms
from tsgen.scenario import BATCH

WINDOW_IN_S = 1.28  # of the coarse shape: 64 samples at 50 Hz, a quarter of it from frame to frame
BANDWIDTH = 30.0  # b of the fine shape's smoothing: at 40 filters ring longer (ln D5-95 +0.05 instead of +0.04)
ROUNDS = 8  # each shape disturbs the other: after one, ln D5-95 is 0.16 off and ln PSA up to 0.07
STEPS_A_DECADE = 40  # of the fine shape: three within the smoothing's half width
LOWEST_IN_HZ = 0.1  # below it the fine shape is constant


class Carrier:
    """Reads both shapes off waveforms of a length and a rate, and gives them to noise."""

    def __init__(self, n_samples, sampling_rate_in_hz):
        self.n_samples, rate = n_samples, sampling_rate_in_hz
        self.hop = max(1, round(WINDOW_IN_S * rate / 4))
        self.n_fft, self.padded = 4 * self.hop, fft.next_fast_len(2 * n_samples, real=True)
        frequency = np.fft.rfftfreq(self.padded, 1 / rate)
        n = int(STEPS_A_DECADE * np.log10(rate / 2 / LOWEST_IN_HZ))
        self.frequency_in_hz = LOWEST_IN_HZ * 10 ** (np.arange(n + 1) / STEPS_A_DECADE)  # of the fine shape
        smoothing = konno_ohmachi(frequency, self.frequency_in_hz, BANDWIDTH)
        self._smoothing = torch.from_numpy(smoothing.T).float()  # (f, fine)
        place = np.log10(frequency.clip(LOWEST_IN_HZ) / LOWEST_IN_HZ) * STEPS_A_DECADE
        weights = (1 - np.abs(place - np.arange(n + 1)[:, None])).clip(0)  # of the two neighbours, linear in ln f
        self._between = torch.from_numpy(weights / weights.sum(0)).float()  # (fine, f)

    def coarse(self, x):
        """Power (n, c, bin, frame) in (cm/s²)² of waveforms x (n, c, t) tensor, averaged over three bins."""
        power = spectrogram.transform(x, self.n_fft, self.hop).abs().square()
        padded = torch.nn.functional.pad(power, (0, 0, 1, 1), mode="replicate")  # bins
        return (padded[:, :, :-2] + power + padded[:, :, 2:]) / 3

    def fine(self, x):
        """Power (n, c, f) of the Fourier spectrum at ``frequency_in_hz``, Konno-Ohmachi-smoothed, of x (n, c, t)."""
        return torch.fft.rfft(x, self.padded).abs().square() @ self._smoothing

    def waves(self, coarse, fine, generators):
        """Noise (n, c, t) float32 of the shapes ``coarse`` and ``fine``, as the functions of these names give them.
        generators: one torch.Generator a record. In turns, until both hold: gains a bin and frame, then one zero-phase
        filter a component, which has the last word."""
        x = spectrogram.normal(generators, coarse.shape[1], self.n_samples)
        for _ in range(ROUNDS):
            gain = _ratio(coarse, self.coarse(x)).sqrt()
            z = spectrogram.transform(x, self.n_fft, self.hop) * gain
            x = spectrogram.inverse(z, self.n_fft, self.hop, self.n_samples)
            gain = (0.5 * _ratio(fine, self.fine(x)).log() @ self._between).exp()
            x = torch.fft.irfft(torch.fft.rfft(x, self.padded) * gain, self.padded)[..., : self.n_samples]
        return x


def _ratio(wanted, found):
    return (wanted + spectrogram.FLOOR) / (found + spectrogram.FLOOR)


def renoised(records, n_per_station, seed=0):
    """Control: recordings of the station drawn with replacement, each through the carrier: its shape, not its wave.
    What rewards it rewards copying that no correlation of waveforms finds. A record is as long as its source."""
    carrier, samples = Carrier(records.n_samples, records.sampling_rate_in_hz), []

    def carried(own, generator):
        drawn, waves = generator.integers(len(own), size=n_per_station), []
        generators = spectrogram.generators(("renoised", seed, own.stations[0], row) for row in range(n_per_station))
        for source in own.take(drawn).batches(BATCH):
            x, chance = torch.from_numpy(true_waveforms(source)).float(), generators[len(waves) :][: len(source)]
            x = carrier.waves(carrier.coarse(x), carrier.fine(x), chance)
            waves.extend(cut(x.numpy(), source.table["samples"]))
            samples.extend(source.table["samples"])
        return np.stack(waves), np.eye(len(own))[drawn]

    return by_station(records, "control_renoised", seed, carried).with_columns(samples=samples)
