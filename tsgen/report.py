"""The page runs/…/index.html: what was run, what was found, every figure, every notebook.

One file: figures are embedded. Beside it stand the notebooks as HTML, which it links.
"""

import base64
import json
from html import escape

from tsgen.figures import CAPTIONS
from tsgen.page import document, notebook_html

FIRST_COLUMNS = ("value", "ceiling", "halves", "chance")
WORDS = {
    "score_2s": "2S × 2S",
    "score_3s": "3S × 3S",
    "n_real": "recordings",
    "n_generated": "generated",
    "timesnet": "TimesNet-Gen",
    "cvae": "conditional VAE",
    "cgm": "CGM-GM",
    "control_average": "control: plain average",
    "control_bootstrap": "control: recordings drawn again",
    "control_phase": "control: random phases",
    "control_other": "control: another station's",
}
EXPLAINED = {
    "scores": "The station score is the correlation of the matrix of f0 similarities, recordings by generated records, "
    "with the ideal in which each station resembles only itself. Ceiling: the same score of the training recordings "
    "against the held-out ones, at these sample sizes; halves: random halves of the recordings against each other; "
    "chance: generated records shuffled over the stations. In brackets 5 to 95 %. 2S × 2S is the paper's score, "
    "of real and generated together; 3S × 3S has the reconstructed ones too.",
    "evidence": "What the score does not see, for each generator, against held-out recordings and, where the records "
    "are simulated, against fresh truth at the same magnitudes and distances: bias and spread of peak and spectral "
    "acceleration, energy and duration (natural logarithms), resemblance to single training records. In brackets 5 to "
    "95 %; notebook 07 explains each.",
    "averaging": "The loss of amplitude by averaging k records (natural logarithm of the standard deviation of the "
    "standardised mix), beside what theory says of incoherent records.",
    "negative_controls": "What must fail: another station's generator, and generated records shuffled over stations.",
    "scenario": "CGM-GM, asked for magnitude, distance and station: bias and spread (natural logarithms) of what it "
    "generates, and their trend per magnitude unit and per unit of ln distance. Fresh: against fresh truth at the same "
    "scenarios; held out: against the held-out recordings; recorded: the recordings it learned from, against fresh "
    "truth; unseen: at stations that no model has seen. Structure: how many measures of structural response lie within "
    "15 %. Notebooks 08 and 09 explain each.",
    "structure": "Structural response to CGM-GM's motion, by kind of measure: how many of the measures lie within 15 % "
    "of those under the reference's motion, by value and with their whole interval, and the farthest.",
}


# ---- results ----


def is_measure(value):
    """Whether ``value`` is one number with what belongs to it: a plain dict that holds "value"."""
    return isinstance(value, dict) and "value" in value and not any(isinstance(v, dict) for v in value.values())


def text_of(value):
    """A value of results.json as text: numbers to four significant digits, a measure with its interval."""
    if value is None or value != value:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(text_of(part) for part in value) if len(value) <= 8 else f"{len(value)} values"
    if is_measure(value):
        interval = f" ({value['low']:.3f} to {value['high']:.3f})" if value.keys() >= {"low", "high"} else ""
        return (f"{value['value']:.3f}" if isinstance(value["value"], float) else text_of(value["value"])) + interval
    return str(value)


def rows_of(found, path=()):
    """[(path, {column: value})] of nested results.

    A dict of plain values and measures is a row; where dicts go deeper, a plain value is a row of its own.
    """
    deeper = {name: value for name, value in found.items() if isinstance(value, dict) and not is_measure(value)}
    if path and not deeper:
        row = dict(found)
        if row.keys() >= {"value", "low", "high"}:
            row["value"] = {name: row.pop(name) for name in ("value", "low", "high")}
        return [(path, row)]
    rows = [((*path, name), {"value": value}) for name, value in found.items() if name not in deeper]
    for name, value in deeper.items():
        rows += rows_of(value, (*path, name))
    return rows


def readable(name):
    """A name of results.json as the page shows it."""
    return WORDS.get(name, name.replace("_in_hz", " (Hz)").replace("_", " "))


def results_table(found):
    """HTML table of one section of the results."""
    rows = rows_of(found)
    while len(rows) > 1 and len({path[0] for path, _ in rows}) == 1 and all(len(path) > 1 for path, _ in rows):
        rows = [(path[1:], row) for path, row in rows]  # what all rows begin with says nothing
    columns = dict.fromkeys((*FIRST_COLUMNS, *(name for _, row in rows for name in row)))
    columns = [name for name in columns if any(name in row for _, row in rows)]
    head = "".join(f"<th>{escape(readable(name))}</th>" for name in ("", *columns))
    lines = []
    for path, row in rows:
        label = " · ".join(readable(part) for part in path)
        cells = "".join(f"<td>{escape(text_of(row[name])) if name in row else ''}</td>" for name in columns)
        lines.append(f"<tr><th>{escape(label)}</th>{cells}</tr>")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def results_section(results):
    """HTML of all results, a table a section."""
    parts = ["<h2>Results</h2>"]
    explained = list(EXPLAINED)
    order = sorted(results, key=lambda name: explained.index(name) if name in explained else len(explained))
    for name, found in ((name, results[name]) for name in order):
        section = found if isinstance(found, dict) else {name: found}
        if rows_of(section):
            parts.append(f"<h3>{escape(name.replace('_', ' ').capitalize())}</h3>")
            parts.append(f'<p class="soft">{escape(EXPLAINED[name])}</p>' if name in EXPLAINED else "")
            parts.append(results_table(section))
    return "\n".join(parts)


