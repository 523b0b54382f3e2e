"""What the chain runs, in which order, and which round it keeps; the commands themselves are pretended."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import bundle.chain.chain
from bundle.chain import ChainOptions, Disputes, Stage, TagAgreement, run_chain
from bundle.chain.acceptance import is_kept
from bundle.handlers.weights import KNOWN_CASES
from tests.conftest import LPS, SHAPE

GOOD, WORSE, BAD = (2, 3), (2, 3, 4), ()  # slices that are marked; 2 and 3 are tagged tumour


class Pretended:
    """Stands for `run_stage`: notes the stages and writes masks of one validation case.

    Args:
        marked: slices that each stage's masks mark, by the stage's folder.
    """

    def __init__(self, **marked: tuple[int, ...]) -> None:
        self.marked, self.stages = marked, []

    def __call__(self, stage: Stage) -> float:
        self.stages.append(stage)
        if "validation" in stage.title:
            mask = np.zeros(SHAPE, dtype=np.uint8)
            mask[5:10, 6:12, list(self.marked[self.of(stage)])] = 1
            stage.result.mkdir(parents=True)
            nib.save(nib.Nifti1Image(mask, LPS), stage.result / "003.nii.gz")
        return 7.0

    @staticmethod
    def of(stage: Stage) -> str:
        return stage.title.split(":")[0]

    @property
    def titles(self) -> list[str]:
        return [stage.title for stage in self.stages]


@pytest.fixture
def pretend(monkeypatch):
    def make(**marked: tuple[int, ...]) -> Pretended:
        pretended = Pretended(**marked)
        monkeypatch.setattr(bundle.chain.chain, "run_stage", pretended)
        return pretended

    return make


def option(stage: Stage, name: str) -> str:
    return str(stage.options[name])


def test_tags_become_cams_cams_a_segmenter_and_the_segmenter_masks(pretend, prepared, tmp_path):
    ran = pretend(cam=GOOD, segmenter_1=GOOD)
    out = tmp_path / "R"
    report = run_chain(ChainOptions(prepared, out, ("flair", "t1c"), seed=3))
    assert ran.titles == [
        *("cam: training", "cam: masks of train cases", "cam: masks of validation cases"),
        *(
            "segmenter_1: training",
            "segmenter_1: masks of train cases",
            "segmenter_1: masks of validation cases",
        ),
        *("segmenter_1: masks of test cases", "segmenter_1: evaluation"),
    ]
    cam, _, _, segmenter, *_, test, evaluation = ran.stages
    assert [stage.configs[0] for stage in (cam, segmenter, test)] == [
        *("train", "train_selftrain", "inference_selftrain")
    ]
    assert evaluation.configs == ("evaluate", "method_selftrain")
    assert Path(option(segmenter, "labels_dir")) == out / "cam" / "train" / "cams" / "fused"
    assert (test.result, evaluation.result) == (out / "masks", out / "evaluation" / "summary.json")
    assert Path(option(test, "checkpoint")) == out / "segmenter_1" / "models" / "model.pt"
    assert {option(stage, "modalities") for stage in ran.stages} == {"flair,t1c"}
    assert {option(stage, "seed") for stage in (cam, segmenter)} == {"3"}
    assert report == json.loads((out / "chain.json").read_text())
    assert report["made_by"] == "segmenter_1"
    assert [row["name"] for row in report["stages"]] == ["cam", "segmenter_1"]
    assert report["stages"][0]["validation_tags"]["balanced_accuracy"] == 1


def test_each_round_learns_from_the_last_ones_maps(pretend, prepared, tmp_path):
    ran = pretend(cam=GOOD, segmenter_1=GOOD, segmenter_2=GOOD)
    assert run_chain(ChainOptions(prepared, tmp_path, rounds=2))["made_by"] == "segmenter_2"
    second = next(stage for stage in ran.stages if stage.title == "segmenter_2: training")
    assert Path(option(second, "labels_dir")) == tmp_path / "segmenter_1" / "train" / "cams" / "fused"
    assert second.needs[-1] == tmp_path / "segmenter_1" / "train" / "cams" / "fused"


def test_a_round_that_agrees_less_with_held_out_tags_is_refused_and_the_last(
    pretend, prepared, tmp_path, capsys
):
    # found 2 of 2, empty 2 of 3: (1 + 2/3) / 2, after 1
    ran = pretend(cam=GOOD, segmenter_1=WORSE)
    report = run_chain(ChainOptions(prepared, tmp_path, rounds=3))
    assert report["made_by"] == "cam"
    assert [row.get("accepted") for row in report["stages"]] == [None, False]
    assert not any("segmenter_2" in title for title in ran.titles)
    test = next(stage for stage in ran.stages if "test" in stage.title)
    assert test.configs == ("inference",)
    assert Path(option(test, "checkpoint")) == tmp_path / "cam" / "models" / "model.pt"
    said = capsys.readouterr().out
    assert "segmenter_1 is refused: the image could judge none of the held-out pixels" in said
    assert (
        "its masks agree with held-out tags in 83.3% of slices (balanced), the best stage before in 100.0%"
        in said
    )


@pytest.mark.parametrize(("earlier", "later", "made_by"), [(58, 42, "segmenter_1"), (59, 41, "cam")])
def test_a_round_to_which_the_image_gives_too_little_is_refused_though_tags_agree(
    earlier, later, made_by, pretend, prepared, tmp_path, capsys, monkeypatch
):
    asked = []

    def settle(entries, modalities, *folders):
        asked.append((len(entries), list(modalities), *folders))
        return Disputes(earlier, later)

    monkeypatch.setattr(bundle.chain.chain, "settle_disputes", settle)
    pretend(cam=GOOD, segmenter_1=GOOD)
    report = run_chain(ChainOptions(prepared, tmp_path, ("t1c", "flair")))
    folders = [tmp_path / name / "validation" / "masks" for name in ("cam", "segmenter_1")]
    assert asked == [(1, ["t1c", "flair"], *folders)]
    assert report["made_by"] == made_by
    assert report["stages"][1]["disputes"]["for_later"] == later / 100
    said = capsys.readouterr().out
    assert (
        f"of 100 held-out pixels that it marks differently from the stage before, the image gives it {later}.0%"
        in said
    )


@pytest.mark.parametrize(
    ("found", "made_by"),
    [
        ((20, 18), "segmenter_1"),
        ((20, 17), "cam"),
        ((20, 18, 16), "segmenter_1"),
        ((18, 20, 18), "segmenter_2"),
    ],
)
def test_a_round_may_lose_five_points_of_the_best_agreement_with_tags_and_not_more(
    found, made_by, pretend, prepared, tmp_path, monkeypatch
):
    told = iter(
        [TagAgreement(number, 20 - number, 20, 0) for number in found]
    )  # each is two and a half points
    monkeypatch.setattr(bundle.chain.chain, "tag_agreement", lambda *_: next(told))
    monkeypatch.setattr(bundle.chain.chain, "settle_disputes", lambda *_: Disputes(1, 1))
    pretend(cam=GOOD, segmenter_1=GOOD, segmenter_2=GOOD)
    assert run_chain(ChainOptions(prepared, tmp_path, rounds=len(found) - 1))["made_by"] == made_by


@pytest.mark.parametrize(("disputes", "kept"), [(Disputes(0, 0, 9), False), (Disputes(50, 50, 9), True)])
def test_where_the_image_can_judge_nothing_no_agreement_with_tags_may_be_lost(disputes, kept):
    before, less = TagAgreement(20, 0, 20, 0), TagAgreement(18, 2, 20, 0)
    assert is_kept(disputes, less, before) is kept
    assert is_kept(disputes, before, before)


def test_a_second_round_that_is_refused_leaves_the_first(pretend, prepared, tmp_path):
    pretend(cam=WORSE, segmenter_1=GOOD, segmenter_2=BAD)
    report = run_chain(ChainOptions(prepared, tmp_path, rounds=2))
    assert report["made_by"] == "segmenter_1"
    assert [row.get("accepted") for row in report["stages"]] == [None, True, False]


def test_without_rounds_the_cam_stage_makes_the_masks(pretend, prepared, tmp_path):
    ran = pretend(cam=GOOD)
    assert run_chain(ChainOptions(prepared, tmp_path, rounds=0))["made_by"] == "cam"
    assert not any("segmenter" in title for title in ran.titles)


def test_options_reach_the_stages_they_are_meant_for(pretend, prepared, tmp_path):
    ran = pretend(cam=GOOD, segmenter_1=GOOD)
    given = {
        "cam_configs": ("network_unet1", "method_er"),
        "cam_options": {"width": "2"},
        "cam_training": {"epochs": "3"},
        "segmenter_configs": ("network_selftrain3d",),
        "segmenter_options": {"width": "4"},
        "segmenter_training": {"epochs": "5"},
    }
    run_chain(ChainOptions(prepared, tmp_path, **given))
    for stage in ran.stages:
        own, training = stage.title.startswith("cam"), stage.workflow == "training"
        assert stage.options["width"] == ("2" if own else "4")
        assert stage.options.get("epochs") == (("3" if own else "5") if training else None)
        assert (stage.configs[1:] == ("network_unet1", "method_er")) == own
        assert (stage.configs[-1] == "network_selftrain3d") != own
    assert ran.stages[-1].configs == ("evaluate", "method_selftrain", "network_selftrain3d")


def test_two_stages_that_write_to_one_place_know_of_each_other(pretend, prepared, tmp_path):
    ran = pretend(cam=GOOD, segmenter_1=GOOD)
    run_chain(ChainOptions(prepared, tmp_path / "R"))
    by_segmenter = next(stage for stage in ran.stages if "test" in stage.title)
    for folder in ("cam/validation", "segmenter_1/validation"):
        for mask in (tmp_path / "R" / folder / "masks").iterdir():
            mask.unlink()
        (tmp_path / "R" / folder / "masks").rmdir()
    again = pretend(cam=GOOD)
    run_chain(ChainOptions(prepared, tmp_path / "R", rounds=0))
    by_cam = next(stage for stage in again.stages if "test" in stage.title)
    assert by_cam.note == by_segmenter.note
    assert by_cam.fingerprint() != by_segmenter.fingerprint()


@pytest.mark.parametrize(
    ("asked", "masks", "scored"),
    [(None, True, True), (None, False, False), (False, True, False), (True, False, True)],
)
def test_test_cases_are_scored_where_there_are_masks_unless_told_otherwise(
    asked, masks, scored, pretend, prepared, tmp_path
):
    if not masks:
        for mask in (prepared / "masks").glob("*.nii.gz"):
            mask.unlink()
    ran = pretend(cam=GOOD)
    run_chain(ChainOptions(prepared, tmp_path, rounds=0, evaluate=asked))
    assert ("cam: evaluation" in ran.titles) == scored


def test_other_tags_make_every_stage_stale_that_reads_them(pretend, prepared, tmp_path):
    ran = pretend(cam=GOOD)
    run_chain(ChainOptions(prepared, tmp_path, rounds=0))
    training, test = ran.stages[0], next(stage for stage in ran.stages if "test" in stage.title)
    before = training.fingerprint(), test.fingerprint()
    (prepared / "cases" / "001" / "case.json").touch()
    assert training.fingerprint() != before[0]
    assert test.fingerprint() == before[1]


def test_a_stages_own_cases_alone_are_predicted_without_a_warning(pretend, prepared, tmp_path):
    ran = pretend(cam=GOOD, segmenter_1=GOOD)
    run_chain(ChainOptions(prepared, tmp_path))
    silent = {stage.title for stage in ran.stages if KNOWN_CASES in stage.silenced}
    assert silent == {
        f"{name}: masks of {split} cases"
        for name in ("cam", "segmenter_1")
        for split in ("train", "validation")
    }


@pytest.mark.parametrize(
    "given",
    [
        {"cam_configs": ("method_volume_tags",), "segmenter_configs": ("network_selftrain3d",)},
        {"segmenter_configs": ("network_selftrain3d", "method_selftrain_volume_tags")},
    ],
)
def test_a_segmenter_of_volumes_is_refused_for_tags_of_volumes_before_any_training(
    given, pretend, prepared, tmp_path
):
    ran = pretend(cam=GOOD, segmenter_1=GOOD)
    with pytest.raises(ValueError, match="leave network_selftrain3d out of the segmenter's configs"):
        run_chain(ChainOptions(prepared, tmp_path, **given))
    assert not ran.stages


def test_without_a_segmenter_its_overlays_do_not_matter(pretend, prepared, tmp_path):
    pretend(cam=GOOD)
    given = ("network_selftrain3d", "method_selftrain_volume_tags")
    run_chain(ChainOptions(prepared, tmp_path, rounds=0, segmenter_configs=given))


def test_by_default_all_modalities_of_the_data_set_are_used_in_its_order(pretend, prepared, tmp_path):
    ran = pretend(cam=GOOD, segmenter_1=GOOD)
    run_chain(ChainOptions(prepared, tmp_path))
    assert {option(stage, "modalities") for stage in ran.stages} == {"flair,t1c"}


def untag(prepared: Path, case: str) -> None:
    file = prepared / "cases" / case / "case.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "tags": [-1] * 6}))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"modalities": ("flair", "t3")},
            "cam: training: split train: case 001: modality t3 was not prepared",
        ),
        (
            {"cam_options": {"widht": "2"}},
            "cam: training: config id 'widht' is unknown .* did you mean width",
        ),
        (
            {"cam_training": {"epoch": "2"}},
            "cam: training: config id 'epoch' is unknown .* did you mean epochs",
        ),
        ({"segmenter_training": {"epoch": "2"}}, "segmenter_1: training: config id 'epoch' is unknown"),
        (
            {"segmenter_configs": ("network_x",)},
            "segmenter_1: training: there is no overlay configs/network_x",
        ),
        ({"cam_configs": ("method_volume_tags",)}, "split train: no negative slice among the 2 cases"),
    ],
)
def test_what_would_fail_later_is_refused_before_anything_runs(given, message, pretend, prepared, tmp_path):
    ran = pretend(cam=GOOD, segmenter_1=GOOD)
    with pytest.raises(ValueError, match=message):
        run_chain(ChainOptions(prepared, tmp_path / "R", **given))
    assert not ran.stages
    assert not (tmp_path / "R").exists()


@pytest.mark.parametrize(("split", "cases"), [("train", ("001", "002")), ("validation", ("003",))])
def test_a_split_without_tags_is_refused_before_anything_runs(split, cases, pretend, prepared, tmp_path):
    ran = pretend(cam=GOOD)
    for case in cases:
        untag(prepared, case)
    with pytest.raises(ValueError, match=f"split {split}: no positive slice among the {len(cases)} cases"):
        run_chain(ChainOptions(prepared, tmp_path / "R"))
    assert not ran.stages


def new_scans(capsys) -> dict[str, str]:
    """Flags of the last command that was printed."""
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("new scans: "))
    words = shlex.split(line)[6:]
    return {flag.removeprefix("--"): value for flag, value in zip(words[::2], words[1::2], strict=True)}


def test_the_command_for_new_scans_of_a_layout_has_no_patterns(pretend, prepared, tmp_path, capsys):
    pretend(cam=GOOD)
    run_chain(ChainOptions(prepared, tmp_path, ("t1c", "flair"), rounds=0, cam_options={"width": "2"}))
    assert new_scans(capsys) == {
        "config_file": "configs/inference.yaml",
        "checkpoint": str(tmp_path / "cam" / "models" / "model.pt"),
        "modalities": "t1c,flair",
        "width": "2",
        "dataset_dir": "NEW",
        "output_dir": "OUT",
    }


def test_the_command_for_new_scans_has_the_patterns_of_preparing_without_the_masks(
    pretend, prepared, tmp_path, capsys
):
    pretend(cam=GOOD)
    given = {"flair": "{case}/F/", "t1c": "{case}/T/", "mask": "{case}/m.nii", "foreground": "{case}/f.nii"}
    file = prepared / "dataset.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "patterns": given}))
    run_chain(ChainOptions(prepared, tmp_path, rounds=0))
    del given["mask"]
    assert json.loads(new_scans(capsys)["patterns"]) == given


def test_the_command_for_new_scans_resamples_them_as_those_that_were_prepared(
    pretend, prepared, tmp_path, capsys
):
    pretend(cam=GOOD)
    given = {name: f"{{case}}/{name}.nii" for name in ("flair", "t1c", "t2", "adc")}
    file, reading = prepared / "dataset.json", {"reference": "t2", "affines_from_reference": True}
    file.write_text(json.dumps({**json.loads(file.read_text()), "patterns": given, **reading}))
    run_chain(ChainOptions(prepared, tmp_path, rounds=0))
    printed = new_scans(capsys)
    assert (printed["reference"], printed["affines_from_reference"]) == ("t2", "True")
    assert set(json.loads(printed["patterns"])) == {"flair", "t1c", "t2"}


def test_overlays_of_training_alone_reach_no_stage_that_reads_weights(pretend, prepared, tmp_path):
    ran = pretend(cam=GOOD, segmenter_1=GOOD)
    cam, segmenter = ("method_annealed_pooling", "network_unet1"), ("network_selftrain3d", "run_early_stop")
    run_chain(ChainOptions(prepared, tmp_path, cam_configs=cam, segmenter_configs=segmenter))
    for stage in ran.stages:
        given, kept = (cam, cam[1:]) if stage.title.startswith("cam") else (segmenter, segmenter[:1])
        asked = given if stage.workflow == "training" else kept
        assert tuple(stage.configs[-len(asked) :]) == asked
        assert not set(stage.configs) & (set(given) - set(asked))


def test_without_a_prepared_data_set_it_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a prepared data set"):
        run_chain(ChainOptions(tmp_path / "none", tmp_path / "R"))
