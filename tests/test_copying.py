"""Planted copies and stacks are found, independent records are not."""

import numpy as np
import pandas as pd
import pytest

from tsgen import findings, generate
from tsgen.evidence import copying
from tsgen.records import Records

RATE_IN_HZ, N_SAMPLES = 50.0, 1024


def records_of(waveforms, station="SIM.01", name="e", samples=N_SAMPLES):
    table = pd.DataFrame({"event": [f"{name}{i}" for i in range(len(waveforms))]})
    fixed = {"station": station, "kind": "simulated", "source": "noise", "samples": samples}
    band = {"native_sampling_rate_in_hz": RATE_IN_HZ, "usable_from_hz": 0.1, "usable_to_hz": 20.0}
    return Records(np.asarray(waveforms, np.float32), RATE_IN_HZ, table.assign(**fixed | band))


def motion(n, seed):
    """Noise from 1 to 15 Hz under an envelope, unequal in size and in the ratio of vertical to horizontal."""
    rng = np.random.default_rng(seed)
    frequency = np.fft.rfftfreq(N_SAMPLES, 1 / RATE_IN_HZ)
    spectrum = np.fft.rfft(rng.standard_normal((n, 3, N_SAMPLES))) * ((frequency > 1) & (frequency < 15))
    time = np.arange(N_SAMPLES) / RATE_IN_HZ / 3.0
    size = np.exp(rng.normal(0, 1, (n, 1, 1)) + rng.normal(0, 0.3, (n, 3, 1)))
    return np.fft.irfft(spectrum, N_SAMPLES) * time**2 * np.exp(-2 * (time - 1)) * size


@pytest.fixture(scope="module")
def training():
    return Records.concatenate(
        [records_of(motion(30, 1)), records_of(motion(30, 2), station="SIM.02", name="f")],
    )


@pytest.fixture(scope="module")
def held_out():
    return records_of(motion(20, 3), name="h")


def test_a_shifted_inverted_scaled_copy_is_found_with_its_lag(training):
    wave = training.waveforms[[7, 40]]
    later = np.zeros_like(wave)
    later[0, :, 75:] = -3.0 * wave[0, :, :-75]
    later[1, :, :-20] = 0.1 * wave[1, :, 20:]
    copies = Records.concatenate([records_of(later[:1]), records_of(later[1:], station="SIM.02")])
    found = copying.largest_correlation(copies, training)
    assert found["training_row"].tolist() == [7, 40]
    np.testing.assert_allclose(found["lag_in_s"], [1.5, -0.4])
    assert (found["largest_correlation"] > 0.97).all()  # the shift cuts an end off


def test_each_component_counts_a_third(training):
    wave = np.array(training.waveforms[:1])
    wave[0, 1:] = motion(1, 9)[0, 1:] * 1000  # only E is a copy, and the weakest
    found = copying.largest_correlation(records_of(wave), training).iloc[0]
    assert found["training_row"] == 0 and found["largest_correlation"] == pytest.approx(1 / 3, abs=0.1)
    assert copying.largest_correlation(records_of(training.waveforms[:1]), training).iloc[0, 0] == pytest.approx(1)


def test_correlation_is_that_of_the_definition(training, held_out):
    """The largest of all lags and records, by numpy's own correlation."""
    x = held_out.waveforms[0].astype(float)
    x = x - x.mean(axis=1, keepdims=True)
    best = 0.0
    for y in training.select(station="SIM.01").waveforms.astype(float):
        y = y - y.mean(axis=1, keepdims=True)
        parts = [np.correlate(a, b, "full") / np.sqrt((a**2).sum() * (b**2).sum()) for a, b in zip(x, y, strict=True)]
        best = max(best, np.abs(np.mean(parts, axis=0)).max())
    assert copying.largest_correlation(held_out.take([0]), training).iloc[0, 0] == pytest.approx(best, abs=1e-6)


def stacks(training):
    """Five records each: a mean of the records, and the plain average of the standardised ones."""
    own = training.select(station="SIM.01")
    raw = np.stack([own.waveforms[i : i + 5].mean(axis=0) for i in range(0, 30, 5)])
    return {"raw": records_of(raw, name="s"), "plain": generate.mix(generate.PlainAverage(), own, 20, k=5)}


@pytest.mark.parametrize("kind", ["raw", "plain"])
def test_a_stack_of_five_is_found_with_its_five_records(training, kind):
    found = copying.regression(stacks(training)[kind], training)
    assert (found["r2"] > 0.99).all() and (found["active_records"] == 5).all()


def test_a_stack_survives_the_error_of_a_network(training):
    """A reconstruction error of a third of the record's RMS hides neither the stack nor its number."""
    stack = stacks(training)["plain"]
    noise = motion(len(stack), 8)
    noise *= stack.waveforms.std(axis=2, keepdims=True) / noise.std(axis=2, keepdims=True) / 3
    found = copying.regression(records_of(stack.waveforms + noise), training)
    assert (found["r2"] > 0.85).all() and (found["active_records"] == 5).mean() > 0.8


def test_held_out_recordings_are_not_found(training, held_out):
    found = copying.memorisation(held_out, training)
    assert (found["r2"] < 0.4).all() and (found["active_records"] < 3).all()
    assert (found["largest_correlation"] < 0.5).all()
    assert (found["n_training"] == 30).all()


class Kept:
    """What copying asks of a study: records by name; nothing is kept."""

    def __init__(self, training, **records):
        self.training, self.records, self.seed = training, records, 0

    def some(self, which):
        return self.records[which]

    def keep_table(self, name, make, inputs):
        return make()

    def keep_findings(self, name, build, inputs):
        return findings.table(build())

    def stage(self, *of):
        return of

    stage_of = stage


def test_findings_tell_a_copy_machine_from_new_records(training, held_out):
    new = records_of(motion(40, 5), name="n")
    study = Kept(training, held_out=held_out, plain=stacks(training)["plain"], new=new)
    plain, unseen = (
        findings.select(copying.copying(study, name), statistic="median").set_index("measure")
        for name in ("plain", "new")
    )
    assert list(plain.index) == list(copying.MEASURES) and set(plain["against"]) == {"held_out"}
    assert (plain["low"] > [0.1, 0.5, 3]).all()
    assert (unseen["low"] <= 0).all() and (unseen["high"] >= 0).all()
    assert unseen["n"].tolist() == [40] * 3 and unseen["n_against"].tolist() == [20] * 3
    level = findings.one(copying.copying(study, "plain"), measure="active_records", statistic="level")
    assert level["value"] == 5


def test_padding_and_offset_do_not_count(training):
    wave = np.array(training.waveforms[:1]) + 5.0
    wave[..., 600:] = 1e3
    short = records_of(wave, samples=600)
    known = records_of(training.waveforms[:3] * (np.arange(N_SAMPLES) < 600))
    assert copying.largest_correlation(short, known).iloc[0, 0] > 0.999


def test_what_cannot_be_compared_raises(training):
    with pytest.raises(ValueError, match=r"no training record of station SIM\.09"):
        copying.regression(records_of(motion(1, 1), station="SIM.09"), training)
    with pytest.raises(ValueError, match="samples"):
        copying.largest_correlation(records_of(motion(1, 1)[..., :500], samples=500), training)
