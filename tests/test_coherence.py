"""Components that move together: recorded motion and the simulated truth pass, noise drawn apart fails."""

import numpy as np
import pytest
from conftest import shared

from tsgen import coherence, config, formats, generate, simulate

QUICK = config.profile("quick").simulation


@pytest.fixture(scope="module")
def truth():
    return simulate.network(QUICK, 0).select(station=[f"SIM.B{i:03d}" for i in range(1, 21)])


def test_coherence_of_a_component_with_itself_and_with_a_delayed_part_of_itself():
    x = np.random.default_rng(0).standard_normal((4, 2048))
    assert coherence.coherence(x, x, 50.0) == pytest.approx(1)
    alone = coherence.coherence(x, np.random.default_rng(1).standard_normal((4, 2048)), 50.0)
    half = coherence.coherence(x, x + np.random.default_rng(1).standard_normal((4, 2048)), 50.0)
    n_segments = 1 + (2048 - 128) // 64
    assert alone.mean() == pytest.approx(1 / n_segments, rel=0.25)  # what chance gives, overlapping halves counted
    assert half.mean() == pytest.approx(0.5, abs=0.07)


def test_noise_under_any_window_is_not_locked(truth):
    noise = coherence.locked(generate.random_phase(truth, 20, seed=0))
    assert abs(noise.mean()) < 3 * noise.std() / np.sqrt(len(noise)) < 0.005
    assert 0.4 < (noise > 0).mean() < 0.6
    assert np.isnan(coherence.locked(truth.take([0]))).all()


def test_recordings_are_locked_and_so_is_the_simulated_truth(truth):
    recorded, _ = formats.read_folder(shared("records"), 50.0, 40.96)
    recorded = coherence.locked(recorded.take((recorded.table["quality"] == "").to_numpy()))
    recorded, simulated = recorded[np.isfinite(recorded)], coherence.locked(truth)
    for values in (recorded, simulated):
        assert (values > 0).mean() > 0.9 and values.mean() > 0.01  # noise: 0 within 0.001
    assert 0.5 < simulated.mean() / recorded.mean() < 2
