"""Intensity measures and oscillators against closed forms, eqsig, and the peaks that real records' headers state."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from conftest import shared

from tsgen import collection, hvsr, intensity, oscillator
from tsgen.records import Records, assemble

RATE_IN_HZ = 200.0
G = 980.665


def records_of(waveforms, rate=RATE_IN_HZ, **columns):
    waveforms = np.asarray(waveforms, np.float32)
    table = pd.DataFrame({"event": [f"e{i}" for i in range(len(waveforms))]})
    fixed = {"station": "SIM.01", "kind": "simulated", "source": "noise", "samples": waveforms.shape[-1]}
    band = {"native_sampling_rate_in_hz": rate, "usable_from_hz": 0.1, "usable_to_hz": 0.4 * rate}
    return Records(waveforms, rate, table.assign(**fixed | band | columns))


def motion(n, rate=50.0, n_samples=2048, kappa_in_s=0.03, seed=0):
    """Strong motion as noise: a source below and an attenuation above, an envelope that rises and decays."""
    frequency = np.fft.rfftfreq(n_samples, 1 / rate)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal((n, 3, n_samples)))
    spectrum *= frequency**2 / (frequency**2 + 0.25) * np.exp(-np.pi * kappa_in_s * frequency)
    time = np.arange(n_samples) / rate / 4.0
    return np.fft.irfft(spectrum, n_samples) * time**2 * np.exp(-2 * (time - 1)) * 50


def along_east(load):
    return np.stack([load, np.zeros_like(load), np.zeros_like(load)])[None]


def harmonic_displacement(time, amplitude, load_in_hz, period_in_s, damping):
    """Closed form of u'' + 2 zeta omega u' + omega² u = -A sin(W t) from rest: steady state plus decaying transient."""
    omega, w = 2 * np.pi / period_in_s, 2 * np.pi * load_in_hz
    size = -amplitude / ((omega**2 - w**2) ** 2 + (2 * damping * omega * w) ** 2)
    sine, cosine = size * (omega**2 - w**2), -size * 2 * damping * omega * w
    damped = omega * np.sqrt(1 - damping**2)
    b = -(damping * omega * cosine + w * sine) / damped
    decay = np.exp(-damping * omega * time)
    steady = sine * np.sin(w * time) + cosine * np.cos(w * time)
    return steady + decay * (-cosine * np.cos(damped * time) + b * np.sin(damped * time))


@pytest.mark.parametrize("damping", [0.02, 0.05])
def test_response_spectra_of_a_harmonic_load_are_the_closed_form(damping):
    time = np.arange(1200) / RATE_IN_HZ
    periods = np.array([0.22, 0.5, 0.51, 1.3, 3.0])  # 0.5 s is resonance
    spectra = intensity.response_spectra(records_of(along_east(100 * np.sin(4 * np.pi * time))), periods, damping)
    fine = np.linspace(0, time[-1], 60_000)
    for period, found in zip(periods, spectra[0, 0], strict=True):
        exact = np.abs(harmonic_displacement(fine, 100, 2.0, period, damping)).max() * (2 * np.pi / period) ** 2
        assert found == pytest.approx(exact, rel=3e-3)  # peaks between samples, a load of 100 straight lines a cycle
    assert not spectra[0, 1:].any()


def test_response_history_is_exact_between_the_samples_of_a_linear_load():
    """A step with a ramp is linear between samples, so the recursion meets its closed form to rounding, at any step."""
    time = np.arange(400) / 50.0
    period, damping = 2.0, 0.05  # 100 steps a period: not upsampled
    records = records_of(along_east(3.0 + time), 50.0)
    _, _, response = next(oscillator.responses(records, [period], damping, 1))
    omega = 2 * np.pi / period
    damped = omega * np.sqrt(1 - damping**2)
    decay, cosine, sine = np.exp(-damping * omega * time), np.cos(damped * time), np.sin(damped * time)
    of_step = 1 - decay * (cosine + damping * omega / damped * sine)
    of_ramp = time - 2 * damping / omega + decay * (2 * damping / omega * cosine + (2 * damping**2 - 1) / damped * sine)
    assert np.abs(response[0, 0] + 3.0 * of_step + of_ramp).max() < 2e-6  # the load is float32