# ---- figures and notebooks ----


def gallery(folder, captions):
    """HTML of the PNG files in ``folder``, embedded, in the order of ``captions`` (name: text)."""
    order = {name: place for place, name in enumerate(captions)}
    found = sorted(folder.glob("*.png"), key=lambda path: (order.get(path.stem, len(order)), path.stem))
    items = []
    for path in found:
        data = base64.b64encode(path.read_bytes()).decode()
        caption = captions.get(path.stem, "")
        name = path.stem.replace("_", " ")
        items.append(
            f'<figure><a href="figures/{escape(path.name)}"><img alt="{escape(caption or name)}" '
            f'src="data:image/png;base64,{data}"></a>'
            f"<figcaption><b>{escape(name.capitalize())}.</b> {escape(caption)}</figcaption></figure>"
        )
    return f'<h2>Figures</h2><div class="gallery">{"".join(items)}</div>' if items else ""


def notebook_list(folder):
    """Write each executed notebook as HTML beside itself; HTML list of them with their times."""
    done = json.loads((folder / "run.json").read_text())
    rows = []
    for name, entry in sorted(done.items()):
        title, html = notebook_html(folder / "notebooks" / f"{name}.ipynb")
        (folder / "notebooks" / f"{name}.html").write_text(html)
        cells = (
            f'<th><a href="notebooks/{name}.html">{escape(title)}</a></th>',
            f'<td><a href="notebooks/{name}.ipynb">{name}.ipynb</a></td>',
            f"<td>{entry['seconds']} s</td>",
        )
        rows.append(f"<tr>{''.join(cells)}</tr>")
    head = "<thead><tr><th>Notebook, as executed</th><th>file</th><th>time</th></tr></thead>"
    return f'<h2>Notebooks</h2><div class="scroll"><table>{head}<tbody>{"".join(rows)}</tbody></table></div>'


# ---- the page ----


def opening(study):
    """HTML of what was run, on which records, and what is simulated in it."""
    profile = study.settings
    targets = ", ".join(study.stations)
    background = " and ".join(sorted(set(study.background.table["kind"])))
    if study.kind == "simulated":
        notice = (
            "The records of this run are <b>simulated</b>: stations with a planted site response, made by the "
            "stochastic method. No instrument recorded them; they show the method, not a place."
        )
    else:
        notice = (
            f"The target stations of this run are <b>recorded</b>, read from the folder "
            f"<b>{escape(study.records_folder.name)}</b>; the background records are {background}."
        )
    facts = {
        "Profile": profile.name,
        "Records": f"{len(study.targets)} at {len(study.stations)} target stations, "
        f"{len(study.background)} {background} in the background",
        "Target stations": targets,
        "Sampling": f"{profile.sampling_rate_in_hz:g} Hz, {profile.duration_in_s:.1f} s, accelerations in cm/s²",
        "Seed": study.seed,
    }
    rows = "".join(f"<tr><th>{name}</th><td>{escape(str(fact))}</td></tr>" for name, fact in facts.items())
    return (
        "<h1>Site-specific strong motion, generated and judged</h1>"
        f'<p class="soft">One run of the study at profile <b>{escape(profile.name)}</b>. What is called generated was '
        "made by a model or a control from the training records; it was never measured.</p>"
        f'<p class="notice">{notice}</p><div class="scroll facts"><table><tbody>{rows}</tbody></table></div>'
        + left_out(study.not_used)
    )


def left_out(not_used):
    """HTML of the files and records that the study does not use, each with its reason; folded away."""
    if not_used.empty:
        return "<p>Every record that was found is in use.</p>"
    table = not_used.to_html(index=False, border=0)
    return (
        f"<details><summary>{len(not_used)} files or records are not used: which, and why</summary>"
        f'<div class="scroll facts">{table}</div></details>'
    )


def write(study, captions=CAPTIONS):
    """Write index.html, and the notebooks as HTML, into the run's folder; returns its path."""
    folder = study.folder
    results = {
        name: found for name, found in study.results.items() if name != "run"
    }  # "run" is what the page opens with
    body = "\n".join(
        (opening(study), notebook_list(folder), results_section(results), gallery(study.figures_folder, captions))
    )
    body += '<p class="soft">All numbers stand in <a href="results.json">results.json</a>.</p>'
    page = folder / "index.html"
    page.write_text(document(f"Study run: {folder.name}", body, ".facts td { text-align: left; white-space: normal; }"))
    return page
