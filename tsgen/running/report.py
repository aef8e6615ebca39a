"""The page runs/…/index.html: the story in one screen, and behind it what was run and found, every figure and notebook.
Written from what is in the run's folder alone: the page of a run that failed says what failed. It and the notebooks'
pages beside it open from the disk: no script, font or style comes from the network."""

import base64
import functools
import io
import json
import re
from html import escape

import jinja2
import nbformat
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import MathTextParser
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter

from tsgen import config, findings
from tsgen.running import front

FORMULA_SIZE_IN_PT = 13
HTML = {"index": False, "border": 0, "na_rep": "", "justify": "unset"}
LEADING = ("waveforms", "distances", "k_sweep")  # figures of the front page, where they are drawn
HIDDEN = {"solution", "check"}  # tags of cells that a page does not show
SPELLED = {  # TeX that matplotlib knows by another name
    r"\\[td]?frac(\d)(\d)": r"\\frac{\1}{\2}",
    r"\\[td]frac": r"\\frac",
    r"\\[lr]Vert\b": r"\\Vert",
    r"\\[lr]vert\b": "|",
    r"\\(le|ge)\b": r"\\\1q",
    r"\\([bB]igg?[lrm]?|middle)\b": "",
}
LINK = re.compile(r'(href="[^":/]+)\.ipynb(["#])')  # from one notebook to another


def formula(tex, display=False):
    """``tex`` drawn by matplotlib as an image that needs nothing else; what it cannot draw stays as TeX code."""
    font = FontProperties(size=FORMULA_SIZE_IN_PT * (1.15 if display else 1), math_fontfamily="stix")
    text = f"${' '.join(tex.split())}$"
    for pattern, spelled in SPELLED.items():
        text = re.sub(pattern, spelled, text)
    try:
        width, height, depth, *_ = MathTextParser("path").parse(text, dpi=72, prop=font)
    except ValueError:
        return f'<code class="tex">{escape(tex)}</code>'
    figure = Figure(figsize=(width / 72, height / 72))
    figure.text(0, depth / height, text, fontproperties=font, color="#1c2430")
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", transparent=True)
    data = base64.b64encode(drawn.getvalue().encode()).decode()
    place = "display:block;margin:1rem auto" if display else f"vertical-align:-{depth:.1f}pt"
    return f'<img class="formula" alt="{escape(tex)}" style="{place}" src="data:image/svg+xml;base64,{data}">'


class FormulaRenderer(IPythonRenderer):
    """nbconvert's Markdown with formulas as images instead of a script from the network."""

    inline_math = staticmethod(formula)
    block_math = staticmethod(functools.partial(formula, display=True))


def notebook_page(path, before="", after=""):
    """Write the executed notebook at ``path`` as a page beside itself, without its solutions, linked to the notebooks
    named ``before`` and ``after``; returns (its first heading, the question that its first cell sets in bold)."""
    try:
        notebook = nbformat.read(path, as_version=4)
    except (OSError, ValueError):
        return "", ""
    notebook.cells = [cell for cell in notebook.cells if not HIDDEN & set(cell.metadata.get("tags", ()))]
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    title = (*re.findall(r"^#+\s+(.+)$", text, re.MULTILINE), path.stem)[0].strip()
    question = re.search(r"\*\*(.+?)\*\*", text, re.DOTALL)
    exporter = HTMLExporter(template_name="basic")
    exporter.register_filter("markdown2html", MarkdownWithMath(FormulaRenderer(escape=False)).render)
    body = LINK.sub(r"\1.html\2", exporter.from_notebook_node(notebook)[0])
    colours = {look: HtmlFormatter(style=look).get_style_defs(".highlight") for look in ("friendly", "github-dark")}
    content = {"title": title, "notebook": body, "colours": colours, "before": before, "after": after}
    path.with_suffix(".html").write_text(template().render(**content))
    return title, " ".join(question[1].split()) if question else ""


def template():
    """The template that both kinds of page come from."""
    options = {"autoescape": True, "trim_blocks": True, "lstrip_blocks": True}
    return jinja2.Environment(loader=jinja2.PackageLoader("tsgen.running", "."), **options).get_template("page.html.j2")


def read_json(path):
    """The dict in a JSON file; empty where the file is missing or damaged."""
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def facts(run):
    """{what: text} of what was run, from results.json's "run"; nothing that it leaves empty."""
    try:
        profile = config.profile(run.get("profile") or "")
    except ValueError:  # of another version
        profile = None
    records = run.get("records") or {}
    found = {"Profile": run.get("profile"), "Records": ", ".join(f"{name} {n}" for name, n in records.items())}
    found["Target stations"] = ", ".join(run.get("stations") or ())
    found["Sampling"] = profile and f"{profile.sampling_rate_in_hz:g} Hz, {profile.duration_in_s:.1f} s, in cm/s²"
    found |= {name.capitalize(): run.get(name) for name in ("seed", "command", "date", "version", "attribution")}
    return {name: fact for name, fact in found.items() if fact not in (None, "")}


def write(folder, captions=None):
    """Write index.html, and the notebooks as pages, into the run's ``folder``; returns its path.
    captions: {figure: text} in the order of the figures; those without one follow."""
    captions, results = captions or {}, read_json(folder / "results.json")
    done, pages = sorted(read_json(folder / "run.json").items()), folder / "notebooks"
    drawn = sorted(path.stem for path in (folder / "figures").glob("*.png"))
    run = results.get("run") or {}
    try:
        rest = pd.read_csv(folder / "records" / "report.csv", keep_default_na=False)
        rest = rest[(rest["reason"] != "") & (rest["outcome"] != "companion")]  # not used, or with a remark
    except (OSError, ValueError, KeyError):
        rest = pd.DataFrame()
    rows = results.get("findings") or []
    content = {"kind": run.get("kind"), "profile": run.get("profile"), "facts": facts(run)}
    there, content["notebooks"] = [name for name, _ in done if (pages / f"{name}.ipynb").exists()], []
    beside = {name: sides for name, *sides in zip(there, ["", *there], [*there[1:], ""], strict=False)}
    for name, entry in done:
        title, question = notebook_page(pages / f"{name}.ipynb", *beside.get(name, ()))
        content["notebooks"].append({"name": name, "title": title, "question": question} | entry)
    content["abstract"], judged = front.abstract(findings.table(rows), run), front.table(findings.table(rows))
    content["judged"] = judged.to_html(**HTML) if len(judged) else ""
    content["lacking"] = {}  # what the records lack: the notebooks that leave out something for it
    for name, entry in done:
        for what, part in entry.get("left out", {}).items():
            content["lacking"].setdefault(what, []).append(f"{part} of {name}")
    content["figures"] = {name: captions.get(name, "") for name in (*captions, *drawn) if name in drawn}
    drawn = [*content["figures"]]
    content["leading"] = [*(name for name in LEADING if name in drawn), *(n for n in drawn if n not in LEADING)][:3]
    content |= {"left_out": len(rest), "left_out_table": rest.to_html(**HTML)}
    text = template().render(title="Site-specific strong motion, generated and judged", **content)
    (folder / "index.html").write_text(text)
    return folder / "index.html"