def test_response_spectra_are_eqsigs_at_equal_step():
    eqsig = pytest.importorskip("eqsig.sdof", reason="eqsig is a test-only dependency")
    records = records_of(motion(1)[..., :700], 50.0)
    for period, factor in ((0.05, 16), (0.1, 8), (0.3, 4), (1.0, 1), (3.0, 1)):
        ours = intensity.response_spectra(records, [period])[..., 0]
        load = oscillator.upsampled(records.waveforms.astype(float), factor)
        theirs = [
            [eqsig.nigam_and_jennings_response(x, 1 / (50 * factor), [period], 0.05)[0].max() for x in (wave, -wave)]
            for wave in load.reshape(-1, load.shape[-1])
        ]
        theirs = np.max(theirs, axis=1).reshape(1, 3) * (2 * np.pi / period) ** 2
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_upsampling_removes_the_bias_at_short_periods():
    eqsig = pytest.importorskip("eqsig.sdof", reason="eqsig is a test-only dependency")
    at_200 = motion(4, RATE_IN_HZ, 8192, kappa_in_s=0.04)
    spectrum = np.fft.rfft(at_200)
    spectrum[..., 1000:] = 0  # nothing above 24.4 Hz: 50 Hz hold the same motion
    at_200 = np.fft.irfft(spectrum, 8192)
    at_50 = at_200[..., ::4]
    truth = intensity.response_spectra(records_of(at_200), [0.05])[..., 0]
    found = intensity.response_spectra(records_of(at_50, 50.0), [0.05])[..., 0]
    assert np.abs(np.log(found / truth)).max() < 0.005
    raw = [
        [np.abs(eqsig.nigam_and_jennings_response(x, 0.02, [0.05], 0.05)[0]).max() for x in wave]
        for wave in at_50.astype(np.float32).astype(float)
    ]
    bias = np.log(np.array(raw) * (2 * np.pi / 0.05) ** 2 / truth).mean()
    assert -0.40 < bias < -0.20  # what a coarse step would cost; -0.29 on the records of the study


def test_period_0_and_a_stiff_oscillator_are_the_peak_acceleration():
    records = records_of(motion(3, kappa_in_s=0.1), 50.0)
    spectra = intensity.response_spectra(records, [0.0, 0.01])
    np.testing.assert_allclose(spectra[..., 0], np.abs(records.waveforms).max(axis=2))
    np.testing.assert_allclose(spectra[..., 1], spectra[..., 0], rtol=0.03)
    with pytest.raises(ValueError, match="negative"):
        intensity.response_spectra(records, [0.1, -1.0])


