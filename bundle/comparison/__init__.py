"""The paper's comparison: runs, tables and figures.

To lay out:  layouts, paper_cells (which run and map stand where), table_values (a table as a value), filled.
To run:      plan, cohort, scales, execution, one_run, results_store; runs says what a run and its result are.
To print:    statistics, paired_tests, tables, footnotes, charts, ratio_chart, picture_grid, figures.
The paper's own figures and protocol stand in published.yaml, which published reads.
"""

from bundle.comparison.figures import draw
from bundle.comparison.layouts import TABLES, lay_out
from bundle.comparison.paired_tests import Comparison, compare
from bundle.comparison.paper_cells import INDEPENDENT
from bundle.comparison.published import ProtocolFact, PublishedFigure, published_figure
from bundle.comparison.runs import PROPOSED, READOUTS, Cell, RunResult, RunSpec
from bundle.comparison.statistics import CellValue, evaluate, patient_means
from bundle.comparison.table_values import Block, Column, Gain, Row, Table
from bundle.comparison.tables import to_csv, to_markdown

__all__ = [
    "INDEPENDENT",
    "PROPOSED",
    "READOUTS",
    "TABLES",
    "Block",
    "Cell",
    "CellValue",
    "Column",
    "Comparison",
    "Gain",
    "ProtocolFact",
    "PublishedFigure",
    "Row",
    "RunResult",
    "RunSpec",
    "Table",
    "compare",
    "draw",
    "evaluate",
    "lay_out",
    "patient_means",
    "published_figure",
    "to_csv",
    "to_markdown",
]
