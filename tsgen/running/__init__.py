"""The machinery of runs: the pins, run_all.sh's words, the notebooks' execution, the page."""
