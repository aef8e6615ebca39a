"""What a generated spectrogram should share with the recorded one: Fourier spectrum, envelope, significant duration.

Each takes the power of two spectrograms (batch, component, bin, frame) and the seconds from frame to frame, and gives
one number: the mean squared difference of logarithms. They are CGM-GM's switchable training terms.
"""

FLOOR = 1e-6  # (cm/s^2)^2


def spectral(found, truth, seconds):
    """Fourier spectrum: power over the whole record, a bin."""
    return _ln_difference(found.sum(3) * seconds, truth.sum(3) * seconds).square().mean()


def envelope(found, truth, seconds):
    """Amplitude modulation: power over all bins, a frame."""
    return _ln_difference(found.sum(2) * seconds, truth.sum(2) * seconds).square().mean()


def duration(found, truth, seconds):
    """Significant duration D5-95 of the horizontals' energy (of the one component, where there is one)."""
    return _ln_difference(significant(found, seconds), significant(truth, seconds)).square().mean()


def significant(power, seconds, low=0.05, high=0.95):
    """(batch,) seconds between two shares of the energy; linear within a frame, so it has a gradient."""
    energy = power[:, :2].sum((1, 2))  # (batch, frame)
    share = energy.cumsum(1) / energy.sum(1, keepdim=True)
    return (_crossing(share, high) - _crossing(share, low)) * seconds


def _crossing(share, level):
    """Frame, with its fraction, at which a rising share (batch, frame) reaches ``level``."""
    after = (share < level).sum(1, keepdim=True).clamp(1, share.shape[1] - 1)
    above, below = share.gather(1, after), share.gather(1, after - 1)
    return (after + (level - above) / (above - below).clamp_min(1e-9)).squeeze(1)


def _ln_difference(found, truth):
    return (found + FLOOR).log() - (truth + FLOOR).log()
