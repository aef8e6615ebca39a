"""Selection: the target's mean and spread are met, the search nears brute force, wrong input ends in one sentence."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from tsgen import config, select, simulate
from tsgen.measures import PERIODS_IN_S
from tsgen.select import Target

SMOKE = config.profile("smoke")


@pytest.fixture(scope="module")
def pool():
    """ln spectra of 500 records of a model's law for M 6 at 30 km, a little stronger and rougher than it."""
    law = select.of_model(6.0, 30.0, 400.0)
    return np.random.default_rng(0).multivariate_normal(law.mean + 0.2, 1.3 * law.covariance, 500)


def test_correlations_are_the_published_ones():
    """Baker and Jayaram 2008: 1 on the diagonal, and values computed by hand in each branch of the formula."""
    found = select.correlation(np.array([0.05, 0.1, 0.15, 0.5, 2.0]))
    assert np.allclose(found, found.T) and np.allclose(np.diag(found), 1)
    assert found[3, 4] == pytest.approx(1 - np.cos(np.pi / 2 - 0.366 * np.log(4.0)))  # both above 0.109 s
    assert found[0, 1] == pytest.approx(1 - 0.105 * (1 - 1 / (1 + np.exp(5))) * 0.05 / 0.0901)  # both below
    assert np.linalg.eigvalsh(select.correlation(PERIODS_IN_S)).min() > -1e-9


def test_mean_and_spread_meet_twenty_random_targets(pool):
    """The mean within 5 % and the spread within 10 % at every period."""
    rng = np.random.default_rng(1)
    for seed in range(20):
        target = select.of_model(rng.uniform(5.6, 6.4), rng.uniform(20, 45), rng.uniform(300, 600))
        rows, scales = select.choose(pool, target, 30, seed=seed)
        scaled = pool[rows] + np.log(scales)[:, None]
        assert np.abs(np.expm1(scaled.mean(axis=0) - target.mean)).max() < 0.05
        assert np.abs(scaled.std(axis=0, ddof=1) / target.std - 1).max() < 0.1
        assert len(set(rows)) == 30 and scales.min() > 0.2499 and scales.max() < 4.0001


def test_drawn_at_random_the_records_miss_it(pool):
    target = select.of_model(6.0, 30.0, 400.0)
    drawn = pool[np.random.default_rng(2).choice(500, 30, replace=False)]
    assert np.abs(np.expm1(drawn.mean(axis=0) - target.mean)).max() > 0.1


def test_conditional_on_a_period_every_record_has_its_value(pool):
    k = 10
    whole = select.of_model(6.0, 30.0, 400.0)
    target = whole.given(k, epsilon=1.5)
    assert target.mean[k] == pytest.approx(whole.mean[k] + 1.5 * whole.std[k])
    assert target.std[k] == pytest.approx(0, abs=1e-7) and (target.std <= whole.std + 1e-12).all()
    rows, scales = select.choose(pool, target, 20, 4.0, k)
    scaled = pool[rows] + np.log(scales)[:, None]
    assert np.allclose(scaled[:, k], target.mean[k])
    assert np.abs(np.expm1(scaled.mean(axis=0) - target.mean)).max() < 0.05
    assert np.abs(scaled.std(axis=0, ddof=1) - target.std).max() < 0.1


def test_the_search_comes_near_brute_force():
    """Of 12 records all 220 choices of 3: in 10 cases the search is never far off the best, mostly at it."""
    rng, ratios = np.random.default_rng(3), []
    for seed in range(10):
        spectra = rng.normal(size=(12, 4))
        target = Target(np.array([0.1, 0.3, 1.0, 2.0]), 0.3 * rng.normal(size=4), 0.5 * np.eye(4))

        def misfit(rows, spectra=spectra, target=target):
            return select.misfits(spectra[list(rows[:-1])], spectra[[rows[-1]]], target)[0]

        best = min(misfit(rows) for rows in combinations(range(12), 3))
        rows, scales = select.choose(spectra, target, 3, highest_scale=1.0, seed=seed)
        assert np.allclose(scales, 1)
        ratios.append(misfit(rows) / best)
    assert np.median(ratios) < 1.05 and max(ratios) < 2


