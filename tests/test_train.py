"""Training: from a table of runs to a store, and from a store to a bundle."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from pileupcnn import networks
from pileupcnn import train as training
from pileupcnn.augment import Augmentation
from pileupcnn.cli.train import run_train
from pileupcnn.cli.train import train as command
from pileupcnn.datasets import TrainingRun, draw_store, read_runs
from pileupcnn.errors import InputError, OptionError
from pileupcnn.examples import ExampleSettings
from pileupcnn.figures import figures_of
from pileupcnn.model import Bundle, load_bundle
from pileupcnn.pileup import OWN_CHANNELS, Channel, PileupSpec, number_pixels
from pileupcnn.small_model import INPUTS, DenseNetwork, pixels
from pileupcnn.store import (
    PackedStore,
    RunWriter,
    StoredRun,
    pack,
    split_images,
    write_index,
)
from pileupcnn.train import FitSettings, fit
from pileupcnn.train_small import SmallFitSettings

SETTINGS = ExampleSettings(pileup=PileupSpec(height=40, width=21))
SPEC = SETTINGS.pileup
FIT = FitSettings(
    architecture="tiny", epochs=3, batch_size=32, learning_rate=0.05, ema_momentum=0.5
)


def tiny(images: Any, numbers: Any, dropout: float) -> Any:
    """An architecture that is traced in no time."""
    import keras

    def identity(shape: tuple[int, ...], dtype: Any = None) -> Any:
        return np.eye(shape[-1], dtype=dtype).reshape(shape)

    same = keras.layers.Conv2D(
        images.shape[-1], 1, use_bias=False, kernel_initializer=identity, name="tiny_same"
    )(images)
    scaled = keras.layers.BatchNormalization(momentum=0.5, name="tiny_scaled")(same)
    pooled = keras.layers.GlobalMaxPooling2D(name="tiny_pool")(scaled)
    return keras.layers.Dropout(dropout, name="tiny_dropout")(pooled)


@pytest.fixture(scope="module", autouse=True)
def _tiny_architecture() -> Iterator[None]:
    networks.start_tensorflow("cpu", intra_op=1, inter_op=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(networks.ARCHITECTURES, "tiny", tiny)
        yield


@pytest.fixture
def run(testdata: Path) -> TrainingRun:
    return TrainingRun(
        reads=testdata / "sample.bam",
        ref=testdata / "ref.fa",
        truth=testdata / "truth.vcf.gz",
        confident=testdata / "confident.bed",
        regions="ctg1:1-12,000 ctg2:3,001-8,000",
    )


def table(path: Path, *lines: str) -> Path:
    path.write_text("".join(line.replace(" ", "\t") + "\n" for line in lines))
    return path


class TestTable:
    def test_columns_and_defaults(self, tmp_path: Path) -> None:
        path = table(
            tmp_path / "runs.tsv",
            "reads ref truth confident weight split",
            "a.bam r.fa t.vcf.gz c.bed 2.5 validation",
            f"{tmp_path}/b.bam r.fa t.vcf.gz c.bed",
        )
        first, second = read_runs(path)
        assert first == TrainingRun(
            reads=tmp_path / "a.bam",
            ref=tmp_path / "r.fa",
            truth=tmp_path / "t.vcf.gz",
            confident=tmp_path / "c.bed",
            weight=2.5,
            split="validation",
        )
        assert (second.reads, second.weight, second.split) == (tmp_path / "b.bam", 1, "")

    @pytest.mark.parametrize(
        ("lines", "message"),
        [
            (["reads ref truth", "a b c"], "lacks 'confident'"),
            (["reads ref truth confident depth", "a b c d 3"], "unknown 'depth'"),
            (["reads ref truth confident"], "no runs"),
            (["reads ref truth confident", "a b c"], "line 2: a path is missing"),
            (["reads ref truth confident", "a b c d e"], "line 2: .* too many"),
            (["reads ref truth confident weight", "a b c d many"], "line 2: could not convert"),
            (["reads ref truth confident weight", "a b c d -1"], "weight -1 is not between"),
            (["reads ref truth confident split", "a b c d test"], "'test' is neither"),
        ],
    )
    def test_wrong_tables(self, tmp_path: Path, lines: list[str], message: str) -> None:
        with pytest.raises(InputError, match=message):
            read_runs(table(tmp_path / "runs.tsv", *lines))

    def test_missing_files(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="check --data"):
            read_runs(tmp_path / "none.tsv")
        (run,) = read_runs(table(tmp_path / "t", "reads ref truth confident", "a b c d"))
        with pytest.raises(InputError, match="correct the column 'reads'"):
            draw_store([run], tmp_path / "store", SETTINGS)


class TestDrawing:
    def test_any_number_of_threads_draws_the_same(self, run: TrainingRun, tmp_path: Path) -> None:
        one = draw_store([run], tmp_path / "one", SETTINGS)
        draw_store([run], tmp_path / "two", SETTINGS, threads=2)
        (directory,) = {entry.directory for entry in one.runs}
        files = sorted((tmp_path / "one" / directory).iterdir())
        assert len(files) == 9
        for file in files:
            assert file.read_bytes() == (tmp_path / "two" / directory / file.name).read_bytes()

    def test_labels_follow_the_truth(self, run: TrainingRun, tmp_path: Path) -> None:
        store = draw_store([run], tmp_path, SETTINGS)
        counts = store.descriptions[0]["labels"]
        assert counts == np.bincount(store.label, minlength=3).tolist()
        assert counts[1] > counts[2] > 0
        assert store.start.max() < 12_000
        images = store.gather(np.arange(len(store)))
        assert images[:, : SPEC.reference_rows].any(axis=(1, 2, 3)).all()
        # reads that support the shown alleles are bright in the middle column
        supporting = (images[:, SPEC.reference_rows :, SPEC.width // 2, 4] == 254).sum(axis=1)
        filled = store.length - SPEC.reference_rows
        share = [np.median((supporting / filled)[store.label == label]) for label in (1, 2)]
        assert 0.3 < share[0] < 0.7
        assert share[1] > 0.9

    def test_whole_runs_are_kept_and_changed_ones_drawn_again(
        self, run: TrainingRun, tmp_path: Path
    ) -> None:
        confident = tmp_path / "confident.bed"
        shutil.copy(run.confident, confident)
        run = dataclasses.replace(run, confident=confident, regions="ctg2")
        other = dataclasses.replace(run, regions="ctg1:1-5,000", weight=3)
        first = draw_store([run], tmp_path / "store", SETTINGS)
        directory = tmp_path / "store" / first.runs[0].directory
        stamp = (directory / "rows.npy").stat().st_mtime_ns
        both = draw_store([other, run], tmp_path / "store", SETTINGS)
        assert (directory / "rows.npy").stat().st_mtime_ns == stamp
        assert both.runs[1] == first.runs[0]
        assert both.runs[0].weight == 3
        os.utime(confident, ns=(0, 0))
        changed = draw_store([run], tmp_path / "store", SETTINGS)
        assert changed.runs != first.runs
        assert np.array_equal(changed.label, first.label)

    def test_labels_by_position_are_another_store(self, run: TrainingRun, tmp_path: Path) -> None:
        """The labels are the same: this truth is written as the candidates are."""
        both = [
            draw_store([run], tmp_path, SETTINGS, scheme=scheme)
            for scheme in ("haplotype", "positional")
        ]
        assert both[0].runs != both[1].runs
        assert np.array_equal(both[0].start, both[1].start)
        assert np.array_equal(both[0].label, both[1].label)

    def test_a_failure_leaves_no_run(self, run: TrainingRun, tmp_path: Path) -> None:
        broken = tmp_path / "truth.vcf.gz"
        shutil.copy(run.truth, broken)
        with pytest.raises(InputError, match="no index"):
            draw_store([dataclasses.replace(run, truth=broken)], tmp_path / "store", SETTINGS)
        assert not list((tmp_path / "store").iterdir())

    def test_one_run_twice(self, run: TrainingRun, tmp_path: Path) -> None:
        """Else the images that validate would have been trained on."""
        twice = [dataclasses.replace(run, split=split) for split in ("train", "validation")]
        with pytest.raises(InputError, match=r"runs 1 and 2 .*testdata/sample\.bam"):
            draw_store(twice, tmp_path / "store", SETTINGS)

    def test_no_common_contig(self, run: TrainingRun, tmp_path: Path) -> None:
        confident = tmp_path / "c.bed"
        confident.write_text("chrZ\t0\t100\n")
        with pytest.raises(InputError, match="compare the contig names"):
            draw_store([dataclasses.replace(run, confident=confident)], tmp_path / "s", SETTINGS)


def make_store(
    path: Path,
    n: int = 200,
    labels: tuple[int, ...] = (0, 1, 2),
    *,
    with_features: bool = False,
    settings: ExampleSettings = SETTINGS,
) -> PackedStore:
    """Images whose brightness is their label, in two runs."""
    spec = settings.pileup
    for name, seed in (("one", 1), ("two", 2)):
        rng = np.random.default_rng(seed)
        label = rng.choice(np.array(labels, np.int8), n)
        images = rng.integers(0, 60, (n, *spec.shape), dtype=np.uint8)
        images += (label * 80).astype(np.uint8)[:, None, None, None]
        for image, rows in zip(images, rng.integers(8, spec.height, n), strict=True):
            image[rows:] = 0
        features = rng.integers(0, 5, (n, len(INPUTS)), np.int32)
        features += 20 * label[:, None]
        for shown in number_pixels(images, spec):
            shown[:] = 0
            shown[:, :, : len(INPUTS)] = pixels(features)[:, None]
        with RunWriter(path, name, settings, ["chr1"], f"{name}.bam") as writer:
            writer.add(
                pack(
                    images,
                    label=label,
                    type=rng.integers(1, 3, n).astype(np.uint8),
                    contig=np.zeros(n, np.int32),
                    start=np.arange(n),
                    alts=np.zeros((n, 2), np.int8),
                    **({"features": features} if with_features else {}),
                )
            )
    write_index(path, [StoredRun("one", "train"), StoredRun("two", "validation")])
    return PackedStore(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PackedStore:
    return make_store(tmp_path_factory.mktemp("store"))


class TestSplit:
    def test_runs_say_which(self, store: PackedStore) -> None:
        train, validate = split_images(store)
        assert np.array_equal(train, np.arange(200))
        assert np.array_equal(validate, np.arange(200, 400))

    def test_else_the_last_tenth_of_each(self, tmp_path: Path) -> None:
        make_store(tmp_path, 40)
        write_index(tmp_path, [StoredRun("one"), StoredRun("two", "train")])
        train, validate = split_images(PackedStore(tmp_path))
        assert validate.tolist() == [36, 37, 38, 39]
        assert len(train) == 76


class TestFit:
    def test_it_learns_and_describes_itself(self, store: PackedStore, tmp_path: Path) -> None:
        bundle = load_bundle(fit(store, tmp_path, FIT, name="bright"))
        assert bundle.name == "bright"
        assert bundle.settings == SETTINGS
        history = bundle.training["history"]
        assert history[-1]["loss"] < history[0]["loss"]
        assert history[-1]["accuracy"] > 0.9
        wrong = sum(sum(kind.values()) for kind in history[-1]["errors"].values())
        assert wrong == round(200 * (1 - history[-1]["accuracy"]))
        assert [run["name"] for run in bundle.training["runs"]] == ["one.bam", "two.bam"]
        assert sum(bundle.training["training_images"].values()) == 200
        # calibration changes how sure it is, and little of what it says
        images, held_out = store.gather(np.arange(200, 400)), store.label[200:]
        probabilities = bundle.network().predict_on_batch(images)
        likelihood = probabilities[np.arange(200), held_out]
        assert -np.log(likelihood).mean() <= history[-1]["loss"] + 1e-6
        assert bundle.training["calibration"]["slopes"][0] > 0

    def test_a_killed_training_resumes_exactly(
        self, store: PackedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = dataclasses.replace(FIT, augmentation=Augmentation(0.5, 0.5, 0.5))
        straight = load_bundle(fit(store, tmp_path / "straight", settings))
        run_epoch = training._Trainer.run_epoch
        epochs: list[int] = []

        def killed(trainer: Any, epoch: int) -> float:
            epochs.append(epoch)
            if epochs == [0, 1]:
                raise KeyboardInterrupt
            return run_epoch(trainer, epoch)

        monkeypatch.setattr(training._Trainer, "run_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            fit(store, tmp_path / "killed", settings)
        resumed = load_bundle(fit(store, tmp_path / "killed", settings))
        assert epochs == [0, 1, 1, 2]
        assert resumed.sha256 == straight.sha256
        assert resumed.training == straight.training
        # a finished one does nothing more
        fit(store, tmp_path / "killed", settings)
        assert epochs == [0, 1, 1, 2]
        with pytest.raises(OptionError, match="other options or data"):
            fit(store, tmp_path / "killed", FIT)

    def test_damaged_state_is_named(self, store: PackedStore, tmp_path: Path) -> None:
        (tmp_path / "checkpoint.npz").write_bytes(b"PK\x03\x04half")
        with pytest.raises(InputError, match="remove it to start again"):
            fit(store, tmp_path, FIT)

    def test_it_stops_early_and_keeps_the_best(
        self, store: PackedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        losses = iter([0.5, 0.3, 0.4, 0.6])
        errors: dict[str, dict[str, int]] = {"SNP": {}, "indel": {}}
        monkeypatch.setattr(
            training,
            "figures_of",
            lambda *_: {"loss": next(losses), "accuracy": 0.5, "errors": errors},
        )
        settings = dataclasses.replace(FIT, epochs=10, patience=2)
        bundle = load_bundle(fit(store, tmp_path, settings))
        assert bundle.training["best_epoch"] == 2
        assert next(losses, None) is None

    def test_divergence_is_named(
        self, store: PackedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        figures = {"loss": float("nan"), "accuracy": 0.0, "errors": {}}
        monkeypatch.setattr(training, "figures_of", lambda *_: dict(figures))
        # an earlier training's model is not this one's
        (tmp_path / "bundle").mkdir()
        with pytest.raises(OptionError, match="smaller --learning-rate"):
            fit(store, tmp_path, dataclasses.replace(FIT, epochs=1))

    def test_a_model_that_is_gone_is_named(self, store: PackedStore, tmp_path: Path) -> None:
        settings = dataclasses.replace(FIT, epochs=1)
        bundle = fit(store, tmp_path, settings)
        with pytest.raises(OptionError, match="other options"):
            fit(store, tmp_path, settings, name="another")
        shutil.rmtree(bundle)
        with pytest.raises(InputError, match=r"is gone.*remove .*checkpoint\.npz"):
            fit(store, tmp_path, settings)

    def test_one_class_is_nothing_to_learn(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="all of one class"):
            fit(make_store(tmp_path, 20, labels=(0,)), tmp_path / "out", FIT)

    def test_weights_repeat_images(self, tmp_path: Path) -> None:
        make_store(tmp_path, 64)
        write_index(tmp_path, [StoredRun("one", "train", 2.5), StoredRun("two", "validation")])
        store = PackedStore(tmp_path)
        seen: list[np.ndarray] = []
        batches = store.batches

        def spy(images: np.ndarray, size: int) -> Any:
            seen.append(images)
            return batches(images, size)

        store.batches = spy  # type: ignore[method-assign]
        fit(store, tmp_path / "out", dataclasses.replace(FIT, epochs=1))
        counts = np.bincount(seen[0], minlength=64)
        assert counts.sum() == 160
        assert set(counts.tolist()) <= {1, 2, 3, 4}

    def test_plain_images_are_shown_less_and_count_more(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As if the small model were sure of every second image of those that train."""
        store = make_store(tmp_path, 400, with_features=True)
        plain = np.arange(400) % 2 == 0
        monkeypatch.setattr(training, "_small_network", lambda *_: object())
        monkeypatch.setattr(training, "plain_images", lambda *_: plain)
        monkeypatch.setattr(training, "_add_small_model", lambda *_: None)
        trainers: list[Any] = []
        run_epoch = training._Trainer.run_epoch
        shown: list[np.ndarray] = []
        batches = store.batches

        def spy(images: np.ndarray, size: int) -> Any:
            shown.append(images)
            return batches(images, size)

        def spied(trainer: Any, epoch: int) -> float:
            trainers.append(trainer)
            return run_epoch(trainer, epoch)

        store.batches = spy  # type: ignore[method-assign]
        monkeypatch.setattr(training._Trainer, "run_epoch", spied)
        settings = dataclasses.replace(FIT, epochs=1, batch_size=8, plain_share=0.25)
        fit(store, tmp_path / "out", settings)
        seen = np.bincount(shown[0], minlength=400)[:400]
        assert 30 <= seen[plain].sum() <= 70
        assert (seen[~plain] >= 1).mean() > 0.95
        counts = trainers[0]._counts[:400]
        assert np.allclose(counts[plain], 4 * counts[~plain][0])
        # an epoch's weights are in the mean 1, and plain images weigh as much as the others
        weighed = counts * seen
        assert weighed.sum() / seen.sum() == pytest.approx(1, abs=0.15)
        assert weighed[plain].sum() == pytest.approx(weighed[~plain].sum(), rel=0.3)

    @pytest.mark.parametrize("moment", ["run_epoch", "save", "_add_small_model"])
    def test_a_killed_training_keeps_its_small_model(
        self, moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = make_store(tmp_path / "store", with_features=True)
        small = SmallFitSettings(epochs=2)
        settings = dataclasses.replace(FIT, small_model=small, plain_share=0.5)
        straight = load_bundle(fit(store, tmp_path / "straight", settings))
        assert straight.small_model is not None
        holder = training if moment.startswith("_") else training._Trainer
        with monkeypatch.context() as patch:
            patch.setattr(holder, moment, _interrupt)
            with pytest.raises(KeyboardInterrupt):
                fit(store, tmp_path / "killed", settings)
        # read back, not made again
        monkeypatch.setattr(training, "fit_dense_network", _interrupt)
        resumed = load_bundle(fit(store, tmp_path / "killed", settings))
        assert resumed.sha256 == straight.sha256

    def test_a_small_model_of_other_options_is_made_anew(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = make_store(tmp_path / "store", with_features=True)
        small = SmallFitSettings(epochs=1)
        settings = dataclasses.replace(FIT, epochs=1, small_model=small)
        fit(store, tmp_path / "out", settings)
        (tmp_path / "out" / "checkpoint.npz").unlink()
        monkeypatch.setattr(training, "fit_dense_network", _interrupt)
        # another rate of the network's leaves it, more of its epochs do not
        fit(store, tmp_path / "out", dataclasses.replace(settings, learning_rate=0.01))
        (tmp_path / "out" / "checkpoint.npz").unlink()
        other = dataclasses.replace(settings, small_model=SmallFitSettings(epochs=2))
        with pytest.raises(KeyboardInterrupt):
            fit(store, tmp_path / "out", other)

    def test_the_network_has_the_small_model_in_it(self, tmp_path: Path) -> None:
        import keras

        channels = (*SPEC.channels, Channel.NUMBERS)
        spec = PileupSpec(height=30, width=75, channels=channels)
        store = make_store(
            tmp_path / "store", with_features=True, settings=ExampleSettings(pileup=spec)
        )
        settings = dataclasses.replace(
            FIT, augmentation=Augmentation(thin_reads=0.5), small_model=SmallFitSettings(epochs=2)
        )
        bundle = load_bundle(fit(store, tmp_path / "out", settings))
        assert bundle.small_model is not None
        small = bundle.small_model.predict
        assert isinstance(small, DenseNetwork)
        images = np.arange(50)
        shown = store.gather(images)

        def within(bundle: Bundle) -> NDArray[np.float32]:
            network = bundle.network()
            part = keras.Model(network.input, network.get_layer("small").output)
            return np.asarray(part(shown))

        features = store.features(images)
        assert features is not None
        np.testing.assert_allclose(within(bundle), small.logits(features), atol=1e-3)
        scaling = bundle.training["calibration"]
        assert len(scaling["slopes"]) == 2
        assert f"{scaling['slopes'][1]:.2f} to {scaling['slopes'][0]:.2f}; with" in bundle.card()
        kernel = bundle.network().get_layer("logits").get_weights()[0]
        np.testing.assert_allclose(kernel[-3:], np.eye(3) * scaling["slopes"][1], atol=1e-6)
        # of the images that validate: what is described is what the whole network says
        held_out = split_images(store)[1]
        logits = networks.until_logits(bundle.network())
        found = figures_of(
            np.asarray(logits(store.gather(held_out))),
            store.label[held_out],
            store.type[held_out],
        )
        assert bundle.training["validation"]["errors"] == found["errors"]
        assert bundle.training["validation"]["loss"] == pytest.approx(found["loss"], rel=1e-3)
        # a network that is trained on gets the small model that is trained with it
        other = dataclasses.replace(settings, small_model=SmallFitSettings(epochs=1))
        tuned = load_bundle(fit(store, tmp_path / "tuned", other, init=bundle))
        assert tuned.small_model is not None
        assert isinstance(tuned.small_model.predict, DenseNetwork)
        theirs = tuned.small_model.predict.logits(features)
        np.testing.assert_allclose(within(tuned), theirs, atol=1e-3)
        assert not np.allclose(theirs, small.logits(features), atol=1e-3)

    def test_no_weight_is_named(self, tmp_path: Path) -> None:
        make_store(tmp_path, 20)
        write_index(tmp_path, [StoredRun("one", "train", 0), StoredRun("two", "validation")])
        with pytest.raises(InputError, match="weight 0"):
            fit(PackedStore(tmp_path), tmp_path / "out", FIT)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


class TestCommand:
    def test_missing_packages_are_told_before_anything_is_drawn(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(OptionError, match=r"tensorflow.* pip install 'pileupcnn\[train\]'"):
            run_train(output=tmp_path / "out", data=tmp_path / "none.tsv")

    def test_from_table_to_bundle_and_on_from_there(self, run: TrainingRun, tmp_path: Path) -> None:
        data = table(
            tmp_path / "runs.tsv",
            "reads ref truth confident regions split",
            f"{run.reads} {run.ref} {run.truth} {run.confident} ctg1:1-12,000 train",
            f"{run.reads} {run.ref} {run.truth} {run.confident} ctg2:3,001-8,000 validation",
        )
        result = CliRunner().invoke(
            command,
            f"--data {data} --output {tmp_path}/out --architecture tiny --height 30 --width 21 "
            "--epochs 1 --batch-size 64 --name first".split(),
        )
        assert result.exit_code == 0, result.exception
        bundle = tmp_path / "out" / "bundle"
        assert result.stdout == f"{bundle}\n"
        # too narrow for numbers
        assert load_bundle(bundle).spec.shape == (30, 21, len(OWN_CHANNELS) - 1)
        tuned = run_train(
            store=tmp_path / "out" / "store", output=tmp_path / "tuned", init=bundle, epochs=1
        )
        assert load_bundle(tuned).sha256 != load_bundle(bundle).sha256
        with pytest.raises(OptionError, match="--init gives"):
            run_train(store=tmp_path, output=tmp_path, init=bundle, height=64)
        other = make_store(tmp_path / "other", 20)
        fields = json.loads((bundle / "model.json").read_text())
        fields["settings"]["reads"]["min_mapping_quality"] = 20
        (bundle / "model.json").write_text(json.dumps(fields))
        with pytest.raises(OptionError, match="other reading or image settings"):
            run_train(store=other.path, output=tmp_path / "new", init=bundle)

    def test_options_that_do_not_fit(self, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="choose one of"):
            run_train(output=tmp_path, architecture="resnet")
        with pytest.raises(OptionError, match="must be odd"):
            run_train(output=tmp_path, data=tmp_path / "t", width=100)
        with pytest.raises(OptionError, match="give --data"):
            run_train(output=tmp_path, width=101)
        with pytest.raises(OptionError, match="give --data"):
            run_train(output=tmp_path, examples=["e.tfrecord"], realign=False)
        with pytest.raises(OptionError, match="--name"):
            run_train(output=tmp_path, name="two\nlines")
        with pytest.raises(OptionError, match="--labeler is for --data"):
            run_train(output=tmp_path, labeler="positional")
        with pytest.raises(InputError, match="draw the store again"):
            run_train(output=tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_jax_trains_without_tensorflow(store: PackedStore, tmp_path: Path) -> None:
    """The training code keeps to Keras's own interface."""
    program = f"""
import sys
sys.modules["tensorflow"] = None
from pileupcnn.store import PackedStore
from pileupcnn.train import FitSettings, fit
settings = FitSettings(epochs=1, batch_size=32)
print(fit(PackedStore({str(store.path)!r}), {str(tmp_path)!r}, settings))
"""
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert load_bundle(tmp_path / "bundle").architecture == networks.DEFAULT_ARCHITECTURE
