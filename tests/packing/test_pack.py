"""What is packed: the run's own settings, nothing of the packer's machine, the same bytes each time."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from monai.bundle import ConfigParser
from monai.data import load_net_with_metadata

from bundle.data import NormalizeByForegroundd, read_tags
from bundle.data.slices import foreground_statistics
from bundle.metrics.report import read_rows
from bundle.packing import PackOptions, demands, pack
from bundle.packing.archive import LARGE_BYTES, write_large_files
from bundle.packing.card import PHANTOM_LICENCE, data_licence, model_card, trained_on
from bundle.packing.described import FARTHEST, packed_metadata
from bundle.packing.packed_configs import packed_configs, read_config
from bundle.packing.run_folder import open_run
from bundle.packing.tasks import TASKS_FILE, find_task
from scripts import pack as command
from tests.contracts.test_imports import imported_modules
from tests.packing.conftest import NAME, SEEN
from tests.running import SIZE, TRAINING, merged

GIVEN = ("min_volume_mm3", "fill_holes", "precision", "width", "modalities")
KINDS = ["bundle_dir", "segmenter_dir"]


def read_network(run_dir: Path) -> torch.nn.Module:
    return ConfigParser(packed_configs(open_run(run_dir))["inference"]).get_parsed_content("network_def")


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / "configs" / f"{name}.json").read_text())


def test_the_same_run_gives_the_same_bytes_wherever_it_is_packed(trained, bundle_dir, tmp_path):
    first = trained.with_name("trained_packed") / f"{NAME}_v0.1.0.zip"
    second = pack(PackOptions(tmp_path / "elsewhere", trained, seen=SEEN)).archive
    assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(second.read_bytes()).digest()


@pytest.mark.parametrize("kind", KINDS)
def test_no_place_and_no_case_of_the_packer_is_packed(kind, dataset_dir, request):
    folder = request.getfixturevalue(kind)
    machine = str(dataset_dir.parent).encode()
    for path in folder.rglob("*"):
        if path.is_file():
            assert machine not in path.read_bytes(), path
    for config in ("train", "inference", "evaluate"):
        assert '"001"' not in json.dumps(read(folder, config))
    assert '"001"' not in (folder / "models" / "model.json").read_text()


def yaml_of(complete: str, segmenter: bool) -> dict:
    """The merged YAML with the tests' options, as `monai.bundle run` has it."""
    files = [complete, "method_selftrain"] if segmenter and complete == "evaluate" else [complete]
    given = {**SIZE, **(TRAINING | {"epochs": 1} if complete.startswith("train") else {})}
    if segmenter:
        del given["levels"]
    parser = merged(*files, **given)
    parser.parse()
    return parser.get()


@pytest.mark.parametrize(("kind", "stage"), [("bundle_dir", ""), ("segmenter_dir", "_selftrain")])
@pytest.mark.parametrize("name", ["train", "inference", "evaluate"])
def test_a_packed_config_reads_back_as_the_merged_yaml(kind, stage, name, request):
    parser = ConfigParser()
    parser.read_config(str(request.getfixturevalue(kind) / "configs" / f"{name}.json"))
    parser.parse()
    found = parser.get()
    wanted = yaml_of(name if name == "evaluate" else f"{name}{stage}", bool(stage))
    place = "training" if name == "train" else "run"
    wanted[place] = [*wanted.pop("initialize"), *wanted[place]]  # why: packed_configs
    if name != "train":
        wanted["checkpoint"] = "$os.path.join(@bundle_root, 'models', 'model.pt')"
    if name == "train":  # options of inference, which the run was given as well
        wanted |= {option: SIZE[option] for option in ("min_volume_mm3", "fill_holes")}
    assert json.loads(json.dumps(wanted)) == found


def test_inference_has_what_the_run_was_trained_with(bundle_dir):
    assert {name: read(bundle_dir, "inference")[name] for name in GIVEN} == {
        name: json.loads(json.dumps(SIZE[name])) for name in GIVEN
    }
    assert read(bundle_dir, "inference")["batch_size"] == 16  # the training's is no setting of the network


def test_an_overlay_of_inference_is_merged_last(trained):
    configs = packed_configs(open_run(trained), ["method_paper"])
    assert configs["inference"]["fusion"] == configs["evaluate"]["fusion"] == "maximum"
    assert configs["inference"]["width"] == SIZE["width"]
    assert configs["train"]["loss_terms"]["kd"]["weight"] == 0.0


