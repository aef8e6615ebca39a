"""Copies the quick default run to where it is committed: notebooks/, figures/, results/ and the README's tables, of
which no number is typed by hand. Nothing else writes there. ``./run_all.sh publish`` calls it. A run that is
incomplete, or made by other code than what stands now, is refused."""

import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
import pandas as pd

from tsgen import findings
from tsgen.evidence.distances import COMPARED, DISTANCE, RIVALS
from tsgen.experiments import N_SPLITS
from tsgen.features import FEATURES
from tsgen.roles import described, label
from tsgen.running import front
from tsgen.running.environment import ROOT, choose
from tsgen.running.runner import code_key
from tsgen.study import Study

AGAIN = "`./run_all.sh quick` makes it anew"
MARKS = "<!-- results: written by ./run_all.sh publish from results/quick.json -->", "<!-- end of results -->"
SHOWN = ("training", "timesnet", "cvae", "cgm", "evolve", "control_average", "control_bootstrap", "control_renoised")
SHOWN += ("control_shift", "control_regression", "control_stochastic", "control_phase", "control_other")
YARDSTICK = RIVALS[0]
SCENARIO = {
    "ln PGA, bias": ("pga", "median"),
    "ln PGA, spread": ("pga", "spread"),
    "ln D5-95, bias": ("d5_95", "median"),
    "PSA, bias at the farthest of 20 periods": ("psa", "median, farthest"),
    "PSA, spread at the farthest of 20 periods": ("psa", "spread, farthest"),
    "PGA, trend of the bias per magnitude unit": ("pga", "slope_magnitude"),
    "PGA, trend of the bias per unit of ln distance": ("pga", "slope_ln_distance"),
}


class NotPublishable(ValueError):
    """The run is missing, incomplete, made by other code, or names the machine it was made on."""


def cleaned(notebook):
    """The executed ``notebook`` as it is committed: without timings, papermill's notes and the kernel's version."""
    for cell in notebook.cells:
        for note in ("papermill", "execution", *(() if cell.metadata.get("tags") else ("tags",))):  # or empty tags
            cell.metadata.pop(note, None)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": "python"}})
    return notebook


def sources(notebook):
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def check_paths(text, name, root=ROOT):
    for folder in (root, root.parent, Path.home(), Path(tempfile.gettempdir())):
        if f"{folder}/" in text:
            raise NotPublishable(f"{name} names {folder}/, a folder of this machine: print names, not paths")


def publish(run, root=ROOT):
    """Copy the run in folder ``run`` into the project at ``root``; returns the paths written."""
    if not (run / "index.html").exists() or not (run / "results.json").exists():
        raise NotPublishable(f"no complete quick run in {run.parent}: {AGAIN}")
    done = json.loads((run / "run.json").read_text())
    texts, key = {}, code_key()
    for path in choose(None, root / "notebooks"):
        name = path.stem
        if (entry := done.get(name, {})).get("code") != key:
            why = "failed" if "error" in entry else "was not run since the package changed"
            raise NotPublishable(f"{name} {why}; {AGAIN}")
        executed = nbformat.read(run / "notebooks" / path.name, as_version=4)
        if sources(executed) != sources(nbformat.read(path, as_version=4)):
            raise NotPublishable(f"{name}: the notebook has changed since the run, or ran with parameters; {AGAIN}")
        counts = [cell.execution_count for cell in executed.cells if cell.cell_type == "code"]
        if counts != list(range(1, len(counts) + 1)):
            raise NotPublishable(f"{name}: its execution counts are {counts}; {AGAIN}")
        outputs = [output for cell in executed.cells for output in cell.get("outputs", ())]
        if any(output.get("name") == "stderr" for output in outputs):  # a warning, or the store on what it built anew
            raise NotPublishable(f"{name} wrote to stderr, which another run would not: `./run_all.sh quick --fresh`")
        texts[path] = nbformat.writes(cleaned(executed)) + "\n"
    texts[root / "results" / "quick.json"] = results = (run / "results.json").read_text()
    if (root / "README.md").exists():
        texts[root / "README.md"] = readme(root, json.loads(results))
    for path, content in texts.items():
        check_paths(content, path.name, root)
    for path, content in texts.items():  # only now, so that a refusal leaves all as it was
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    (root / "figures").mkdir(exist_ok=True)
    for old in (root / "figures").glob("*.png"):
        old.unlink()
    return [*texts, *(Path(shutil.copy(path, root / "figures")) for path in sorted((run / "figures").glob("*.png")))]


# ---- the README's tables ----


def cell(rows, **where):
    """Text of the one finding that is meant, "" where there is none."""
    chosen = findings.select(rows, **where)
    return findings.text(chosen.iloc[0]) if len(chosen) == 1 else ""