def test_spectra_do_not_depend_on_the_batch(monkeypatch):
    records = records_of(motion(5), 50.0, samples=[2048, 1500, 900, 2048, 1200])
    periods = [0.1, 0.5, 2.0]
    whole = intensity.response_spectra(records, periods), intensity.rotd(records, periods)
    monkeypatch.setattr(oscillator, "VALUES_AT_ONCE", 1)
    one_by_one = intensity.response_spectra(records, periods), intensity.rotd(records, periods)
    for a, b in zip(whole, one_by_one, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_only_true_samples_count():
    waves = motion(2)
    cut = waves[..., :1000]
    dirty = waves.copy()
    dirty[..., 1000:] = 1e4
    dirty, clean = records_of(dirty, 50.0, samples=1000), records_of(cut, 50.0)
    pd.testing.assert_frame_equal(intensity.measures(dirty), intensity.measures(clean), rtol=1e-3)
    periods = [0.0, 0.1, 1.0]
    bilinear = partial(oscillator.inelastic_displacement, strength_factors=[3])
    for of, first in ((intensity.response_spectra, 0), (intensity.rotd, 0), (bilinear, 1)):
        # the padding moves upsampled values by parts in a million
        np.testing.assert_allclose(of(dirty, periods[first:]), of(clean, periods[first:]), rtol=1e-4)


def test_rotd_of_linear_and_of_circular_motion():
    time = np.arange(2000) / RATE_IN_HZ
    load = 100 * np.sin(6 * np.pi * time) * np.sin(np.pi * time / 10) ** 2
    angle = np.deg2rad(37)
    linear = records_of(np.stack([load * np.cos(angle), load * np.sin(angle), load])[None])
    periods = [0.0, 0.3, 1.0]
    along = intensity.response_spectra(linear, periods)[0, 2]  # the vertical carries the motion itself
    rotd00, rotd50, rotd100 = intensity.rotd(linear, periods, (0, 50, 100))
    np.testing.assert_allclose(rotd100[0], along, rtol=1e-5)
    np.testing.assert_allclose(rotd50[0], along / np.sqrt(2), rtol=1e-4)  # median of |cos| over the half circle
    assert rotd00[0].max() < 1e-4 * along.min()
    quarter = 100 * np.cos(6 * np.pi * time) * np.sin(np.pi * time / 10) ** 2
    rotd50, rotd100 = intensity.rotd(records_of(np.stack([load, quarter, load])[None]), periods)
    np.testing.assert_allclose(rotd50, rotd100, rtol=0.02)


def test_rotd_is_that_of_all_points():
    waves = motion(20)
    waves[:5, 1] *= 0.02  # almost on a line
    waves[5, :] = 0.0
    records = records_of(waves, 50.0)
    angle = np.deg2rad(np.arange(180))
    turned = np.einsum("ac,nct->nat", np.column_stack([np.cos(angle), np.sin(angle)]), records.waveforms[:, :2])
    exact = np.percentile(np.abs(turned).max(axis=2), (0, 50, 100), axis=1)
    np.testing.assert_allclose(intensity.rotd(records, [0.0], (0, 50, 100))[..., 0], exact, rtol=1e-6)


def test_measures_of_a_boxcar_are_the_closed_forms():
    """Constant |a| for 20 of 40 s: energy grows along a straight line."""
    sign = np.where(np.arange(8000) % 40 < 20, 1.0, -1.0)
    sign[:2000] = sign[6000:] = 0.0
    found = intensity.measures(records_of(np.stack([30 * sign, -40 * sign, 10 * sign])[None])).iloc[0]
    assert found["arias_in_cm_s"] == pytest.approx(np.pi / (2 * G) * (30**2 + 40**2) * 20, rel=1e-6)
    assert found["d5_95_in_s"] == pytest.approx(0.90 * 20, rel=1e-6)
    assert found["d5_75_in_s"] == pytest.approx(0.70 * 20, rel=1e-6)
    assert found["cav_in_cm_s"] == pytest.approx(np.sqrt(30 * 40) * 20, rel=1e-6)
    assert found["rms_in_cm_s2"] == pytest.approx(np.sqrt((30**2 + 40**2) / 2 * 20 / 40), rel=1e-6)
    peaks = found[["pga_e_in_cm_s2", "pga_n_in_cm_s2", "pga_z_in_cm_s2", "pga_rotd100_in_cm_s2"]]
    np.testing.assert_allclose(peaks, [30, 40, 10, 50], rtol=1e-4)  # 53.13 degrees is between two angles
    assert found["pga_rotd50_in_cm_s2"] == pytest.approx(50 / np.sqrt(2), rel=1e-3)


def test_pgv_of_a_sine_is_amplitude_over_omega():
    time = np.arange(16000) / RATE_IN_HZ
    rise = np.clip(np.minimum(time, time[-1] - time) / 10, 0, 1)
    load = 100 * np.sin(4 * np.pi * time) * np.sin(np.pi * rise / 2) ** 2
    found = intensity.measures(records_of(along_east(load))).iloc[0]
    assert found["pgv_e_in_cm_s"] == pytest.approx(100 / (4 * np.pi), rel=2e-3)
    assert found["pgv_rotd100_in_cm_s"] == pytest.approx(100 / (4 * np.pi), rel=2e-3)
    corner = 100 * np.sin(2 * np.pi * 0.05 * time) * np.sin(np.pi * rise / 2) ** 2
    speed = np.abs(intensity.velocities(records_of(along_east(corner)))[0, 0, 6000:10_000]).max()
    assert speed == pytest.approx(0.5 * 100 / (2 * np.pi * 0.05), rel=0.05)  # -3 dB at the corner, twice
    drifting = intensity.velocities(records_of(along_east(load + 2.0)))[0, 0]
    np.testing.assert_allclose(drifting, intensity.velocities(records_of(along_east(load)))[0, 0], atol=1e-3)


def test_a_record_without_energy_has_no_duration():
    found = intensity.measures(records_of(np.zeros((1, 3, 500)))).iloc[0]
    assert found[["d5_75_in_s", "d5_95_in_s"]].isna().all()
    assert not found.drop(["d5_75_in_s", "d5_95_in_s"]).any()


def test_measures_have_a_row_a_record_and_a_unit_a_column():
    found = intensity.measures(records_of(motion(3), 50.0))
    assert found.shape == (3, 15) and np.isfinite(found).all(axis=None)
    assert all(name.endswith(("_in_cm_s2", "_in_cm_s", "_in_s")) for name in found.columns)
    assert len(intensity.measures(records_of(motion(3), 50.0).take([]))) == 0


def test_fourier_amplitude_of_a_spike_is_flat():
    waves = np.zeros((1, 3, 1000))
    waves[0, :, 300] = 10, 20, 40
    found = intensity.fourier_amplitude(records_of(waves), np.array([0.5, 1.0, 10.0, 60.0]))
    np.testing.assert_allclose(found[0], np.array([[10.0], [20.0], [40.0]]) / RATE_IN_HZ * np.ones(4), rtol=1e-9)
    with pytest.raises(ValueError, match="Nyquist"):
        intensity.fourier_amplitude(records_of(waves), [101.0])


def test_in_band_follows_each_record():
    records = records_of(np.zeros((2, 3, 10)), usable_from_hz=[1.0, np.nan], usable_to_hz=[20.0, np.nan])
    np.testing.assert_array_equal(
        hvsr.in_band(records, [0.5, 1.0, 20.0, 30.0]), [[False, True, True, False], [True, True, True, True]]
    )


def test_bilinear_that_does_not_yield_is_the_response_spectrum():
    records = records_of(motion(3)[..., :1200], 50.0, samples=[1200, 700, 1000])
    periods = np.array([0.1, 0.35, 1.0, 2.5])
    elastic = intensity.response_spectra(records, periods)[:, :2] / (2 * np.pi / periods) ** 2
    just, never = np.moveaxis(oscillator.inelastic_displacement(records, periods, [1.0, 0.5]), -1, 0)
    np.testing.assert_allclose(just, elastic, rtol=1e-6)
    np.testing.assert_allclose(never, elastic, rtol=1e-6)
    all_hard = oscillator.inelastic_displacement(records, periods, [4.0], hardening=1.0)[..., 0]
    np.testing.assert_allclose(all_hard, elastic, rtol=1e-6)


@pytest.mark.parametrize(("factor", "hardening"), [(1.5, 0.0), (1.9, 0.0), (3.0, 0.1), (6.0, 0.3)])
def test_bilinear_under_a_sudden_constant_load_conserves_energy(factor, hardening):
    """The work of the load equals the energy under the bilinear curve when the undamped oscillator first stops."""
    records = records_of(along_east(np.full(2000, 100.0)))
    period = 2.0
    omega2 = (2 * np.pi / period) ** 2
    elastic = 2 * 100 / omega2
    yielding = elastic / factor
    # 100 u = omega2 (y² / 2 + y (u - y) + hardening (u - y)² / 2), for x = u - y
    a, b, c = hardening * omega2 / 2, omega2 * yielding - 100, omega2 * yielding**2 / 2 - 100 * yielding
    beyond = -c / b if a == 0 else (-b + np.sqrt(b**2 - 4 * a * c)) / (2 * a)
    found = oscillator.inelastic_displacement(records, [period], [factor], hardening, damping=0.0)[0, 0, 0, 0]
    assert found == pytest.approx(yielding + beyond, rel=1e-3)
    assert found > 1.2 * elastic


def test_bilinear_under_strong_motion_is_that_of_a_tiny_explicit_step():
    """The definition itself, step by step at 10 kHz: yields and unloads many times, with damping and hardening."""
    wave = motion(1, RATE_IN_HZ, 4096, kappa_in_s=0.1)[0]
    period, factor, hardening, damping = 0.8, 5.0, 0.05, 0.05
    records = records_of(wave[None])
    found = oscillator.inelastic_displacement(records, [period], [factor], hardening, damping)[0, 0, 0, 0]
    omega, step = 2 * np.pi / period, 1e-4
    elastic = intensity.response_spectra(records, [period])[0, 0, 0] / omega**2
    bound = elastic / factor
    load = np.interp(np.arange(0, 4095 / RATE_IN_HZ, step), np.arange(4096) / RATE_IN_HZ, wave[0]).tolist()
    u = v = plastic = peak = flow = 0.0
    for a in load:
        stretch = u - plastic
        if abs(stretch) > bound:
            change = stretch - bound if stretch > 0 else stretch + bound
            plastic, flow = plastic + change, flow + abs(change)
        force = omega**2 * (hardening * u + (1 - hardening) * (u - plastic))
        v += step * (-a - 2 * damping * omega * v - force)
        u += step * v
        peak = max(peak, abs(u))
    assert flow > 5 * bound  # the case yields
    assert found == pytest.approx(peak, rel=0.01)
    assert abs(found / elastic - 1) > 0.05  # an elastic oscillator would not pass


def test_bilinear_has_converged_at_the_default_step(monkeypatch):
    records, periods, factors = records_of(motion(5)[..., :1000], 50.0), [0.1, 1.0], [2, 6]
    found = oscillator.inelastic_displacement_ratio(records, periods, factors)
    monkeypatch.setattr(oscillator, "STEPS_PER_PERIOD", 320)
    error = np.log(found / oscillator.inelastic_displacement_ratio(records, periods, factors))
    assert np.abs(error).max() < 0.02 and np.abs(error.mean()) < 0.005


def test_equal_displacement_rule_holds_at_long_periods_only():
    """Elastic and elastoplastic displacement are about equal well above the load's dominant period (Veletsos 1960)."""
    ratio = oscillator.inelastic_displacement_ratio(records_of(motion(40), 50.0), [0.1, 1.0], [2, 4], hardening=0.0)
    short, long = np.exp(np.log(ratio).mean(axis=(0, 1)))
    assert (np.abs(np.log(long)) < 0.15).all()
    assert short[0] > 1.2 and short[1] > 2.0


def test_peaks_of_real_records_are_those_of_their_headers():
    kept = collection.opened(shared("records/metadata.csv").parent)
    table = kept.table
    chosen = range(0, len(table), 8)
    for i in chosen:
        records = assemble([kept.read(i)], [kept.rates_in_hz[i]], table.iloc[[i]])
        found = intensity.measures(records).iloc[0]
        for c in "enz":
            assert found[f"pga_{c}_in_cm_s2"] == pytest.approx(table[f"trace_pga_{c}_cmps2"][i], rel=1e-5)
        assert 0 < found["d5_75_in_s"] < found["d5_95_in_s"] < records.duration_in_s
        larger = found[["pga_e_in_cm_s2", "pga_n_in_cm_s2"]].max()
        assert larger <= found["pga_rotd100_in_cm_s2"] * 1.001
        assert found["pga_rotd50_in_cm_s2"] <= found["pga_rotd100_in_cm_s2"] <= larger * np.sqrt(2)
