"""Similarity, matrices and scores against published values, SciPy, and laws whose answer is known."""

import numpy as np
import pandas as pd
import pytest
from conftest import shared
from scipy.spatial.distance import jensenshannon

from tsgen.config import F0Settings
from tsgen.evidence import scores
from tsgen.findings import Sample, event_weights, interval
from tsgen.metrics import (
    ceiling,
    chance,
    drawn_matrices,
    drawn_scores,
    energy_distance,
    f0_by_station,
    f0_histogram,
    js_similarity,
    off_diagonal,
    s_by_s,
    station_matrix,
    station_score,
)

CODES = ("0205", "1716", "2020", "3130", "4628")


@pytest.fixture(scope="module")
def published():
    """{source: {station: f0}} of the authors, stations in code order."""
    files = {code: np.load(shared(f"published/hvsr_f0_station_{code}.npz")) for code in CODES}
    return {name: {code: files[code][f"f0_{name}"] for code in CODES} for name in ("real", "timesnet", "vae")}


def stations_with(medians, n=60, ln_std=0.15, seed=0):
    rng = np.random.default_rng(seed)
    return {f"SIM.{i:02}": median * np.exp(ln_std * rng.standard_normal(n)) for i, median in enumerate(medians)}


APART = (2.6, 6.4, 5.1, 12.8, 1.8)
ALIKE = (5.0,) * 5


@pytest.mark.parametrize(
    "sources, score", [(["real"], 0.9670), (["real", "timesnet"], 0.9523), (["real", "vae"], 0.8223)]
)
def test_published_interleaved_scores(published, sources, score):
    frame = station_matrix(published, rows=sources, columns=sources)
    assert frame.shape == (5 * len(sources),) * 2
    assert round(station_score(frame), 4) == score


@pytest.mark.parametrize("source, score", [("timesnet", 0.947), ("vae", 0.668)])
def test_published_scores_of_real_against_reconstructed(published, source, score):
    assert round(station_score(station_matrix(published, rows="real", columns=source)), 3) == score


def test_published_ceiling_chance_and_difficulty(published):
    halves = ceiling(published["real"])
    assert (halves.value, halves.low, halves.high) == pytest.approx((0.938, 0.924, 0.948), abs=0.004)
    permuted = chance(published["real"], published["real"])
    assert permuted.value == pytest.approx(0.0, abs=0.03)
    assert (permuted.low, permuted.high) == pytest.approx((-0.18, 0.19), abs=0.03)
    assert halves.n == permuted.n == 200
    assert off_diagonal(station_matrix(published, "real", "real")) == pytest.approx(0.082, abs=0.0005)


def test_histograms_are_the_published_ones(published):
    """All but one: the stored histogram of 3130's reconstructions has 2 of 72 values in another bin than its f0."""
    different = []
    for code in CODES:
        stored = np.load(shared(f"published/hvsr_f0_station_{code}.npz"))
        for name, values in published.items():
            off = np.abs(f0_histogram(values[code]) - stored[f"pdf_{name}"]).max()
            if off > 1e-6:
                different.append((code, name, round(off * len(values[code]))))
    assert different == [("3130", "timesnet", 2)]


def test_histogram_counts_what_lies_in_its_bins():
    shares = f0_histogram([1.0, 1.5, 20.0, np.nan, 25.0, 0.2])
    assert shares.shape == (20,) and shares.sum() == pytest.approx(1)
    np.testing.assert_allclose(shares[[0, 19]], [2 / 3, 1 / 3])
    assert np.isnan(f0_histogram([np.nan, np.nan])).all() and np.isnan(f0_histogram([])).all()
    assert f0_histogram([3.0], F0Settings(n_bins=7)).shape == (7,)


def test_similarity_is_one_less_scipys_distance():
    p, q = np.random.default_rng(0).dirichlet(np.ones(20), size=(2, 50))
    p[:, :5] = 0
    expected = [1 - jensenshannon(a + 1e-10, b + 1e-10, base=2) for a, b in zip(p, q, strict=True)]
    np.testing.assert_allclose(js_similarity(p, q), expected, rtol=1e-9)
    np.testing.assert_array_equal(js_similarity(p, q), js_similarity(q, p))
    assert js_similarity(p[0], p[0]) == 1
    apart = js_similarity(np.eye(20)[3], np.eye(20)[4])
    assert 0 <= apart < 1e-6
    assert np.isnan(js_similarity(p[0], np.full(20, np.nan)))


def test_matrix_is_labelled_in_the_order_given():
    groups = {"real": stations_with(APART), "generated": stations_with(APART, seed=1)}
    stations = list(groups["real"])
    frame = station_matrix(groups)
    assert list(frame.index) == [(station, source) for station in stations for source in ("real", "generated")]
    assert list(frame.columns) == list(frame.index)
    assert frame.index.names == ["station", "source"]
    np.testing.assert_allclose(frame, frame.T)
    np.testing.assert_array_equal(np.diag(frame), 1)
    backwards = {source: dict(reversed(values.items())) for source, values in groups.items()}
    assert list(station_matrix(backwards, "real", "real").index.get_level_values("station")) == stations[::-1]
    swapped = station_matrix(groups, rows=["generated", "real"], columns="real")
    assert list(swapped.index[:2]) == [(stations[0], "generated"), (stations[0], "real")]
    cell = frame.loc[(stations[1], "real"), (stations[2], "generated")]
    expected = js_similarity(*(f0_histogram(groups[s][stations[i]]) for s, i in (("real", 1), ("generated", 2))))
    assert cell == expected
    assert station_matrix(groups, "real", "generated").loc[(stations[1], "real"), (stations[2], "generated")] == cell


