"""The authors' published arrays: the scores that they give, what is drawn of them, and what bad files are told."""

import json

import numpy as np
import pytest
from conftest import shared

from tsgen import findings, published

SCORES = {  # oracles of these arrays
    ("training", "S × S, with themselves"): 0.9670,
    ("reconstructed-timesnet", "2S × 2S"): 0.9523,
    ("reconstructed-cvae", "2S × 2S"): 0.8223,
    ("reconstructed-timesnet", "S × S"): 0.947,
    ("reconstructed-cvae", "S × S"): 0.668,
}


def test_the_command_scores_and_draws_them(tmp_path, capsys):
    assert published.main([str(shared("published")), "--out", str(tmp_path)]) == 0
    assert "0.952" in capsys.readouterr().out
    rows = json.loads((tmp_path / "published.json").read_text())["findings"]
    for (subject, statistic), score in SCORES.items():
        assert findings.one(rows, subject=subject, statistic=statistic)["value"] == pytest.approx(score, abs=5e-4)
    halves = findings.one(rows, statistic="S × S, halves")
    assert halves["low"] < halves["value"] == pytest.approx(0.938, abs=0.004) and halves["high"] < 0.96
    assert all((tmp_path / name).stat().st_size > 20_000 for name in ("f0.png", "hvsr.png"))


def test_a_folder_that_is_not_theirs_gets_one_sentence(tmp_path, capsys):
    assert published.main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    np.savez(tmp_path / "hvsr_f0_station_0205.npz", f0_real=np.ones(3))
    assert published.main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    nothing, other = capsys.readouterr().err.splitlines()
    assert "fewer than two files hvsr_f0_station_*.npz" in nothing
    assert "hvsr_f0_station_0205.npz" in other and "f0_timesnet" in other
    assert not (tmp_path / "out").exists()
