"""From the names of tables to files: plan, run what is missing, lay out, draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bundle.comparison.beyond import BEYOND, lay_out_beyond
from bundle.comparison.cohort import PHANTOM, Cohort, open_cohort
from bundle.comparison.execution import Outcome, execute, rehearse_all
from bundle.comparison.figures import draw
from bundle.comparison.layouts import TABLES, lay_out
from bundle.comparison.merging import quiet_monai
from bundle.comparison.panels import read_panel
from bundle.comparison.plan import plan_runs
from bundle.comparison.protocol import differences
from bundle.comparison.results_store import PANEL, find_result, read_result
from bundle.comparison.runs import RunResult, RunSpec
from bundle.comparison.scales import PhantomSize, Scale
from bundle.comparison.steps import write_steps
from bundle.comparison.table_values import Table
from bundle.comparison.tables import to_csv, to_markdown
from bundle.comparison.telling import tell_cost, tell_outcome, tell_plan
from bundle.configuration import BUNDLE_ROOT
from bundle.data.modality_names import meaning
from bundle.data.names import nearest_name
from bundle.metrics import CasePanel

PROSTATE_ONLY = ("table6", "figure8")
COMMITTED = BUNDLE_ROOT / "docs" / "results"


@dataclass(frozen=True)
class Wishes:
    """What a person asks for.

    Args:
        tables: names, or ``all`` of the paper's that the data set has the modalities for.
        dataset_dir: see `open_cohort`.
        output_dir: ``runs/``, ``results/`` and ``tables/`` appear in it.
        scale: of all runs.
        recipe: key of `RECIPES`; the scale's own if empty.
        seeds: of the trainings.
        folds: number of folds, or ``None``.
        pairs: which combinations; all if empty.
        also: further methods.
        against_paper: show the published figures.
        shard: (i, n), see `execute`.
        jobs: processes at once.
        only_plan: stop before the first run.
        results: further folder of results to take over, or ``None``.
        anatomy: of the phantom; by default the prostate where only its tables are asked for.
        imagenet_weights: file that DeepLabv3 starts from.
        modalities: which of the data's; all if empty.
    """

    tables: Sequence[str]
    dataset_dir: str
    output_dir: Path
    scale: Scale
    recipe: str = ""
    seeds: Sequence[int] = (0,)
    folds: int | None = None
    pairs: Sequence[str] = ()
    also: Sequence[str] = ()
    against_paper: bool = False
    shard: tuple[int, int] = (0, 1)
    jobs: int = 1
    only_plan: bool = False
    results: Path | None = COMMITTED
    anatomy: str = ""
    imagenet_weights: Path | None = None
    modalities: Sequence[str] = ()


@dataclass
class Reproduction:
    """What came of it.

    Args:
        files: written.
        outcome: of the runs.
    """

    files: list[Path] = field(default_factory=list)
    outcome: Outcome = field(default_factory=Outcome)


def reproduce_tables(wishes: Wishes) -> Reproduction:
    """Make tables and figures of the paper, and our own, on a data set, running only what no result has.

    Raises:
        ValueError: an unknown table, combination or method; or a data set without the modalities.
        FileNotFoundError: there are no data.
    """
    quiet_monai()
    expected = wishes.anatomy or _anatomy_of(wishes.tables)
    if expected not in wishes.scale.phantom:
        raise ValueError(f"--anatomy {expected!r} is unknown; {nearest_name(expected, wishes.scale.phantom)}")
    size = _size_of_phantom(wishes, expected)
    _check_output(wishes.output_dir)
    cohort = open_cohort(
        wishes.dataset_dir, wishes.output_dir, size, expected, wishes.folds, wishes.modalities
    )
    anatomy = "prostate" if "adc" in map(meaning, cohort.modalities) else "brain"
    tables = _lay_out_all(wishes, cohort)
    recipe = wishes.recipe or wishes.scale.recipe
    plans = {
        table.name: plan_runs(
            table.specs, cohort, wishes.scale, wishes.seeds, recipe, anatomy, wishes.imagenet_weights
        )
        for table in tables
    }
    runs = list({run.name: run for plan in plans.values() for run in plan}.values())
    runs.sort(key=lambda run: wishes.seeds.index(run.seed))  # tables are complete for one seed first
    stores = [wishes.output_dir / "results", *([] if wishes.results is None else [wishes.results])]
    panels = frozenset(spec for table in tables if table.kind == "panels" for spec in table.specs)
    there = sum(find_result(run, stores, run.spec in panels) is not None for run in runs)
    tell_plan(runs, tables, cohort, there)
    if wishes.scale.full:
        tell_cost(*rehearse_all(runs, cohort, wishes.output_dir), wishes.jobs)
    if wishes.only_plan:
        return Reproduction()
    labels = {"scale": wishes.scale.name, "recipe": recipe, "anatomy": anatomy}
    outcome = execute(runs, cohort, wishes.output_dir, stores, wishes.jobs, wishes.shard, panels, labels)
    made = Reproduction(outcome=outcome)
    results = {name: read_result(folder) for name, folder in outcome.found.items()}
    whole = wishes.shard[1] == 1  # a shard knows a part only, and would write over the others' files
    for table in tables if whole else []:
        own = [results[run.name] for run in plans[table.name] if run.name in results]
        about = _about(cohort, wishes.scale, recipe)
        if table.name in BEYOND:
            made.files += write_steps(table, own, plans[table.name], about, wishes.output_dir)
        else:
            facts = differences(plans[table.name], cohort, recipe, anatomy)
            made.files += _write(table, own, facts, about, wishes)
    tell_outcome(outcome, len(runs))
    return made


def _anatomy_of(tables: Sequence[str]) -> str:
    return "prostate" if all(name in PROSTATE_ONLY for name in tables) else "brain"


def _size_of_phantom(wishes: Wishes, anatomy: str) -> PhantomSize:
    """The scale's; with twice the training subjects for the table of few patients, which is asked for alone."""
    size = wishes.scale.phantom[anatomy]
    if "few" not in wishes.tables or wishes.dataset_dir != PHANTOM:
        return size
    if set(wishes.tables) != {"few"}:
        raise ValueError("table few has a phantom of its own, with more patients; ask for it alone")
    train, validation, test = size.subjects
    return replace(size, subjects=(2 * train, validation, test), label="few")