@pytest.mark.parametrize(
    ("name", "near"),
    [("method_papr", "did you mean method_paper"), ("train", ""), ("tracking", ""), ("run_multi_gpu", "")],
)
def test_what_is_no_overlay_of_inference_is_refused(trained, name, near):
    with pytest.raises(ValueError, match=f"there is no overlay configs/{name}.yaml of inference; {near}"):
        packed_configs(open_run(trained), [name])


def test_ids_that_a_replaced_part_refers_to_come_along(trained):
    run = open_run(trained)
    deep = read_config("train", "network_deeplabv3") | {"imagenet_weights": "/home/me/resnet50.pth"}
    configs = packed_configs(replace(run, settings={**run.settings, **deep}))
    assert configs["inference"]["branch"]["weights"] == "@imagenet_weights"
    assert configs["inference"]["imagenet_weights"] is None


def test_a_run_of_several_processes_is_packed_as_one_of_a_single_one(trained):
    run = open_run(trained)
    alone = {**run.settings, **read_config("train"), "processes": 1}
    several = {**run.settings, **read_config("train", "run_multi_gpu"), "processes": 2}
    assert several["network"] != alone["network"]
    assert packed_configs(replace(run, settings=several)) == packed_configs(replace(run, settings=alone))


def test_the_file_that_a_run_started_from_stays_on_its_machine_and_what_it_learnt_there_must_be_said(trained):
    run = open_run(trained)
    alone = {**run.settings, **read_config("train")}
    started = {**run.settings, **read_config("train", "run_pretrained"), "pretrained": "/home/me/model.pt"}
    assert packed_configs(replace(run, settings=started)) == packed_configs(replace(run, settings=alone))
    begun = replace(run, settings=started, source="phantom")
    with pytest.raises(
        ValueError, match=r"started from the weights /home/me/model\.pt, .* say it by --trained_on"
    ):
        trained_on(begun)
    assert data_licence(begun, None) != PHANTOM_LICENCE


def test_several_gpus_start_as_one_does_and_add_their_own(bundle_dir):
    train, several = read(bundle_dir, "train"), read(bundle_dir, "multi_gpu_train")
    assert "initialize" not in several
    *started, run = train["training"]
    assert several["training"][: len(started)] == started
    assert several["training"][-1] == run
    assert len(several["training"]) == len(train["training"]) + len(
        read_config("run_multi_gpu")["initialize"]
    )


def test_weights_and_torchscript_are_those_of_the_run(trained, bundle_dir):
    state = torch.load(bundle_dir / "models" / "model.pt", weights_only=True)
    wanted = torch.load(trained / "models" / "model.pt", weights_only=True)
    assert {name: value.tolist() for name, value in state.items()} == {
        n: v.tolist() for n, v in wanted.items()
    }
    network, metadata, _ = load_net_with_metadata(str(bundle_dir / "models" / "model.ts"))
    assert (
        metadata["version"] == json.loads((bundle_dir / "configs" / "metadata.json").read_text())["version"]
    )
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name]), name


@pytest.mark.parametrize(
    ("kind", "channels"),
    [("bundle_dir", ["FLAIR evidence", "T1c evidence"]), ("segmenter_dir", ["all modalities log odds"])],
)
def test_the_metadata_tell_this_runs_channels(kind, channels, request):
    metadata = read(request.getfixturevalue(kind), "metadata")
    formats = metadata["network_data_format"]
    assert list(formats["inputs"]["image"]["channel_def"].values()) == ["FLAIR", "T1c"]
    assert list(formats["outputs"]["pred"]["channel_def"].values()) == channels
    assert formats["outputs"]["pred"]["num_channels"] == len(channels)
    assert metadata["data_source"] == SEEN


def test_the_score_of_the_run_is_told(trained, bundle_dir):
    dice = json.loads((trained / "summary.json").read_text())["maps"]["fused"]["dice"]["mean"]
    assert read(bundle_dir, "metadata")["eval_metrics"] == {"mean_dice": round(dice, 4)}
    assert f"mean Dice {dice:.3f}" in (bundle_dir / "docs" / "README.md").read_text()


def test_a_score_of_other_weights_or_of_cases_that_were_learnt_from_is_not_told(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "chain" / "cam")
    scored = open_run(run).scores
    assert scored["n"] > 0
    state = torch.load(run / "models" / "model.pt", weights_only=True)
    torch.save({name: value + 1 for name, value in state.items()}, run / "models" / "model.pt")
    assert open_run(run).scores == {}
    shutil.copy(trained / "models" / "model.pt", run / "models" / "model.pt")
    (tmp_path / "chain" / "evaluation").mkdir()
    for name in ("summary.json", "metrics.csv"):
        (run / name).rename(tmp_path / "chain" / "evaluation" / name)
    assert open_run(run).scores == scored  # as a chain has it
    table = tmp_path / "chain" / "evaluation" / "metrics.csv"
    (case,) = {row.case for row in read_rows(table)}
    table.write_text(table.read_text().replace(case, open_run(run).settings["training_cases"][0]))
    assert open_run(run).scores == {}


