"""The shear frame against closed forms, and against the oscillators of the same period."""

from dataclasses import replace

import numpy as np
import pytest

from tsgen import building, config, intensity, oscillator, simulate
from tsgen.building import ShearFrame


@pytest.fixture(scope="module")
def records():
    settings = config.profile("smoke").simulation
    return simulate.fresh(settings, ["SIM.01", "SIM.03", "SIM.05"], [5.0, 6.0, 6.5], [15.0, 20.0, 30.0])


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_periods_of_a_uniform_shear_frame(n):
    """omega_i = 2 sqrt(k / m) sin((2i - 1) pi / (4n + 2)), and the first is the one asked for."""
    given = ShearFrame(n_storeys=n, period_in_s=0.7)
    i = np.arange(1, n + 1)
    expected = 2 * np.pi / (2 * np.sqrt(given.stiffness) * np.sin((2 * i - 1) * np.pi / (4 * n + 2)))
    np.testing.assert_allclose(building.modes(given)[0], expected)
    assert expected[0] == pytest.approx(0.7)


@pytest.mark.parametrize(("steps", "tolerance"), [(None, 0.015), (512, 1.5e-4)])
def test_one_elastic_storey_is_the_oscillator(records, monkeypatch, steps, tolerance):
    """By central differences of 40 steps a cycle is 0.1 % short, which shows after many; it vanishes with the step."""
    if steps:
        monkeypatch.setattr(building, "STEPS_PER_SHORTEST_PERIOD", steps)
        monkeypatch.setattr(oscillator, "STEPS_PER_PERIOD", steps)  # its peaks lie between its samples, too
    one = ShearFrame(n_storeys=1, period_in_s=0.4, yield_drift=1e9)
    drift = 300 * building.largest_drift(one, records)[..., 0]
    spectra = intensity.response_spectra(records, [0.4])[:, :2, 0] / (2 * np.pi / 0.4) ** 2
    np.testing.assert_allclose(drift, spectra, rtol=tolerance)


def test_one_yielding_storey_is_the_bilinear_oscillator(records):
    spectra = intensity.response_spectra(records, [0.4])[:, :2, 0] / (2 * np.pi / 0.4) ** 2
    expected = oscillator.inelastic_displacement(records, [0.4], [4.0])[:, :, 0, 0]
    one = ShearFrame(n_storeys=1, period_in_s=0.4, yield_drift=0.005)
    scale = 4 * 1.5 / spectra  # to four times the yield displacement of 1.5 cm
    drift = 300 * building.largest_drift(one, records, scale[..., None])[..., 0]
    np.testing.assert_allclose(drift / scale, expected, rtol=0.02)
    assert np.abs(drift / (4 * 1.5) - 1).max() > 0.05  # yielding changed something


def test_static_load_bends_the_frame_as_its_shears_say(records):
    """A constant acceleration a, applied for long: storey i carries the mass above it, m a (n - i + 1) / k."""
    given = ShearFrame(n_storeys=3, period_in_s=0.2, yield_drift=1e9, damping=1.0)
    constant = steady(records, 10.0)
    drift = 300 * building.largest_drift(given, constant)[..., 0]
    np.testing.assert_allclose(drift, 3 * 10.0 / given.stiffness, rtol=1e-3)


def steady(records, value):
    rising = np.minimum(1.0, np.arange(records.n_samples) / 200)  # and falling: a step would ring when upsampled
    waveforms = np.broadcast_to(value * rising * rising[::-1], records.waveforms.shape).astype(np.float32)
    return type(records)(waveforms, records.sampling_rate_in_hz, records.table)


def test_linear_until_it_yields(records):
    given = ShearFrame()
    small = building.largest_drift(given, records, 1e-3)
    np.testing.assert_allclose(building.largest_drift(given, records, 2e-3), 2 * small, rtol=1e-9)


def test_capacity_is_where_the_limit_is_reached(records):
    given = ShearFrame()
    spectra = intensity.response_spectra(records, [given.period_in_s])[:, :2, 0]
    levels = given.yield_acceleration_in_cm_s2 * np.geomspace(0.5, 16, 24)
    found = building.capacity(given, records, spectra, levels, [0.01])[..., 0]
    assert np.isfinite(found).all()
    reached = building.largest_drift(given, records, (np.exp(found) / spectra)[..., None])
    np.testing.assert_allclose(reached, 0.01, rtol=0.05)
    assert np.isnan(building.capacity(given, records, spectra, levels[:2], [0.05])).all()
    elastic = replace(given, yield_drift=1e9)
    ours = building.capacity(elastic, records, spectra, levels, [0.01])[..., 0]
    per_unit = building.largest_drift(elastic, records)[..., 0] / spectra
    np.testing.assert_allclose(ours, np.log(0.01 / per_unit), rtol=1e-6)
