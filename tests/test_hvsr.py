"""HVSR against other implementations, against planted peaks, and on real records whose f0 is known."""

import numpy as np
import pandas as pd
import pytest
from conftest import shared
from scipy import fft, signal

from tsgen import hvsr as hvsr_module
from tsgen.config import HVSRSettings
from tsgen.formats import read_folder
from tsgen.hvsr import clarity, detrended, hvsr, konno_ohmachi
from tsgen.records import Records

RATE_IN_HZ = 50.0
# expected ratio of geometric mean of two Rayleigh amplitudes to a third: 2 sqrt(2 / pi) gamma(5/4)^2 / sqrt(2)
WHITE_NOISE_LEVEL = 0.92704


def records_of(waveforms, rate=RATE_IN_HZ, **columns):
    waveforms = np.asarray(waveforms, np.float32)
    table = pd.DataFrame(
        {
            "station": "SIM.01",
            "event": [f"e{i}" for i in range(len(waveforms))],
            "kind": "simulated",
            "source": "noise",
            "samples": waveforms.shape[-1],
            "native_sampling_rate_in_hz": rate,
            "usable_from_hz": 0.1,
            "usable_to_hz": 0.4 * rate,
        }
    ).assign(**columns)
    return Records(waveforms, rate, table)


def noise(n=4, n_samples=2048, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 3, n_samples))


def oscillator(frequency_in_hz, f0_in_hz, damping):
    """Amplitude of absolute acceleration over base acceleration of a single-degree-of-freedom system."""
    ratio = frequency_in_hz / f0_in_hz
    return np.abs((1 + 2j * damping * ratio) / (1 - ratio**2 + 2j * damping * ratio))


def site(f0_in_hz, n, damping=0.08, n_samples=4096, seed=0):
    """White noise whose horizontals went through an oscillator; tapered, for a step at the end leaks to all periods."""
    x = noise(n, n_samples, seed)
    frequency_in_hz = fft.rfftfreq(n_samples, 1 / RATE_IN_HZ)
    x[:, :2] = fft.irfft(fft.rfft(x[:, :2]) * oscillator(frequency_in_hz, f0_in_hz, damping), n_samples)
    return x * signal.windows.tukey(n_samples, 0.05)