def test_misfits_are_those_of_the_definition():
    rng = np.random.default_rng(4)
    rest, added = rng.normal(size=(4, 3)), rng.normal(size=(2, 3))
    target = Target(np.array([0.1, 0.2, 0.3]), np.zeros(3), np.eye(3))
    for found, each in zip(select.misfits(rest, added, target), added, strict=True):
        whole = np.vstack([rest, each])
        assert found == pytest.approx((whole.mean(0) ** 2).sum() + ((whole.std(0, ddof=1) - 1) ** 2).sum())


# ---- the command ----


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """40 simulated records in the SeisBench layout, half of them called generated."""
    n = 40
    rng = np.random.default_rng(5)
    some = simulate.fresh(SMOKE.simulation, ["SIM.01"] * n, rng.uniform(5, 6, n), rng.uniform(15, 50, n))
    kinds = np.where(np.arange(n) < n // 2, "simulated", "generated")
    path = tmp_path_factory.mktemp("suite") / "records"
    some.with_columns(kind=kinds, event=[f"e{i}" for i in range(n)]).save(path)
    return path


def test_the_command_leaves_table_picture_and_records(folder, tmp_path, capsys):
    given = [str(folder), "--profile", "smoke", "--out", str(tmp_path / "out"), "-n", "8"]
    assert select.main([*given, "--magnitude", "5.5", "--distance", "30"]) == 0
    told = capsys.readouterr().out
    chosen = pd.read_csv(tmp_path / "out" / "selected.csv")
    assert len(chosen) == 8 and chosen["scale"].between(0.249, 4.01).all() and chosen["event"].is_unique
    assert "mean within" in told and "not for design without review" in told
    assert (tmp_path / "out" / "selected.png").stat().st_size > 10_000
    again = select.main([*given, "--magnitude", "5.5", "--distance", "30", "--period", "0.3", "--epsilon", "1"])
    assert again == 0


def test_a_target_file_serves_and_wrong_input_ends_in_one_sentence(folder, tmp_path, capsys):
    law = select.of_model(5.5, 30.0, 400.0)
    table = pd.DataFrame({"period_in_s": PERIODS_IN_S, "ln_mean": law.mean, "ln_std": law.std})
    table.to_csv(tmp_path / "target.csv", index=False)
    table.drop(columns="ln_std").to_csv(tmp_path / "other.csv", index=False)
    given = [str(folder), "--profile", "smoke", "--out", str(tmp_path / "out")]
    assert select.main([*given, "--target", str(tmp_path / "target.csv"), "-n", "6"]) == 0
    capsys.readouterr()
    for more, words in {
        (): "give --magnitude and --distance, or a --target file",
        ("--target", str(tmp_path / "other.csv")): "period_in_s, ln_mean and ln_std",
        ("--target", str(tmp_path / "none.csv")): "none.csv",
        ("--magnitude", "5.5", "--distance", "30", "-n", "50"): "40 of 40 records can be scaled",
        ("--magnitude", "5.5", "--distance", "30", "-n", "1"): "-n must be 2 or more",
    }.items():
        assert select.main([*given, *more]) == 2
        err = capsys.readouterr().err
        assert words in err and len(err.strip().splitlines()) == 1
    with pytest.raises(SystemExit, match="2"):
        select.main([*given, "--mean", "1"])
    assert (
        capsys.readouterr().err
        == "unrecognized arguments: --mean 1; python -m tsgen.select --help lists what there is\n"
    )
    with pytest.raises(ValueError, match="widen --scale"):
        select.choose(np.full((5, 20), 9.0), law, 3, 1.1, 0)