def test_overlays_of_another_network_are_refused_and_leave_nothing(trained, tmp_path):
    with pytest.raises(ValueError, match=r"--configs network_unet2: they make another network"):
        pack(PackOptions(tmp_path, trained, seen=SEEN, overlays=["network_unet2"]))
    assert list(tmp_path.iterdir()) == []


def test_what_the_run_learnt_from_is_as_training_noted_it_wherever_it_is_packed(
    trained, tmp_path, monkeypatch
):
    run = shutil.copytree(trained, tmp_path / "run")
    noted = json.loads((run / "models" / "model.json").read_text())
    assert noted["data_source"] == "brats"
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared" / "dataset.json").write_text('{"source": "phantom"}')
    (run / "models" / "model.json").write_text(json.dumps({**noted, "dataset_dir": "prepared"}))
    monkeypatch.chdir(tmp_path)
    assert trained_on(open_run(run)) == "2 cases of the packer's own data (source: brats)"


@pytest.mark.parametrize("kind", KINDS)
def test_the_card_names_only_what_the_bundle_has(kind, request):
    folder = request.getfixturevalue(kind)
    card = (folder / "docs" / "README.md").read_text()
    assert card.startswith(f"Weights trained on {SEEN}.\n")
    assert not re.search(r"\]\((?!https?://|#)", card), "a link to a document that is not packed"
    files = set(re.findall(r"configs/\w+\.\w+", card))
    assert files
    own = re.sub(r"the project's `?[\w.]+`?", "", card)
    scripts = set(re.findall(r"scripts\.(\w+)", own))
    assert scripts == {"prepare_data", "verify"}
    for name in (*files, *(f"scripts/{script}.py" for script in scripts)):
        assert (folder / name).is_file(), name
    assert not re.search(r"\w\.md\b|\.yaml|`make ", own)


@pytest.mark.parametrize("kind", KINDS)
def test_the_cards_commands_make_what_they_need_in_turn(kind, request):
    folder = request.getfixturevalue(kind)
    card, metadata = (folder / "docs" / "README.md").read_text(), read(folder, "metadata")
    lines = card.replace("\\\n", "").splitlines()
    pinned = dict(
        word.split("==") for word in next(n for n in lines if n.startswith("pip install")).split()[2:]
    )
    own = {
        n: metadata[f"{m}_version"]
        for n, m in {"monai": "monai", "torch": "pytorch", "numpy": "numpy"}.items()
    }
    assert pinned == own | metadata["required_packages_version"]
    made = card.index("-m scripts.prepare_data brats")
    assert (
        made < card.index("configs/inference.json --dataset_dir SCANS") < card.index("configs/evaluate.json")
    )
    assert ("`MAPS` holds a map of each training case" in card) == ("--labels_dir MAPS" in card)
    assert ("--labels_dir MAPS" in card) == (kind == "segmenter_dir")


def test_the_cards_tags_can_be_read(bundle_dir, tmp_path):
    (example,) = re.findall(r"```csv\n(.*?)```", (bundle_dir / "docs" / "README.md").read_text(), re.DOTALL)
    (tmp_path / "tags.csv").write_text(example)
    assert read_tags(tmp_path / "tags.csv").cases


@pytest.mark.parametrize(
    ("kind", "said", "others"),
    [
        (
            "bundle_dir",
            (
                "One `CamUNet` per modality",
                "`RankPooling`",
                "lowest `tag_cross_entropy`",
                "1 epochs of all slices",
            ),
            ("BasicUNet", "The last epoch", "early_fusion"),
        ),
        (
            "segmenter_dir",
            (
                "One `BasicUNet` for all modalities, some dropped at random in training, "
                "and a smaller one for each alone",
                "`TopSharePooling`",
                "The last epoch is kept",
                "Maps: early_fusion",
            ),
            ("CamUNet", "RankPooling", "lowest"),
        ),
    ],
)
def test_the_card_tells_this_runs_training_and_maps(kind, said, others, request):
    card = (request.getfixturevalue(kind) / "docs" / "README.md").read_text()
    assert [words for words in said if words not in card] == []
    assert [words for words in others if words in card] == []