def test_konno_ohmachi_is_obspys():
    from obspy.signal.konnoohmachismoothing import konno_ohmachi_smoothing_window

    frequency_in_hz = np.arange(0, 25, 0.02)
    centre_in_hz = np.array([1.0, 3.3333, 7.01, 20.0])  # on and off the frequencies
    ours = konno_ohmachi(frequency_in_hz, centre_in_hz)
    for row, centre in zip(ours, centre_in_hz, strict=True):
        theirs = konno_ohmachi_smoothing_window(frequency_in_hz, centre, 40.0)
        np.testing.assert_allclose(row, theirs / theirs.sum(), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("b", [20.0, 40.0])
def test_konno_ohmachi_is_pykoohs(b):
    pykooh = pytest.importorskip("pykooh")
    frequency_in_hz = fft.rfftfreq(4096, 1 / RATE_IN_HZ)
    spectrum = np.abs(fft.rfft(noise(1, 4096)[0, 0]))
    centre_in_hz = np.linspace(1, 20, 50)
    theirs = pykooh.smooth(centre_in_hz, frequency_in_hz, spectrum, b)
    np.testing.assert_allclose(konno_ohmachi(frequency_in_hz, centre_in_hz, b) @ spectrum, theirs, rtol=1e-10)


@pytest.mark.parametrize("window", ["konno_ohmachi", "gaussian"])
def test_rows_sum_to_one_and_peak_at_the_centre(window):
    frequency_in_hz = np.arange(0, 25, 0.01)
    centre_in_hz = np.arange(1.0, 20.0)
    matrix = konno_ohmachi(frequency_in_hz, centre_in_hz, window=window)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(frequency_in_hz[matrix.argmax(axis=1)], centre_in_hz)
    assert (matrix[:, 0] == 0).all()


def test_released_window_is_2_3_times_wider():
    frequency_in_hz = np.arange(5, 15, 1e-4)
    widths = []
    for window in ("konno_ohmachi", "gaussian"):
        row = konno_ohmachi(frequency_in_hz, [10.0], window=window)[0]
        inside = frequency_in_hz[row >= row.max() / 2]
        widths.append(np.log(inside[-1] / inside[0]))
    assert widths[1] / widths[0] == pytest.approx(2.283, abs=0.005)
    assert widths[1] / 2 == pytest.approx(np.sqrt(np.log(2) / 40), rel=1e-3)


def test_smoothing_refuses_what_has_no_meaning():
    with pytest.raises(ValueError, match="positive"):
        konno_ohmachi(np.arange(5.0), [0.0])
    with pytest.raises(ValueError, match="boxcar"):
        konno_ohmachi(np.arange(5.0), [1.0], window="boxcar")
    with pytest.raises(ValueError, match="900 Hz"):
        konno_ohmachi(np.arange(5.0), [1.0, 900.0], window="gaussian")


def test_frequencies_are_the_published_ones():
    published = np.load(shared("published/hvsr_f0_station_0205.npz"))["hvsr_freq_real"]
    np.testing.assert_allclose(hvsr(records_of(noise(1))).frequency_in_hz, published, rtol=1e-6)


@pytest.mark.parametrize("high_pass_in_hz", [0.05, 2.0])
def test_equals_filtering_in_time(high_pass_in_hz):
    """The same chain the long way, in float64: 60 s of zeros a side, filtered both ways, smoothed one by one."""
    x = noise(n_samples=2192) + 3 * np.linspace(-1, 1, 2192)  # 8192 with the zeros, a length the FFT keeps
    records = records_of(x)
    sos = signal.butter(2, high_pass_in_hz, "highpass", fs=RATE_IN_HZ, output="sos")
    x = np.pad(signal.detrend(records.waveforms.astype(float)), [(0, 0), (0, 0), (3000, 3000)])
    amplitude = np.abs(fft.rfft(signal.sosfiltfilt(sos, x, padtype=None)))
    result = hvsr(records, HVSRSettings(high_pass_in_hz=high_pass_in_hz))
    frequency_in_hz = fft.rfftfreq(8192, 1 / RATE_IN_HZ)[1:]
    e, n, z = np.moveaxis(amplitude[..., 1:], 1, 0)
    for i in range(0, 400, 57):
        argument = 40 * np.log10(frequency_in_hz / result.frequency_in_hz[i])
        weights = np.divide(np.sin(argument), argument, out=np.ones_like(argument), where=argument != 0) ** 4
        expected = (np.sqrt(e * n) @ weights) / (z @ weights)
        np.testing.assert_allclose(result.curves[:, i], expected, rtol=2e-5)


def test_high_pass_gain_is_half_at_the_corner():
    """Twice 3 dB, for the filter runs both ways; nothing is left at zero frequency."""
    gain, _ = hvsr_module._gain_and_matrix(RATE_IN_HZ, 5000, HVSRSettings())  # frequencies 0.01 Hz apart
    np.testing.assert_allclose(gain[[0, 5]], [0, 0.5], atol=1e-9)
    np.testing.assert_allclose(gain[10], 1 / (1 + (0.05 / 0.1) ** 4), rtol=1e-3)


def test_ratio_of_scaled_components_is_the_scale():
    z = noise(3)[:, 2:]
    records = records_of(np.concatenate([4 * z, z, z], axis=1))
    np.testing.assert_allclose(hvsr(records).curves, 2.0, rtol=1e-5)


def test_white_noise_has_the_predicted_level():
    level = np.exp(np.log(hvsr(records_of(noise(200))).curves).mean())
    assert level == pytest.approx(WHITE_NOISE_LEVEL, rel=0.005)


@pytest.mark.parametrize("f0_in_hz", [1.8, 2.6, 5.1, 6.4, 12.8])
def test_planted_peak_is_found(f0_in_hz):
    result = hvsr(records_of(site(f0_in_hz, 60)))
    assert np.median(result.f0_in_hz) == pytest.approx(f0_in_hz, rel=0.03)
    frequency_in_hz = fft.rfftfreq(20000, 1 / RATE_IN_HZ)
    expected = konno_ohmachi(frequency_in_hz, result.frequency_in_hz) @ oscillator(frequency_in_hz, f0_in_hz, 0.08)
    error = np.log(result.median / (WHITE_NOISE_LEVEL * expected))
    assert abs(error.mean()) < 0.02
    assert error.std() < 0.06


def test_usable_band_is_respected():
    x = np.concatenate([site(4.0, 1, 0.03), site(4.0, 1, 0.03), site(4.0, 1, 0.03), site(4.0, 1, 0.03)])
    records = records_of(x, usable_from_hz=[0.5, 5.0, 0.5, np.nan], usable_to_hz=[12.0, 20.0, 0.9, np.nan])
    result = hvsr(records)
    frequency = result.frequency_in_hz
    assert np.isfinite(result.curves[0]).tolist() == (frequency <= 12).tolist()
    assert np.isfinite(result.curves[1]).tolist() == (frequency >= 5).tolist()
    assert np.isnan(result.curves[2]).all() and np.isnan(result.f0_in_hz[2])
    assert np.isfinite(result.curves[3]).all()
    assert result.f0_in_hz[0] == pytest.approx(4.0, rel=0.05) and result.f0_in_hz[1] >= 5
    np.testing.assert_allclose(result.median[frequency > 12], result.curves[1][frequency > 12], rtol=0.5)
    assert np.isfinite(result.median).all()
    nothing = result.take([2])
    assert np.isnan(nothing.median).all() and np.isnan(clarity(nothing)["f0_in_hz"])


def test_low_rate_ends_at_two_fifths_of_it():
    result = hvsr(records_of(noise(2), rate=25.0, usable_to_hz=np.nan))
    assert np.isfinite(result.curves).all(axis=0).tolist() == (result.frequency_in_hz <= 10).tolist()
    assert np.isnan(hvsr(records_of(noise(1), rate=2.0)).f0_in_hz).all()


def test_zero_padding_does_not_matter():
    """The trend is that of the true samples; the zeros after them only make the FFT finer."""
    x = site(3.0, 8, n_samples=1500) + np.linspace(2, 5, 1500)
    padded = np.concatenate([x, np.zeros((8, 3, 1500))], axis=-1)
    short, long = hvsr(records_of(x)), hvsr(records_of(padded, samples=1500))
    np.testing.assert_allclose(long.curves, short.curves, rtol=0.03)
    assert np.median(np.abs(np.log(long.curves / short.curves))) < 1e-3
    assert np.abs(long.f0_in_hz - short.f0_in_hz).max() < 0.05
    wrong = hvsr(records_of(padded))
    assert np.abs(np.log(wrong.curves / short.curves)).max() > 0.05


def test_detrended_is_scipys_and_keeps_the_padding_empty():
    x = noise(2, 300) + np.linspace(0, 50, 300)
    x[1, :, 200:] = 0
    out = detrended(x, np.array([300, 200]))
    np.testing.assert_allclose(out[0], signal.detrend(x[0]), atol=1e-10)
    np.testing.assert_allclose(out[1, :, :200], signal.detrend(x[1, :, :200]), atol=1e-10)
    assert (out[1, :, 200:] == 0).all()


def test_dead_and_broken_records_give_nan_and_disturb_no_other():
    x = noise(6)
    x[1] = 0
    x[2, 2] = 0
    x[3, 0] = 0.3  # constant: nothing is left of it but rounding
    records = records_of(x, samples=[2048, 2048, 2048, 2048, 2048, 1])
    records.waveforms[4, 1, 100] = np.inf
    result = hvsr(records)
    assert np.isfinite(result.f0_in_hz).tolist() == [True, False, False, False, False, False]
    assert np.isnan(result.curves[1:]).all()
    np.testing.assert_allclose(result.curves[0], hvsr(records.take([0])).curves[0], rtol=1e-5)
    np.testing.assert_array_equal(result.median, result.curves[0])


def test_no_records_give_no_curves():
    result = hvsr(records_of(noise(1)).take([]))
    assert result.curves.shape == (0, 400) and result.f0_in_hz.shape == (0,)
    assert np.isnan(result.median).all()


def test_batches_and_order_do_not_matter(monkeypatch):
    records = records_of(noise(7))
    whole = hvsr(records)
    monkeypatch.setattr(hvsr_module, "BYTES_AT_ONCE", 3 * 4 * 9000 * 2)
    monkeypatch.setattr(hvsr_module, "RECORDS_AT_ONCE", 5)
    order = np.random.default_rng(1).permutation(7)
    parts = hvsr(records.take(order))
    np.testing.assert_allclose(parts.curves, whole.curves[order], rtol=1e-5)
    np.testing.assert_array_equal(parts.f0_in_hz, whole.f0_in_hz[order])


def test_the_median_is_numpys_without_its_warnings():
    curves = np.exp(noise(1, 50)[0])
    curves[0, :20] = np.nan
    curves[:2, 20:30] = np.nan
    curves[:, 49] = np.nan
    result = hvsr_module.HVSR(np.linspace(1, 20, 50), curves, np.full(3, 5.0))
    np.testing.assert_allclose(result.median[:49], np.nanmedian(curves[:, :49], axis=0))
    assert np.isnan(result.median[49])


def test_clarity_tells_a_peak_from_noise():
    clear = clarity(hvsr(records_of(site(5.0, 60, 0.04))))
    assert clear["f0_in_hz"] == pytest.approx(5.0, rel=0.03) and clear["amplitude"] > 2
    assert clarity(hvsr(records_of(noise(60))))["amplitude"] < 2


def test_released_window_flattens_the_peak():
    records = records_of(site(5.0, 20, 0.04))
    true, released = (hvsr(records, HVSRSettings(window=name)) for name in ("konno_ohmachi", "gaussian"))
    assert clarity(released)["amplitude"] < 0.85 * clarity(true)["amplitude"]
    assert np.median(released.f0_in_hz) == pytest.approx(5.0, rel=0.05)


def hvsrpy_curves(waveforms, rate, centre_in_hz):
    """Geometric-mean HVSR by hvsrpy, with a linear detrend, no filter, no taper."""
    hvsrpy = pytest.importorskip("hvsrpy", reason="hvsrpy is an optional extra (GPL)")
    series = [[hvsrpy.TimeSeries(x.astype(float), 1 / rate) for x in wave] for wave in waveforms]
    recordings = [hvsrpy.SeismicRecording3C(ns=n, ew=e, vt=z) for e, n, z in series]
    before = hvsrpy.settings.HvsrPreProcessingSettings(
        window_length_in_seconds=None, detrend="linear", orient_to_degrees_from_north=None
    )
    settings = hvsrpy.settings.HvsrTraditionalProcessingSettings(
        window_type_and_width=["tukey", 0.0],
        smoothing={
            "operator": "konno_and_ohmachi",
            "bandwidth": 40,
            "center_frequencies_in_hz": centre_in_hz,
        },
        method_to_combine_horizontals="geometric_mean",
    )
    return hvsrpy.process(hvsrpy.preprocess(recordings, before), settings).amplitude


def test_chain_is_hvsrpys():
    """To 1e-12 at its FFT length with its cut of the window; our uncut window moves curves by up to a per cent."""
    records = records_of(site(4.0, 3))
    result = hvsr(records)
    theirs = hvsrpy_curves(records.waveforms, RATE_IN_HZ, result.frequency_in_hz)
    frequency_in_hz = fft.rfftfreq(32768, 1 / RATE_IN_HZ)
    matrix = konno_ohmachi(frequency_in_hz, result.frequency_in_hz)
    with np.errstate(divide="ignore"):
        outside = np.abs(np.log10(frequency_in_hz / result.frequency_in_hz[:, None])) > 3 / 40
    matrix[outside] = 0
    e, n, z = np.moveaxis(np.abs(fft.rfft(detrended(records.waveforms.astype(float), [4096] * 3), 32768)), 1, 0)
    np.testing.assert_allclose((np.sqrt(e * n) @ matrix.T) / (z @ matrix.T), theirs, rtol=1e-10)
    np.testing.assert_allclose(result.curves, theirs, rtol=0.02)


KNOWN_F0_IN_HZ = {"002": 2.4, "015": 3.3, "010": 4.2, "020": 5.1, "014": 5.6, "009": 6.0}


def test_real_stations_have_their_f0():
    """OpenEEW stations, whole records and 41 s windows: median f0 within 5 % of the stated one."""
    stations = [f"OEEWMX.{code}" for code in KNOWN_F0_IN_HZ]
    records, _ = read_folder(shared("records"), RATE_IN_HZ)
    records = records.select(station=stations)
    for part in (records, records.window(2048)):
        result = hvsr(part)
        assert np.isnan(result.curves[:, result.frequency_in_hz > 12.6]).all()
        for station, f0_in_hz in zip(stations, KNOWN_F0_IN_HZ.values(), strict=True):
            here = result.take((part.table["station"] == station).to_numpy())
            assert len(here.curves) >= 6
            assert np.nanmedian(here.f0_in_hz) == pytest.approx(f0_in_hz, rel=0.05)