def _lay_out_all(wishes: Wishes, cohort: Cohort) -> list[Table]:
    names = list(TABLES) if list(wishes.tables) == ["all"] else list(wishes.tables)
    for name in names:
        if name not in (*TABLES, *BEYOND):
            raise ValueError(f"table {name!r} is unknown; {nearest_name(name, [*TABLES, *BEYOND, 'all'])}")
    pairs = list(wishes.pairs) or None
    tables = [
        lay_out_beyond(name, cohort.modalities, cohort.cases["train"])
        if name in BEYOND
        else lay_out(name, cohort.modalities, pairs, wishes.also)
        for name in dict.fromkeys(names)
    ]
    empty = {
        table.name: "; ".join(table.left_out) or "none of --pairs stands in it"
        for table in tables
        if not table.blocks
    }
    if len(empty) == len(tables):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in empty.items())
        raise ValueError(f"nothing to make ({reasons}); choose another table, --pairs or data set")
    for name, reason in empty.items():
        print(f"{name} is left out: {reason}")
    return [table for table in tables if table.blocks]


def _write(
    table: Table,
    results: Sequence[RunResult],
    facts: Sequence[tuple[str, str, str]],
    about: str,
    wishes: Wishes,
) -> list[Path]:
    folder = wishes.output_dir / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    text = to_markdown(table, results, against_paper=wishes.against_paper, protocol=facts, about=about)
    print(f"\n{text}", flush=True)
    files = [folder / f"{table.name}.md", folder / f"{table.name}.csv"]
    files[0].write_text(text, encoding="utf-8")
    files[1].write_text(to_csv(table, results), encoding="utf-8")
    panels = _panels(results) if table.kind == "panels" else {}
    if table.kind == "panels" and not panels:
        return files  # no run has a result yet; the table names them
    return files + draw(table, folder / table.name, results, panels)


def _panels(results: Sequence[RunResult]) -> dict[RunSpec, CasePanel]:
    """The picture of each training, from the first seed that has one; of one fold, since folds show other patients."""
    panels: dict[RunSpec, CasePanel] = {}
    for result in results:
        if result.fold == results[0].fold and result.spec not in panels and (result.folder / PANEL).is_file():
            panels[result.spec] = read_panel(result.folder / PANEL)
    return panels


def _about(cohort: Cohort, scale: Scale, recipe: str) -> str:
    """What a table was made on, in a sentence."""
    cases = ", ".join(f"{count} {name}" for name, count in cohort.cases.items())
    folds = "" if None in cohort.splits else f", {len(cohort.splits)} folds"
    size = f"{cohort.spatial_size} x {cohort.spatial_size}"
    data = f"Data: {cohort.source}, {', '.join(cohort.modalities)}, {size} pixels; {cases}{folds}"
    warning = "; its figures mean nothing" if scale.name == "smoke" else ""
    return f"{data}. Scale {scale.name}{warning}. Recipe: {recipe}."


def _check_output(output_dir: Path) -> None:
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        (output_dir / ".writable").touch()
        (output_dir / ".writable").unlink()
    except OSError as error:
        raise ValueError(
            f"--output_dir {output_dir}: expected a folder to write to, found none ({error.strerror}); choose another"
        ) from None


def parse_shard(text: str) -> tuple[int, int]:
    """``i/n`` as (i, n), i from 0.

    >>> parse_shard("0/4")
    (0, 4)
    """
    parts: Sequence[str] = text.split("/")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts) or not int(parts[0]) < int(parts[1]):
        raise ValueError(f"--shard is {text!r}, expected i/n with i from 0 to n - 1, such as 0/4; correct it")
    return int(parts[0]), int(parts[1])
