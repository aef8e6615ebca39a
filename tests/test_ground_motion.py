"""Ground-motion models against BSSA14's values as published, and against what all of them must do."""

import numpy as np
import pytest

from tsgen import ground_motion
from tsgen.intensity import G_IN_CM_S2

PERIODS_IN_S = (0.0, 0.2, 1.0)


@pytest.mark.parametrize(
    ("region", "expected"), [("global", (0.145745, 0.330852, 0.128489)), ("turkey", (0.157761, 0.354511, 0.139629))]
)
def test_bssa14_at_magnitude_7_and_30_km(region, expected):
    median, ln_std = ground_motion.prediction("BSSA14", 7.0, 30.0, 400.0, PERIODS_IN_S, region)
    np.testing.assert_allclose(median[0] / G_IN_CM_S2, expected, atol=1e-6)
    np.testing.assert_allclose(ln_std[0], (0.60509, 0.62129, 0.69241), atol=1e-5)


@pytest.mark.parametrize("model", ground_motion.MODELS)
def test_every_model_falls_with_distance_and_rises_with_magnitude(model):
    far = ground_motion.prediction(model, 6.0, np.array([10.0, 40.0, 160.0]), 400.0, PERIODS_IN_S, "turkey")[0]
    strong = ground_motion.prediction(model, np.array([4.5, 5.5, 6.5, 7.5]), 30.0, 400.0, PERIODS_IN_S)[0]
    soft = ground_motion.prediction(model, 5.0, 30.0, np.array([250.0, 800.0]), [1.0], depth_in_km=20.0)[0]
    assert (np.diff(far, axis=0) < 0).all() and (np.diff(strong, axis=0) > 0).all() and soft[0] > soft[1]


def test_models_agree_within_a_factor_of_three():
    median = np.array(
        [ground_motion.prediction(model, 6.0, 30.0, 400.0, PERIODS_IN_S)[0][0] for model in ground_motion.MODELS]
    )
    assert (median.max(axis=0) < 3 * median.min(axis=0)).all() and len(np.unique(median[:, 0])) == len(
        ground_motion.MODELS
    )


def test_distance_of_a_point_source():
    assert ground_motion.joyner_boore(50.0, 30.0) == pytest.approx(40.0)
    assert ground_motion.joyner_boore(5.0, 10.0) == 0.0  # a depth larger than the distance is a rounding of the tables


def test_unknown_model():
    with pytest.raises(ValueError, match="BSSA14, ASK14, CB14, CY14, ASB14"):
        ground_motion.prediction("BSSA15", 7.0, 30.0, 400.0, PERIODS_IN_S)