@pytest.mark.parametrize("kind", ["trained", "segmenter"])
def test_the_card_of_a_run_that_saw_masks_says_so(kind, request):
    run = open_run(request.getfixturevalue(kind))
    taught = replace(run, settings={**run.settings, "training_slices": "bundle.data.MaskSliceDataset"})
    metadata = packed_metadata(taught, {}, read_network(run.folder), SEEN)
    card = " ".join(model_card(taught, NAME, SEEN, metadata).split())
    assert "masks: an upper bound" in card
    assert "**Labels**: masks" in card
    assert metadata["description"] == "An upper bound, trained on masks."
    for untrue in ("no mask", "classifiers of slice tags", "MAPS"):
        assert untrue not in card


def test_the_card_of_a_run_with_a_term_switched_off_leaves_it_out(trained):
    run = open_run(trained)
    jitter = {"_target_": "bundle.data.IntensityJitter"}
    terms = {**run.settings["loss_terms"], "er": None}
    without = replace(run, settings={**run.settings, "loss_terms": terms, "augmentation": jitter})
    card = model_card(without, NAME, SEEN, packed_metadata(without, {}, read_network(trained), SEEN))
    assert "classification (1.0), cmer" in card
    assert "intensities changed by `IntensityJitter`" in card


def test_the_card_of_a_network_of_patches_tells_how_each_is_moved(trained):
    run = open_run(trained)
    flips = [{"_target_": "RandFlipd", "spatial_axis": axis} for axis in range(3)]
    patches = {"patch_size": [8, 8, 8], "warps": None}
    geometry = {"_target_": "Compose", "transforms": [*flips, {"_target_": "RandAffined"}]}
    three = replace(run, settings={**run.settings, **patches, "geometry": geometry})
    card = model_card(three, NAME, SEEN, packed_metadata(three, {}, read_network(trained), SEEN))
    assert "Patches of 8 x 8 x 8" in card
    assert "One view a step, moved at random by `RandFlipd`, `RandAffined`." in card


@pytest.mark.parametrize(("kind", "channels"), [("trained", 2), ("segmenter", 1)])
def test_the_network_takes_the_sides_that_are_told(kind, channels, request):
    network = read_network(request.getfixturevalue(kind)).eval()
    folder = request.getfixturevalue("bundle_dir" if kind == "trained" else "segmenter_dir")
    formats = read(folder, "metadata")["network_data_format"]
    assert formats["inputs"]["image"]["spatial_shape"] == ["32*n", "32*n"]
    assert formats["outputs"]["pred"]["spatial_shape"] == ["32*n", "32*n"]
    card = (folder / "docs" / "README.md").read_text()
    assert "(B, 2, H, W), normalised, within -14.2 to 14.2; each side a multiple of 32 pixels" in card
    assert f"(B, {channels}, H, W)" in card
    for side in (32, 64, 96):
        with torch.no_grad():
            assert network(torch.zeros(1, 2, side, side)).shape == (1, channels, side, side)


