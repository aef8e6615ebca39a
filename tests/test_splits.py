"""Splits: each text holds out what it says, an event never stands on both sides but where that is the fault."""

import numpy as np
import pandas as pd
import pytest
from test_records import made

from tsgen import dataset
from tsgen.records import event_groups

SHARE, SEED = 0.3, 0


@pytest.fixture(scope="module")
def records():
    return made(n=120, t=8, stations=4)  # each event at four stations


def held_out(records, split, stations=("TK.0000", "TK.0001")):
    return dataset.held_out_rows(records, list(stations), split, SHARE, SEED)


def sides(records, split):
    out = held_out(records, split)
    return set(records.table["event"][out]), set(records.table["event"][~out])


@pytest.mark.parametrize("split", ["events", "seed 7", "fold 2 of 5", "without E003"])
def test_an_event_stands_on_one_side_at_every_station(records, split):
    out, inside = sides(records, split)
    assert out and inside and not out & inside


def test_events_is_the_split_of_records(records):
    """The contract: ``Records.split`` and a study's default hold out the same."""
    own = records.select(station=["TK.0000", "TK.0001"])
    training, kept = own.split(held_out=SHARE, seed=SEED)
    out = dataset.held_out_rows(own, own.stations, "events", SHARE, SEED)
    pd.testing.assert_frame_equal(own.take(out).table, kept.table)
    pd.testing.assert_frame_equal(own.take(~out).table, training.table)
    assert 0.25 < out.mean() < 0.4


def test_other_seeds_are_other_splits(records):
    drawn = [frozenset(sides(records, f"seed {seed}")[0]) for seed in range(4)]
    assert len({*drawn, frozenset(sides(records, "events")[0])}) == 5


def test_folds_hold_out_every_event_once_and_spread_each_station(records):
    table = records.table
    folds = [held_out(records, f"fold {fold} of 5") for fold in range(5)]
    np.testing.assert_array_equal(np.sum(folds, axis=0), 1)
    at_target = table["station"].isin(["TK.0000", "TK.0001"]).to_numpy()
    for station in ("TK.0000", "TK.0001"):
        counts = [int((fold & at_target & (table["station"] == station)).sum()) for fold in folds]
        assert sum(counts) == 30 and max(counts) - min(counts) <= 1


def test_folds_of_a_study_hold_out_every_target_event_once(study):
    groups, outside = event_groups(study.targets.table), []
    for fold in range(dataset.FOLDS):
        part = study.with_split(f"fold {fold} of {dataset.FOLDS}")
        assert part.folder.parent == study.folder.parent and part.folder != study.folder
        assert part.stage("records").key == study.stage("records").key
        assert part.stage("model", "timesnet").key != study.stage("model", "timesnet").key
        seen = set(part.training.table["event"]) | set(part.background.table["event"])
        assert not seen & set(part.held_out.table["event"])
        outside += list(part.held_out.table["station"] + part.held_out.table["event"])
    assert sorted(outside) == sorted(study.targets.table["station"] + study.targets.table["event"])
    assert len(groups) == len(outside)


def test_folds_are_the_same_whatever_the_order_of_the_table(records):
    event, station = event_groups(records.table), records.table["station"]
    order = np.random.default_rng(0).permutation(len(event))
    assert dataset.folds(event, station) == dataset.folds(event.iloc[order], station.iloc[order])
    assert dataset.folds(event, station, seed=1) != dataset.folds(event, station)


def test_records_puts_events_on_both_sides_and_holds_out_as_many(records):
    out, inside = sides(records, "records")
    assert len(out & inside) > len(out) / 2
    table = records.table
    singly, by_event = held_out(records, "records"), held_out(records, "events")
    assert not singly[~table["station"].isin(["TK.0000", "TK.0001"])].any()
    for station in ("TK.0000", "TK.0001"):
        own = (table["station"] == station).to_numpy()
        assert singly[own].sum() == by_event[own].sum() > 0


def test_without_holds_out_one_event_and_its_second_id(records):
    assert sides(records, "without E003")[0] == {"E003"}
    start = records.table["start_time"].where(records.table["event"] != "E004", "2020-01-01T03:00:30")
    twice = records.with_columns(start_time=start)  # half a minute after E003: one event
    assert sides(twice, "without E003")[0] == {"E003", "E004"}
    with pytest.raises(ValueError, match="no record of event E999"):
        held_out(records, "without E999")


@pytest.mark.parametrize("text", ["", "folds", "fold 1", "seed x", "fold -1 of 5", "Events"])
def test_another_text_is_refused_with_what_there_is(records, text):
    with pytest.raises(ValueError, match=r"unknown split .*: events, seed N, fold I of N, without EVENT, or records"):
        held_out(records, text)


@pytest.mark.parametrize("text", ["fold 5 of 5", "fold 0 of 0", "fold 6 of 5"])
def test_a_fold_that_is_not_there_is_refused(records, text):
    with pytest.raises(ValueError, match="fold"):
        held_out(records, text)
