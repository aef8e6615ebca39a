"""One function a figure: takes a Study, returns a Matplotlib Figure. ``python -m tsgen.figures`` redraws them.

A function under ``@figure`` (style.py) is one: nothing else lists it.
"""

import matplotlib.pyplot as plt
from PIL import Image as Picture

# each fills FIGURES
from tsgen.figures import data, evidence, few, lessons, models, moving, paper, scenario  # noqa: F401
from tsgen.figures.style import CAPTIONS, FIGURES, styled  # noqa: F401
from tsgen.needs import Lacking


def draw(study, name, pdf=False):
    """Draw figure ``name`` and save it as PNG (pdf: and as PDF) in the run's figures folder; returns the PNG's path.
    Raises ValueError for a name that is not in FIGURES, needs.Lacking where the records lack what it needs."""
    if name not in FIGURES:
        raise ValueError(f"unknown figure {name!r}; known: {', '.join(FIGURES)}")
    with styled():
        figure = FIGURES[name](study)
        study.figures_folder.mkdir(parents=True, exist_ok=True)
        path = study.figures_folder / f"{name}.png"
        figure.savefig(path, metadata={"Software": None})
        with Picture.open(path) as drawn:  # 256 colours: a third of the size, in notebooks and page alike
            small = drawn.convert("RGB").quantize(256, dither=Picture.Dither.NONE)
        small.save(path, optimize=True)
        if pdf:
            figure.savefig(path.with_suffix(".pdf"), metadata={"CreationDate": None})
        plt.close(figure)
    return path


def show(study, name):
    """Draw figure ``name`` and give the saved file to the notebook, to a reader's with sliders where it has some; where
    the records lack what it needs, say so."""
    from IPython.display import Image

    try:
        if name in moving.SLIDERS and moving.is_live():
            return moving.SLIDERS[name](study)
        return Image(filename=draw(study, name))
    except Lacking as lacking:
        print(lacking)
