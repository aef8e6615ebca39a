"""Data flows one way: no module of the package imports in a circle, and each floor knows only those below."""

import ast
import graphlib

from conftest import ROOT

SOURCES = {}  # {module: file} of the package
for source in sorted((ROOT / "tsgen").rglob("*.py")):
    SOURCES[".".join(source.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")] = source


def imported(path):
    """Modules of the package that a file imports from anywhere in it, functions included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.name}: a relative import"
            parts = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= parts if parts <= set(SOURCES) else parts | {node.module}
    return names & set(SOURCES)


def test_no_module_imports_in_a_circle_not_even_inside_a_function():
    graph = {name: imported(path) - {name} for name, path in SOURCES.items()}
    assert len(graph) > 40 and graph["tsgen.study"] >= {"tsgen.dataset", "tsgen.store", "tsgen.timesnet"}
    graphlib.TopologicalSorter(graph).prepare()  # CycleError names the circle


def test_evidence_is_one_question_a_file_and_the_study_knows_none():
    questions = {name for name in SOURCES if name.startswith("tsgen.evidence.")}
    again = {"tsgen.evidence.few": {"distances", "new_station"}, "tsgen.evidence.new_station": {"copying", "distances"}}
    assert len(questions) == 9 and questions >= set(again)  # which ask others' questions of few records
    for name in questions:
        others = {each for each in imported(SOURCES[name]) if each.startswith("tsgen.evidence")}
        others -= {f"tsgen.evidence.{each}" for each in again.get(name, ())}
        assert not others, f"{name} imports {others}"
    for name in ("tsgen.study", "tsgen.dataset", "tsgen.store", "tsgen.findings", "tsgen.claims"):
        assert not [each for each in imported(SOURCES[name]) if each.startswith(("tsgen.evidence", "tsgen.figures"))]
