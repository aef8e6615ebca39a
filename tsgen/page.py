"""HTML that opens anywhere: no script, no font and no style comes from the network.

Holds the look of the report's pages, and executed notebooks as such pages, their formulas drawn with matplotlib.
"""

import base64
import io
import re
from html import escape

import nbformat
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import MathTextParser
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter

FORMULA_SIZE_IN_PT = 13
STYLE = """
:root { color-scheme: light; --ink: #1c2430; --soft: #5b6675; --line: #dde2e8; --back: #f6f7f9; --mark: #0b6e99; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: var(--back); font: 16px/1.6 system-ui, Roboto, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 2.5rem 1.5rem 5rem; }
h1 { font-size: 1.9rem; line-height: 1.25; margin: 0 0 .4rem; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .8rem; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .5rem; }
a { color: var(--mark); text-decoration: none; } a:hover { text-decoration: underline; }
details { margin: 1rem 0; } summary { cursor: pointer; color: var(--mark); }
.soft { color: var(--soft); } .anchor-link { display: none; }
.notice { background: #fff8e1; border-left: 4px solid #e0a800; padding: .7rem 1rem; margin: 1.2rem 0; }
.scroll { overflow-x: auto; background: #fff; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
.scroll > table { width: 100%; }
th, td { padding: .4rem .9rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } thead th { color: var(--soft); font-weight: 600; }
tbody tr:last-child > * { border-bottom: 0; } tbody th { font-weight: 500; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); gap: 1.2rem; }
figure { margin: 0; background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: .8rem; }
figure img { width: 100%; height: auto; display: block; }
figcaption { font-size: .9rem; color: var(--soft); margin-top: .6rem; }
figcaption b { color: var(--ink); }
"""
NOTEBOOK_STYLE = """
main { max-width: 60rem; background: #fff; border-left: 1px solid var(--line); border-right: 1px solid var(--line); }
.prompt { display: none; } img { max-width: 100%; height: auto; } img.formula { vertical-align: middle; }
.input_area { background: var(--back); border: 1px solid var(--line); border-radius: 6px; margin: 1rem 0 .4rem; }
pre { margin: 0; padding: .7rem 1rem; overflow-x: auto; font: .84rem/1.5 ui-monospace, Menlo, Consolas, monospace; }
.output_stderr { background: #fdf1f0; } .output_area { overflow-x: auto; }
code { font: .88em ui-monospace, Menlo, Consolas, monospace; } .rendered_html table { margin: .8rem 0; }
table[border], table[border] th, table[border] td { border-width: 0 0 1px; border-style: solid; }
"""


def document(title, body, style=""):
    """A whole HTML document; ``body`` is HTML, ``title`` is text."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def formula(tex, display=False):
    """``tex`` drawn by matplotlib as an image that needs nothing else; what it cannot draw stays as TeX code."""
    font = FontProperties(size=FORMULA_SIZE_IN_PT * (1.15 if display else 1), math_fontfamily="stix")
    text = f"${' '.join(tex.split())}$"
    try:
        width, height, depth, *_ = MathTextParser("path").parse(text, dpi=72, prop=font)
    except ValueError:
        return f"<code>{escape(tex)}</code>"
    figure = Figure(figsize=(width / 72, height / 72))
    figure.text(0, depth / height, text, fontproperties=font, color="#1c2430")
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", transparent=True)
    data = base64.b64encode(drawn.getvalue().encode()).decode()
    place = "display:block;margin:1rem auto" if display else f"vertical-align:-{depth:.1f}pt"
    return f'<img class="formula" alt="{escape(tex)}" style="{place}" src="data:image/svg+xml;base64,{data}">'


class FormulaRenderer(IPythonRenderer):
    """nbconvert's Markdown with formulas as images instead of a script from the network."""

    def inline_math(self, body):
        return formula(body)

    def block_math(self, body):
        return formula(body, display=True)


def first_heading(notebook, otherwise):
    """Text of the first heading of a notebook."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    found = re.search(r"^#+\s+(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else otherwise


def notebook_html(path):
    """(title, HTML document) of the executed notebook at ``path``."""
    notebook = nbformat.read(path, as_version=4)
    title = first_heading(notebook, path.stem)
    exporter = HTMLExporter(template_name="basic")
    exporter.register_filter("markdown2html", MarkdownWithMath(FormulaRenderer(escape=False)).render)
    body, _ = exporter.from_notebook_node(notebook)
    back = '<p><a href="../index.html">← all of this run</a></p>'
    colours = HtmlFormatter(style="friendly").get_style_defs(".highlight")
    return title, document(title, back + body + back, NOTEBOOK_STYLE + colours)