def test_matrix_refuses_unknown_sources_and_unequal_stations():
    groups = {"real": stations_with(APART)}
    with pytest.raises(ValueError, match="unknown source 'fake'; known: real"):
        station_matrix(groups, columns="fake")
    with pytest.raises(ValueError, match="'few' has stations"):
        station_matrix(groups | {"few": stations_with(APART[:3])})


def test_ideal_scores_one_and_inverted_less_than_zero():
    apart = {f"S{i}": np.full(10, 1.5 + i) for i in range(5)}
    assert station_score(station_matrix({"real": apart, "generated": apart})) == pytest.approx(1, abs=1e-6)
    shifted = {f"S{i}": np.full(10, 1.5 + (i + 1) % 5) for i in range(5)}
    frame = station_matrix({"real": apart, "wrong": shifted}, "real", "wrong")
    assert station_score(frame) == pytest.approx(-0.25, abs=1e-6)  # Pearson of a shifted permutation matrix, S = 5
    assert station_score(frame * 0.3 + 0.1) == pytest.approx(-0.25, abs=1e-6)


def test_score_needs_two_stations_and_f0():
    one = {"real": {"A": np.array([2.0, 3.0])}}
    with pytest.raises(ValueError, match="two stations"):
        station_score(station_matrix(one))
    with pytest.raises(ValueError, match="two stations"):
        ceiling(one["real"])
    none_left = {"A": np.array([2.0, 3.0]), "B": np.array([np.nan])}
    assert np.isnan(station_score(station_matrix({"real": none_left})))
    same = {"A": np.array([2.0, 3.0]), "B": np.array([2.0, 3.0])}
    assert np.isnan(station_score(station_matrix({"real": same})))


def test_interleaved_score_flatters_stations_that_are_alike():
    """The trap: each distribution meets itself, so five stations of one law score 0.96, or 0.6 beside a second sample
    of it. S x S has no such cells and gives 0."""
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(30):
        first, second = ({f"S{i}": rng.uniform(1, 20, 60) for i in range(5)} for _ in range(2))
        groups = {"first": first, "second": second}
        frames = (station_matrix({"first": first}), station_matrix(groups), station_matrix(groups, "first", "second"))
        scores.append([station_score(frame) for frame in frames])
    interleaved_once, interleaved_twice, across = np.mean(scores, axis=0)
    assert interleaved_once == pytest.approx(0.96, abs=0.015)
    assert interleaved_twice == pytest.approx(0.6, abs=0.04)
    assert abs(across) < 0.1


def test_ceiling_falls_with_the_sample_size_and_repeats_with_the_seed():
    real = stations_with(APART, n=80)
    few, many = ceiling({name: values[:12] for name, values in real.items()}), ceiling(real)
    assert few.value < many.value - 0.02
    assert few.high - few.low > 1.5 * (many.high - many.low)
    assert many == ceiling(real) != ceiling(real, seed=1)
    assert many.low < many.value < many.high and many.n == 200


class Judged:
    """What scores._recordings_drawn asks of a study."""

    seed = 0

    def __init__(self, stations, n_generated):
        self.stations, self.settings = stations, self
        self.n_generated, self.f0 = n_generated, F0Settings()


def test_recordings_as_if_generated_score_as_the_same_law_does():
    """In distribution what a generator would score that drew from the training recordings' own law."""
    training, held_out = stations_with(APART, n=42), stations_with(APART, n=18, seed=1)

    def judged(training, size):
        study = Judged(list(training), size)
        plain, again = scores._recordings_drawn(study, as_sample(held_out, "h"), as_sample(training, "t"))
        return interval(again, float(np.median(plain)), centred=True)

    natural = judged(training, 500)
    assert natural.value == pytest.approx(s_by_s(held_out, training), abs=0.01)
    assert natural.low < natural.value < natural.high
    assert judged(training, 6).value < natural.value
    assert judged(stations_with(APART[::-1], n=42), 500).high < natural.low


def test_chance_is_zero_whatever_the_stations():
    for medians in (APART, ALIKE):
        real, generated = stations_with(medians), stations_with(medians, n=50, seed=1)
        level = chance(real, generated)
        assert abs(level.value) < 0.06
        assert level.low < -0.1 and level.high > 0.1
    unequal = {name: values[: 10 + 5 * i] for i, (name, values) in enumerate(generated.items())}
    assert chance(real, unequal).n == 200


