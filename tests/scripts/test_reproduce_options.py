"""What a person meets at the edges: folders, data and names that do not do."""

from __future__ import annotations

import re
import shutil

import pytest

from bundle.comparison import reproduction
from scripts import reproduce as script
from scripts.reproduce import reproduce
from tests.running import make_raw

SMOKE = {"scale": "smoke", "results": "none"}


def test_an_output_folder_that_is_a_file_is_refused(prepared, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="expected a folder to write to, found none"):
        reproduce("figure7", dataset_dir=str(prepared), output_dir=str(tmp_path / "file"), **SMOKE)


def test_a_raw_folder_with_two_modalities_is_planned_if_they_are_named(tmp_path, capsys):
    raw = make_raw(tmp_path / "raw")
    shutil.copytree(raw / "004", raw / "005")
    for scan in (raw / "005").iterdir():
        scan.rename(scan.with_name(scan.name.replace("004", "005")))
    where = {"dataset_dir": str(raw), "output_dir": str(tmp_path / "out")}
    with pytest.raises(
        ValueError, match=r"modality t1; drop it .* scripts.prepare_data prepares these scans"
    ):
        reproduce("table1", **where, **SMOKE, plan="True")
    assert reproduce("table1", **where, **SMOKE, plan="True", modalities="flair,t1c") == 0
    printed = capsys.readouterr().out
    assert "1 x proposed_flair-t1c" in printed
    assert "left out T1-T2: the data set has no t1, t2" in printed
    assert "4 runs, 0 of them with a result" in printed


def test_pairs_that_no_table_has_are_said_to_be(prepared, tmp_path):
    with pytest.raises(ValueError, match=re.escape("nothing to make (table1: none of --pairs stands in it)")):
        reproduce("table1", dataset_dir=str(prepared), output_dir=str(tmp_path), pairs="all", **SMOKE)


def test_ctrl_c_says_how_to_go_on(monkeypatch, tmp_path, capsys):
    def interrupt(wishes: reproduction.Wishes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(script, "reproduce_tables", interrupt)
    assert reproduce("table1", dataset_dir="D", output_dir=str(tmp_path)) == 130
    assert "interrupted; the same command goes on" in capsys.readouterr().err
