"""CHAIN.md, the page on what happens to a record, says the numbers that the settings have."""

import re

import pytest
from conftest import ROOT

from tsgen import config, dataset, hvsr, records
from tsgen.formats import recording, via_obspy

WINDOW, QUALITY, HVSR = config.WindowSettings(), config.QualitySettings(), config.HVSRSettings()
ONSET = WINDOW.onset
LOW, HIGH = via_obspy.TAPER_IN_RATES
SAID = [
    f"PEER's g is {recording.GRAVITY_IN_CM_S2} cm/s²",
    f"flat up to {LOW:g} of the sampling rate and zero from {HIGH:g}",
    f"zero below {via_obspy.SLOWEST_IN_HZ:g} Hz",
    f"rates outside {recording.LOWEST_RATE_IN_HZ:g} to {recording.HIGHEST_RATE_IN_HZ:.0f} Hz",
    f"more than {recording.LONGEST_IN_S / 3600:g} hours",
    f"peaks above {recording.HIGHEST_PEAK_IN_CM_S2:g} cm/s²",
    f"*weak*: peak below {QUALITY.lowest_peak_in_cm_s2:g} cm/s²; *too short*: below {QUALITY.shortest_in_s:g} s",
    f"*impossible*: peak above {QUALITY.highest_peak_in_cm_s2:g} cm/s²",
    f"at least {QUALITY.clipped_samples} samples at one extreme value",
    f"does not move for {QUALITY.dead_in_s:g} s",
    f"{QUALITY.spike_ratio:g} times as far",
    f"the first {QUALITY.drift_window_in_s:g} s",
    f"exceeds {QUALITY.drift_share:.0%} of the peak".replace("%", " %"),
    f"differ by more than {100 * via_obspy.LARGEST_GAIN_DIFFERENCE:g} %",
    f"within {100 * QUALITY.duplicate_peak_difference:g} %",
    f"a correlation of {QUALITY.duplicate_correlation:g}",
    f"starts {WINDOW.before_p_in_s:g} s before an onset",
    f"high-passed at {ONSET.high_pass_in_hz:g} Hz for this alone",
    f"rises {ONSET.least_rise:g}-fold, {ONSET.quiet_in_s:g} s of quiet",
    f"reaches {ONSET.least_share:g} of what follows",
    f"more than {ONSET.loudest_in_cm_s2:g} cm/s² RMS that is also more than {ONSET.loudest_share:g} of the peak",
    f"below {ONSET.quietest_in_cm_s2:g} cm/s² is padding",
    f"less than {100 * WINDOW.least_energy_share:g} % of the energy",
    f"`{100 * WINDOW.arias_onset_share:g} % of Arias intensity`",
    f"tapered over {WINDOW.taper_in_s:g} s",
    f"the fullest, at most {dataset.N_TARGETS}: those with at least {dataset.FEWEST_EVENTS} events",
    f"those with at least {dataset.FEWEST_TO_SPLIT}, else any",
    f"within {records.SAME_EVENT_IN_S:g} s of each other",
    f"high-pass at {HVSR.high_pass_in_hz:g} Hz",
    f"with {HVSR.padding_in_s:g} s of zeros a side",
    f"b = {HVSR.bandwidth:g}, at {HVSR.n_frequencies} frequencies",
    f"from {HVSR.lowest_in_hz:g} to {HVSR.highest_in_hz:g} Hz",
]


@pytest.mark.parametrize("said", SAID)
def test_the_page_on_the_chain_has_the_settings_numbers(said):
    page = re.sub(r"\s+", " ", (ROOT / "CHAIN.md").read_text())
    assert said in page


def test_the_words_on_the_page_are_the_settings_too():
    """What the page says in words and not in figures."""
    assert QUALITY.clipped_share == 0.5 and QUALITY.spike_share == 0.2  # "half or more", "a fifth of the peak"
    assert HVSR.high_pass_order == 2 and hvsr.DEFAULT == HVSR
    assert "(CHAIN.md)" in (ROOT / "README.md").read_text()