def as_sample(groups, name, event=None):
    """Sample of {station: f0}; each value an event of its own, or events as given for each station."""
    values, station = np.concatenate(list(groups.values())), np.repeat(list(groups), [len(v) for v in groups.values()])
    places = np.arange(len(values)) if event is None else np.concatenate([event] * len(groups))
    return Sample(values, np.array([f"{name}{i}" for i in places], object), station.astype(object))


def score_interval(real, generated, n_draws=200, event=None):
    sides = as_sample(real, "r", event), as_sample(generated, "g", event)
    weights = event_weights(*sides, n_draws=n_draws, seed=0)
    return interval(drawn_scores(*sides, weights, list(real)), centred=True)


def test_interval_holds_the_score_and_shrinks_with_records():
    widths = []
    for n in (20, 180):
        real, generated = stations_with(APART, n=n), stations_with(APART, n=n, seed=1)
        estimate = score_interval(real, generated)
        assert estimate.value == pytest.approx(s_by_s(real, generated), abs=1e-12)
        assert estimate.low < estimate.value < estimate.high
        widths.append(estimate.high - estimate.low)
    assert 1.5 < widths[0] / widths[1] < 6


def test_interval_covers_the_median_score_of_new_samples():
    """Of 40 pairs of new samples, the 90 % interval misses the law's median score in few."""
    pairs = [(stations_with(APART, 30, seed=2 * i), stations_with(APART, 30, seed=2 * i + 1)) for i in range(40)]
    estimates = [score_interval(*pair, n_draws=60) for pair in pairs]
    truth = np.median([estimate.value for estimate in estimates])
    covered = np.mean([estimate.low <= truth <= estimate.high for estimate in estimates])
    assert 0.75 <= covered <= 1.0


def test_interval_draws_events_and_not_records():
    """Each record four times under one event id says no more than once: treated as independent it would."""
    real, generated = stations_with(APART, n=20), stations_with(APART, n=20, seed=1)
    four = [{name: np.repeat(values, 4) for name, values in side.items()} for side in (real, generated)]
    once = score_interval(real, generated, event=np.arange(20))
    clustered = score_interval(*four, event=np.repeat(np.arange(20), 4))
    naive = score_interval(*four)
    assert (clustered.value, clustered.low, clustered.high) == pytest.approx((once.value, once.low, once.high))
    assert (naive.high - naive.low) < 0.7 * (once.high - once.low)


def test_drawn_scores_are_those_of_repeated_records():
    """Weights against np.repeat and the plain matrix: f0 on an edge, the last edge, outside, a station that is left."""
    rng = np.random.default_rng(0)
    groups = [stations_with(APART, n=15, seed=seed) for seed in (0, 1)]
    groups[0]["SIM.00"][:4] = [1.0, 20.0, 20.5, 0.5]
    groups[1]["SIM.01"][:2] = [20.0, 10.5]
    sides = [as_sample(group, name) for group, name in zip(groups, "rg", strict=True)]
    weights = [rng.integers(0, 4, (12, 75)) for _ in sides]
    weights[0][3, sides[0].station == "SIM.02"] = 0
    stations = list(groups[0])
    found = drawn_scores(*sides, weights, stations)
    cells = drawn_matrices(*sides, weights, stations)
    for i in range(12):
        repeated = [
            f0_by_station({"station": np.repeat(s.station, w[i])}, np.repeat(s.values, w[i]), stations)
            for s, w in zip(sides, weights, strict=True)
        ]
        frame = station_matrix(dict(zip(("real", "generated"), repeated, strict=True)), "real", "generated")
        np.testing.assert_allclose(cells[i], frame, atol=1e-12)
        assert found[i] == pytest.approx(station_score(frame), abs=1e-12, nan_ok=True)
    assert np.isnan(found[3]) and np.isfinite(np.delete(found, 3)).all()


def test_f0_by_station_follows_the_table():
    table = pd.DataFrame({"station": ["B.1", "A.1", "B.1"]})
    groups = f0_by_station(table, [2.0, 3.0, np.nan])
    assert list(groups) == ["A.1", "B.1"]
    np.testing.assert_array_equal(groups["B.1"], [2.0, np.nan])
    assert list(f0_by_station(table, [1.0, 2.0, 3.0], ["B.1"])) == ["B.1"]


def test_energy_distance_of_one_law_is_0_in_the_mean_and_sees_a_shift():
    rng = np.random.default_rng(0)
    same = [energy_distance(*rng.normal(size=(2, 30, 3))) for _ in range(400)]
    assert abs(np.mean(same)) < 3 * np.std(same) / 20 and np.std(same) > 0.01
    assert energy_distance(rng.normal(size=(30, 3)), 1 + rng.normal(size=(30, 3))) > 5 * np.std(same)


def test_energy_distance_by_hand_and_with_weights():
    x, y = np.array([[0.0], [1.0]]), np.array([[0.0], [3.0], [3.0]])
    pairs = np.mean([0, 3, 3, 1, 2, 2])
    assert energy_distance(x, y) == pytest.approx(2 * pairs - 1 - 2)  # E|x−x'| 1, E|y−y'| (0 + 3 + 3) / 3
    assert energy_distance(x, np.append(y, [[9.0]], 0), y_weights=[1, 1, 1, 0]) == pytest.approx(2 * pairs - 3)
