"""A pytest plugin that proves nbval's teeth while it runs: ``pytest --nbval -p teeth`` (tests/ on PYTHONPATH).

Once a cell has passed, every number in its committed outputs is changed in turn by one digit, and nbval's own
comparison with what the cell has just given must find each. Where the cell expects (``Study.expect``), the expectation
must have been reached and its bounds must hold the value. Nothing is executed for it a second time.
"""

import ast
import copy
import re

import pytest
from nbval.plugin import IPyNbCell, coalesce_streams

EXPECTED = re.compile(r": (\S+), expected between (\S+) and (\S+)$", re.MULTILINE)


def faults(outputs):
    """Copies of ``outputs``, in each the last digit of one of their texts changed."""
    for place, output in enumerate(outputs):
        for name in ("text", *output.get("data", ())):
            text = output.get("data", output).get(name, "")
            digits = list(re.finditer(r"\d", text)) if name == "text" or name.startswith("text/") else ()
            if digits:
                changed, at = copy.deepcopy(outputs), digits[-1].start()
                holder = changed[place].get("data", changed[place])
                holder[name] = text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :]
                yield changed


def expectations(source):
    """How many calls of ``….expect(…)`` the source of a cell holds."""
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return sum(isinstance(call, ast.Attribute) and call.attr == "expect" for call in calls)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    result = yield
    if isinstance(item, IPyNbCell):
        if item.options["check"]:
            for changed in faults(coalesce_streams(item.cell.outputs)):
                assert not item.compare_outputs(item.test_outputs, changed), f"a changed digit passes: {changed}"
        printed = "".join(output.get("text", "") for output in item.test_outputs or ())
        reached = EXPECTED.findall(printed)
        assert len(reached) >= expectations(item.cell.source), "an expectation was not reached"
        for value, low, high in reached:
            assert float(low) < float(high), f"{low} to {high} holds nothing"
            assert value != "nan"
    return result