@pytest.mark.parametrize("voxels", [1, 2, 10, 199, 200, 201, 202, 400, 1000])
def test_no_clipped_intensity_lies_beyond_the_range_that_is_told(voxels):
    highest = 0.0
    for bright in range(1, voxels // 20 + 2):
        image = torch.zeros(1, 1, voxels)
        image[..., :bright] = 1.0e4
        inside = torch.ones(1, voxels, dtype=torch.bool)
        statistics = torch.from_numpy(foreground_statistics(image.numpy(), inside.numpy()))
        data = {"image": image, "statistics": statistics, "foreground": inside[None]}
        highest = max(highest, float(NormalizeByForegroundd("image")(data)["image"].abs().max()))
    assert highest <= FARTHEST
    assert voxels != 400 or highest > 10  # so that the range is not far too wide


def test_slices_z_scored_by_themselves_have_another_range(trained):
    run, network = open_run(trained), read_network(trained)
    normalised = {"slice_normalization": {"_target_": "bundle.data.SliceNormalization"}}
    alone = replace(run, settings={**run.settings, **normalised})
    metadata = packed_metadata(alone, {}, network, SEEN)
    assert metadata["network_data_format"]["inputs"]["image"]["value_range"] == [-32.0, 32.0]


@pytest.mark.parametrize(
    "changed",
    [
        {"preprocessing": {"_target_": "Compose", "transforms": [{"_target_": "ScaleIntensityd"}]}},
        {"slice_normalization": {"_target_": "my.Normalisation"}},
    ],
)
def test_no_range_is_claimed_of_a_normalisation_of_the_packers_own(trained, changed):
    run, network = open_run(trained), read_network(trained)
    own = replace(run, settings={**run.settings, **changed})
    metadata = packed_metadata(own, {}, network, SEEN)
    assert metadata["network_data_format"]["inputs"]["image"]["value_range"] == []
    card = model_card(own, NAME, SEEN, metadata)
    assert "intensities normalised as `configs/train.json` says" in card
    assert "float32 (B, 2, H, W), normalised, without a stated range" in card
    assert "clipped" not in card.split("## Training configuration")[1].split("##")[0]


@pytest.mark.parametrize("kind", KINDS)
def test_no_packed_code_imports_what_is_not_packed(kind, request):
    folder = request.getfixturevalue(kind)
    for path in [*(folder / "bundle").rglob("*.py"), *(folder / "scripts").rglob("*.py")]:
        package = ".".join(path.relative_to(folder).parts[:-1])
        for module in imported_modules(path.read_text(), package):
            first, *rest = module.split(".")
            if first in ("bundle", "scripts") and rest:
                place = folder / first / rest[0]
                assert place.is_dir() or place.with_suffix(".py").is_file(), (path, module)


def test_the_phantom_tells_itself_and_other_data_want_words(trained):
    run = open_run(trained)
    assert trained_on(run) == "2 cases of the packer's own data (source: brats)"
    assert trained_on(replace(run, source="phantom")).startswith("a synthetic phantom of 2 training subjects")
    assert data_licence(replace(run, source="phantom"), None) == PHANTOM_LICENCE
    assert "ask whoever packed" in data_licence(run, None)
    with pytest.raises(ValueError, match="say it by --trained_on"):
        trained_on(replace(run, source=""))


def test_large_files_are_listed_with_their_checksums(tmp_path):
    assert write_large_files(tmp_path) == []
    content = b"0" * (LARGE_BYTES + 1)
    (tmp_path / "model.pt").write_bytes(content)
    assert write_large_files(tmp_path) == [tmp_path / "model.pt"]
    (entry,) = yaml.safe_load((tmp_path / "large_files.yml").read_text())["large_files"]
    assert entry == {
        "path": "model.pt",
        "url": "",
        "hash_val": hashlib.sha256(content).hexdigest(),
        "hash_type": "sha256",
    }


def test_faults_of_the_run_are_named(trained, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected models/model.pt, which a training writes"):
        open_run(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model.json").write_text("{}")
    torch.save({"network": {}, "optimizer": {}}, tmp_path / "models" / "model.pt")
    with pytest.raises(ValueError, match="holds network, optimizer …, expected a flat state dict"):
        open_run(tmp_path)
    torch.save({"weight": torch.zeros(1)}, tmp_path / "models" / "model.pt")
    with pytest.raises(ValueError, match="lacks the cases that were trained on"):
        open_run(tmp_path)


def test_what_cannot_be_packed_is_refused_before_anything_is_written(trained, tmp_path):
    with pytest.raises(ValueError, match=r"task \'glioma\' is not configured; .*tasks\.yaml"):
        pack(PackOptions(tmp_path, trained, name="glioma"))
    with pytest.raises(FileNotFoundError, match="--data_license"):
        pack(PackOptions(tmp_path, trained, seen=SEEN, licence=tmp_path / "none.txt"))
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="expected nothing or a packed bundle"):
        pack(PackOptions(tmp_path, trained, seen=SEEN))
    assert (tmp_path / NAME / "thesis.txt").is_file()


def test_another_task_is_packed_by_its_name(trained):
    run, network = open_run(trained), read_network(trained)
    task = find_task("prostate_mri_weakly_supervised_segmentation")
    assert packed_metadata(run, task, network, SEEN)["task"] == task["task"]
    assert "prostate" in task["task"]
    assert all(re.fullmatch(demands.NAME, name) for name in yaml.safe_load(TASKS_FILE.read_text()))


def test_without_a_run_the_demo_is_packed_and_made_if_absent(monkeypatch, tmp_path):
    started, asked = [], []
    monkeypatch.setattr(command, "DEMO_RUN", tmp_path / "demo" / "run")
    monkeypatch.setattr(
        command.subprocess,
        "run",
        lambda words, **_: started.append(words) or type("Done", (), {"returncode": 0}),
    )
    monkeypatch.setattr(
        command, "pack", lambda options: asked.append(options) or (_ for _ in ()).throw(KeyboardInterrupt)
    )
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            command.pack_bundle(output_dir=str(tmp_path / "O"))
        (tmp_path / "demo" / "run").mkdir(parents=True, exist_ok=True)
        (tmp_path / "demo" / "run" / "summary.json").write_text("{}")
    assert [words[:2] for words in started] == [["make", "demo"]]
    assert {options.run_dir for options in asked} == {tmp_path / "demo" / "run"}
