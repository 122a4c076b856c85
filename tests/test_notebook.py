"""examples/notebook.ipynb runs from its first cell to its last, and is kept without outputs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "examples" / "notebook.ipynb"


def test_the_notebook_is_kept_without_outputs() -> None:
    """So that a change of it can be read, and nothing in it is out of date."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(code) >= 8
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert notebook["metadata"]["language_info"] == {"name": "python"}
    text = "".join("".join(cell["source"]) for cell in notebook["cells"])
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links
    assert all((NOTEBOOK.parent / link).is_file() for link in links)


@pytest.mark.peers
@pytest.mark.filterwarnings("default")
def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs nbformat")
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient")
    pytest.importorskip("ipykernel", reason="needs ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOK.parent)}})
    client.execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = "\n".join(output.get("text") or output.data["text/plain"] for output in outputs)
    for expected in (
        *("<TrainedLanguageModel: lstm of 128, 54 char units>", "'Winconyvenator'", "-23.480  2.606  Windowsaurus"),
        *("singular 0.99", "plural 0.99", "the/DET:singular old/ADJ king/NOUN:subject", "1987-03-21", "1942-04-26"),
        "ninety thousand seventeen",
    ):
        assert expected in shown
    found, seen = (
        [float(x) for x in re.findall(r"-?\d+\.\d+", line)]
        for line in shown.splitlines()
        if line.startswith(("predicted", "seen"))
    )
    assert found == pytest.approx(seen, abs=0.06)  # about four standard deviations of the best estimate