def markdown(head, rows):
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def distance_table(rows):
    """Energy distances to held-out recordings by generator, "=" where one law gives as much; the paper's score."""
    table = front.table(rows).set_index("generated by")
    names = [described(name) for name in SHOWN if described(name) in table.index]  # a stored run may lack one
    table = table.reindex(names, columns=[*FEATURES, "the paper's S × S"], fill_value="").fillna("").reset_index()
    return markdown(table.columns, table.to_numpy())


def beaten(rows):
    """Sentences: on which measures each model is nearer to held-out recordings than the YARDSTICK, or farther."""
    pairs, lines = findings.select(rows, against=YARDSTICK, statistic=DISTANCE, protocol="held_out"), []
    for name in COMPARED:
        own = findings.select(pairs, subject=name, measure=tuple(FEATURES))
        if not len(own):
            continue
        said = []
        for word, part in {"nearer": own[own["high"] < 0], "farther": own[own["low"] > 0]}.items():
            by = ", ".join(f"{row['measure']} by {findings.text(row)}" for row in part.to_dict("records"))
            said += [f"{word} on {by}"] if by else []
        line = f"{described(name)} is {'; '.join(said) or 'neither nearer nor farther on any'}"
        lines.append(line[0].upper() + line[1:] if lines else line)
    if not lines:
        return ""
    none = not len(pairs[(pairs["high"] < 0) & pairs["subject"].isin(COMPARED)])
    head = f"Paired with the {described(YARDSTICK).removeprefix('control: ')}, a law fitted in a second"
    end = " **No model is nearer to the recordings than that law, on any of the four.**" if none else ""
    return f"{head}: {'. '.join(lines)}.{end}"


def scenario_table(rows):
    """CGM-GM against fresh truth, and what the recordings that it learned from are off by."""
    rows = findings.select(rows, against="fresh", station="")
    body = []
    for words, (measure, statistic) in SCENARIO.items():
        of = {"measure": measure, "statistic": statistic, "protocol": "scenario"}
        body.append((words, cell(rows, subject="cgm", **of), cell(rows, subject="training", **of)))
    unseen = cell(rows, subject="cgm", measure="pga", statistic="median", protocol="unseen")
    body.append(("ln PGA, bias at stations that no model has seen", unseen, ""))
    about = "CGM-GM, asked for magnitude, distance and station, against fresh truth at the same scenarios (ln ratios):"
    return f"{about}\n\n{markdown(('', 'generated', 'the recordings it learned from'), body)}"


def recorded_table(stored):
    """results/recorded-folds.json: every recording of the recorded stations against the fold that has not seen it."""
    run, rows = stored["run"], findings.table(stored["findings"])
    stations, pooled = run["command"].split("--stations ")[1].split(","), findings.select(rows, set="folds")
    if not len(pooled):
        return ""
    splits = findings.select(rows[rows["set"].str.endswith("splits")], measure="score")
    judged = pd.concat([pooled[pooled["measure"] != "score"], splits]).assign(set="")
    gap = findings.select(rows, **front.SCORE | {"subject": "timesnet", "against": "cvae"})["value"]
    score = f"The paper's S × S is over {N_SPLITS} splits, blank where that was not tried; over {len(gap)} folds "
    score += f"{label('timesnet')} less {label('cvae')} is {findings.text(findings.over(gap))}."
    about = f"On {len(stations)} **recorded** stations ({run['attribution']}; `{run['command']}`, {run['date']}):"
    parts = (about, distance_table(judged), score if len(splits) and len(gap) else "", beaten(pooled))
    return "\n\n".join(filter(None, parts))


def readme(root, results=None):
    """README text of the project at ``root``, the part between MARKS replaced by the tables of ``results`` (default:
    its results/quick.json) and of results/recorded-folds.json."""
    rows = findings.table((results or json.loads((root / "results" / "quick.json").read_text()))["findings"])
    law = "Brackets: 5 to 95 %, bootstrap over held-out events; = : no farther than one law gives at these sizes (5 %)."
    parts = [distance_table(rows), law, beaten(rows), scenario_table(rows)]
    recorded = root / "results" / "recorded-folds.json"
    parts += [recorded_table(json.loads(recorded.read_text()))] if recorded.exists() else []
    new = "\n".join((MARKS[0], *(f"{part}\n" for part in parts if part), MARKS[1]))
    return re.sub(".*?".join(map(re.escape, MARKS)), lambda _: new, (root / "README.md").read_text(), flags=re.S)


if __name__ == "__main__":
    try:
        written = publish(Study("quick").folder)
    except NotPublishable as error:
        sys.exit(str(error))
    print("\n".join(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1000:.0f} kB" for path in written))
