"""The chain's flags become options; flags in quotes are those of its stages."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bundle.chain import ChainOptions
from scripts import run_chain
from scripts.command_line import _joined, run


@pytest.fixture
def asked(monkeypatch) -> list[ChainOptions]:
    """What the chain was asked for."""
    calls: list[ChainOptions] = []
    monkeypatch.setattr(run_chain, "run_chain", calls.append)
    return calls


def test_two_folders_suffice(asked):
    assert run_chain.chain(dataset_dir="D", output_dir="R") == 0
    assert asked == [ChainOptions(Path("D"), Path("R"))]


def test_flags_become_options(asked):
    run_chain.chain(
        dataset_dir="D",
        output_dir="R",
        modalities="flair,t1c",
        seed="3",
        splits="splits_fold0.json",
        rounds="2",
        cam_configs="network_unet1,method_er",
        cam_options="--width 2 --save_also 'cams, masks'",
        cam_training="--epochs 3",
        segmenter_configs="network_selftrain3d,my_overlay",
        segmenter_options="--width 4",
        segmenter_training="--loss_terms#self_training#weight 2",
        evaluate="no",
    )
    assert asked == [
        ChainOptions(
            Path("D"),
            Path("R"),
            ["flair", "t1c"],
            seed=3,
            splits="splits_fold0.json",
            rounds=2,
            cam_configs=["network_unet1", "method_er"],
            cam_options={"width": "2", "save_also": "cams, masks"},
            cam_training={"epochs": "3"},
            segmenter_configs=["network_selftrain3d", "my_overlay"],
            segmenter_options={"width": "4"},
            segmenter_training={"loss_terms#self_training#weight": "2"},
            evaluate=False,
        )
    ]


def test_quoted_flags_are_one_value_of_the_flag_before():
    given = ["--cam_options", "--width 2 --levels 1", "--seed", "0", "--rounds=1", "--help"]
    assert _joined(given) == ["--cam_options=--width 2 --levels 1", "--seed", "0", "--rounds=1", "--help"]
    assert _joined(["--cam_options=--width 2", "--seed", "0"]) == ["--cam_options=--width 2", "--seed", "0"]


@pytest.mark.parametrize("given", ["--width", "width 2", "--width 2 3", "--width 2 --levels"])
def test_flags_in_quotes_come_in_pairs(given, asked):
    with pytest.raises(ValueError, match=r"--cam_options is .* expected pairs such as"):
        run_chain.chain(dataset_dir="D", output_dir="R", cam_options=given)
    assert not asked


@pytest.mark.parametrize("given", [{"dataset_dir": "D"}, {"output_dir": "R"}, {}])
def test_both_folders_are_needed(given):
    with pytest.raises(ValueError, match="--dataset_dir and --output_dir are both needed"):
        run_chain.chain(**given)


def test_evaluate_is_yes_or_no():
    with pytest.raises(ValueError, match="--evaluate is 'perhaps', expected yes or no"):
        run_chain.chain(dataset_dir="D", output_dir="R", evaluate="perhaps")


@pytest.mark.parametrize("rounds", ["-1", "some"])
def test_rounds_are_counted(rounds):
    with pytest.raises(ValueError, match="--rounds is"):
        run_chain.chain(dataset_dir="D", output_dir="R", rounds=rounds)


def test_an_unknown_flag_is_refused_and_shows_the_quotes_that_a_config_id_needs(monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["run_chain", "--dataset_dir", "D", "--output_dir", "R", "--epochs", "3"]
    )
    with pytest.raises(SystemExit):
        run(run_chain.chain, quoting=("cam_training", "segmenter_training"))
    told = capsys.readouterr().err
    assert told.startswith(
        'error: flag --epochs is unknown; a config id goes in quotes: --cam_training "--epochs 3" or '
        '--segmenter_training "--epochs 3"; known are dataset_dir, output_dir, '
    )


def test_an_interruption_says_how_to_go_on(monkeypatch, capsys):
    def interrupt(options: ChainOptions) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_chain, "run_chain", interrupt)
    assert run_chain.chain(dataset_dir="D", output_dir="R") == 130
    assert "the same command goes on" in capsys.readouterr().err
