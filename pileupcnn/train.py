"""Training: a network from the images of a packed store, which is all it reads."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pileupcnn import networks
from pileupcnn.augment import Augmentation, Augmenter
from pileupcnn.calibration import Scaling, fit_scaling
from pileupcnn.checkpoints import damaged, read_state, write_state
from pileupcnn.errors import InputError, OptionError
from pileupcnn.figures import calibrated, figures_of, sentence
from pileupcnn.model import CLASSES, Bundle, load_bundle, restore_folder, save_bundle
from pileupcnn.onnx_export import to_onnx
from pileupcnn.runners import ahead
from pileupcnn.settings_json import settings_to_json
from pileupcnn.small_model import WIDTHS, DenseNetwork
from pileupcnn.store import PackedStore, split_images
from pileupcnn.train_small import (
    Described,
    SmallFitSettings,
    believe,
    fit_dense_network,
    plain_images,
)

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How a network is trained.

    Attributes
    ----------
    architecture : str
        Of `networks.ARCHITECTURES`.
    epochs : int
        At most; the learning rate falls to 0 along half a cosine over them.
    batch_size : int
    learning_rate : float
        At the start, for AdamW.
    weight_decay : float
    ema_momentum : float
        Of the running average of the weights, which is what is validated and
        kept.
    augmentation : Augmentation
        How training images are changed.
    plain_share : float
        Share of the plain images, of which the small model is sure and right, that
        an epoch shows, each with a weight to make up for the others: they are most,
        and teach little.
    patience : int
        Epochs without a smaller validation loss after which training stops.
    seed : int
    small_model : SmallFitSettings
        How the small model is trained, before the network.
    """

    architecture: str = networks.DEFAULT_ARCHITECTURE
    epochs: int = 20
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    ema_momentum: float = 0.99
    augmentation: Augmentation = field(default_factory=Augmentation)
    plain_share: float = 0.2
    patience: int = 5
    seed: int = 1
    small_model: SmallFitSettings = field(default_factory=SmallFitSettings)


@dataclass(slots=True)
class _Progress:
    """Where training stands, besides the variables."""

    epoch: int = 0
    best_loss: float = float("inf")
    best_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Data:
    """The images of a packed store: numbers of those that train and of those that validate.

    Attributes
    ----------
    store : PackedStore
    training, validation : int64 [n]
    weight : float64 [n]
        How often each that trains counts in an epoch.
    described : tuple of two Described, optional
        Both by what `small_model.INPUTS` names, if they came with it.
    """

    store: PackedStore
    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    weight: NDArray[np.float64]
    described: tuple[Described, Described] | None

    @classmethod
    def of(cls, store: PackedStore) -> Self:
        training, validation = split_images(store)
        learned, held_out = (store.features(images) for images in (training, validation))
        weight = np.array([run.weight for run in store.runs])[store.run[training]]
        described = None
        if learned is not None and held_out is not None:
            described = (
                Described(learned, store.label[training]),
                Described(held_out, store.label[validation]),
            )
        return cls(store, training, validation, weight, described)


def fit(
    store: PackedStore,
    output: str | Path,
    settings: FitSettings,
    *,
    threads: int = 1,
    init: Bundle | None = None,
    name: str = "custom",
    device: networks.Device = "auto",
) -> Path:
    """Train a network on a packed store; the best one so far is kept as a bundle.

    Before it the small model's network is trained, if the images came with its
    numbers, and kept in ``small_network.npz``. After each epoch the whole state is
    written to ``checkpoint.npz``; the same call resumes there.

    Parameters
    ----------
    store : PackedStore
    output : path
        Directory for ``bundle``, ``checkpoint.npz`` and ``small_network.npz``.
    settings : FitSettings
    threads : int
    init : Bundle, optional
        Starting weights.
    name : str
        Of the model.
    device : {"auto", "cpu", "gpu"}

    Returns
    -------
    Path
        The bundle.

    Raises
    ------
    InputError
        If the images are of one class only, or none validate.
    OptionError
        If `output` holds the state of another training, or these images cannot
        be changed as `settings` want it.
    OutputError
        If `output` cannot be written.
    """
    data = _Data.of(store)
    _check_classes(data)
    networks.start_keras(device, threads)
    output = Path(output)
    checkpoint, bundle = output / "checkpoint.npz", output / "bundle"
    restore_folder(bundle)
    signature = _signature(store, dataclasses.asdict(settings), init.sha256 if init else None, name)
    # what does not go is found before the small model takes its time
    state = read_state(checkpoint, signature) if checkpoint.exists() else None
    network = _network(data, settings, init)
    augment = Augmenter(settings.augmentation, store.spec, store.settings.candidates)
    small, plain = None, np.zeros(len(data.training), bool)
    if data.described is not None:
        small = _small_network(output / "small_network.npz", data, settings.small_model)
        plain = plain_images(small, data.described[0])
        share = f"{plain.mean():.1%} of the training images are plain"
        tqdm.write(f"small model: {share}", file=sys.stderr)
    trainer = _Trainer(data, plain, settings, network, augment)
    progress = trainer.restore(checkpoint, *state) if state else _Progress()
    while (
        progress.epoch < settings.epochs
        and progress.epoch - progress.best_epoch < settings.patience
    ):
        loss = trainer.run_epoch(progress.epoch)
        progress.epoch += 1
        with trainer.averaged():
            logits = trainer.logits()
            label = store.label[data.validation]
            figures = figures_of(logits, label, store.type[data.validation])
            progress.history.append({"epoch": progress.epoch, "training_loss": loss, **figures})
            tqdm.write(sentence(progress.history[-1], settings.epochs), file=sys.stderr)
            if figures["loss"] < progress.best_loss:
                progress.best_loss, progress.best_epoch = figures["loss"], progress.epoch
                scaling = trainer.calibrate(logits, label)
                save_bundle(
                    bundle,
                    name=name,
                    architecture=settings.architecture,
                    settings=store.settings,
                    weights=trainer.network.get_weights(),
                    onnx=to_onnx(trainer.network),
                    training=_describe(data, settings, progress)
                    | calibrated(scaling, label, logits),
                )
        trainer.save(checkpoint, signature, progress)
    if not progress.best_epoch:
        raise OptionError(
            f"{output}: no epoch gave a finite validation loss, so there is no model; remove "
            f"{checkpoint} and train with a smaller --learning-rate"
        )
    if not bundle.exists():
        raise InputError(
            f"{bundle}: is gone, and the training that wrote it is at its end; put it back, or "
            f"remove {checkpoint} to train again"
        )
    if small is not None:
        _add_small_model(bundle, small, data, settings)
    return bundle


def _network(data: _Data, settings: FitSettings, init: Bundle | None) -> keras.Model:
    """The network to be trained, with starting weights that follow from the seed."""
    import keras

    keras.utils.set_random_seed(settings.seed)
    spec = data.store.spec
    if init is None:
        return networks.build(
            settings.architecture, spec.shape, len(CLASSES), numbers=spec.numbers_layer
        )
    network = init.network()
    if spec.numbers_layer is not None and data.described is not None:
        # it gets the one that is trained with it
        networks.set_small_model(network, None)
    return network


def _small_network(path: Path, data: _Data, settings: SmallFitSettings) -> DenseNetwork:
    """The small model's network: as an earlier start left it, or trained."""
    assert data.described is not None
    signature = _signature(data.store, dataclasses.asdict(settings), WIDTHS)
    if path.exists():
        # of other options or data, or damaged, it is made anew
        with suppress(InputError, OptionError, ValueError):
            return DenseNetwork(read_state(path, signature)[1])
    learned, held_out = data.described
    network = fit_dense_network(learned, data.weight, held_out, settings, len(CLASSES))
    write_state(path, signature, {}, network.weights)
    return network


def _add_small_model(path: Path, small: DenseNetwork, data: _Data, settings: FitSettings) -> None:
    """Give a bundle its small model, to be asked before the network, and within that.

    The network has learned from the same numbers, but is not wrong in the same
    places (docs/model.md); held-out images decide how much either counts.
    """
    assert data.described is not None
    bundle = load_bundle(path)
    if bundle.small_model is not None:
        return
    learned, held_out = data.described
    network = bundle.network()
    found: NDArray[np.floating] = _logits(networks.until_logits(network), data, settings.batch_size)
    together: dict[str, Any] = {}
    if data.store.spec.numbers_layer is not None:
        sources = found, small.logits(held_out.features)
        scaling = fit_scaling(held_out.label, *sources)
        networks.set_small_model(network, small.weights)
        networks.scale_logits(network, scaling)
        together = calibrated(scaling, held_out.label, *sources)
        found = scaling.apply(*sources)
    kind = data.store.type[data.validation]
    small_model, figures = believe(small, learned.features, held_out, found.argmax(axis=1))
    tqdm.write(
        f"small model: sure of {figures['sure']:.1%} of the validation images, wrong there "
        f"{figures['wrong_where_sure']} times (the network {figures['network_wrong_there']})",
        file=sys.stderr,
    )
    save_bundle(
        path,
        name=bundle.name,
        architecture=bundle.architecture,
        settings=bundle.settings,
        weights=network.get_weights(),
        onnx=to_onnx(network),
        training=bundle.training
        | together
        | {"small_model": figures, "validation": figures_of(found, held_out.label, kind)},
        small_model=small_model,
    )


def _logits(model: keras.Model, data: _Data, batch_size: int) -> NDArray[np.float32]:
    """What a network without softmax says of the images that validate; float32 [n, classes]."""
    batches = data.store.batches(data.validation, batch_size)
    return np.concatenate([model.predict_on_batch(batch) for batch, _ in batches])


def _check_classes(data: _Data) -> None:
    store = data.store
    counts = np.bincount(store.label[data.training], minlength=len(CLASSES))
    if (counts > 0).sum() < 2:
        raise InputError(
            f"{store.path}: the {len(data.training):,} training images are all of one class or "
            "none, so there is nothing to learn; compare contig names and positions of truth and "
            "reads"
        )
    if not data.weight.any():
        raise InputError(f"{store.path}: all runs to train on have weight 0; give one a higher")
    if not len(data.validation):
        raise InputError(
            f"{store.path}: no image is left to validate; give a run with split 'validation' "
            "that has candidates"
        )


def _signature(store: PackedStore, *options: Any) -> str:
    """Tells a training with these options on this store from every other."""
    parts = [
        *options,
        [dataclasses.asdict(run) for run in store.runs],
        settings_to_json(store.settings),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _describe(data: _Data, settings: FitSettings, progress: _Progress) -> dict[str, Any]:
    """The free part of model.json."""
    store = data.store

    def count(numbers: NDArray[np.int64]) -> dict[str, int]:
        counts = np.bincount(store.label[numbers], minlength=len(CLASSES)).tolist()
        return dict(zip(CLASSES, counts, strict=True))

    return {
        "runs": [
            {"name": found["name"], "images": found["images"], "split": run.split}
            | {"weight": run.weight}
            for run, found in zip(store.runs, store.descriptions, strict=True)
        ],
        "training_images": count(data.training),
        "validation_images": count(data.validation),
        "options": dataclasses.asdict(settings),
        "best_epoch": progress.best_epoch,
        "history": progress.history,
    }


class _Trainer:
    """The network and the state of its training."""

    def __init__(
        self,
        data: _Data,
        plain: NDArray[np.bool_],
        settings: FitSettings,
        network: keras.Model,
        augment: Augmenter,
    ) -> None:
        import keras

        self._data, self._settings = data, settings
        self.network, self._augment = network, augment
        weight = data.weight
        # how often each is shown in an epoch, and how much it then counts: 1 in the mean
        self._shown = weight * np.where(plain, settings.plain_share, 1.0)
        self._counts = np.zeros(len(data.store), np.float32)
        self._counts[data.training] = np.where(plain, 1 / settings.plain_share, 1.0) * (
            self._shown.sum() / weight.sum()
        )
        self._steps = max(1, round(float(self._shown.sum()) / settings.batch_size))
        self._optimizer = keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(
                settings.learning_rate, self._steps * settings.epochs
            ),
            weight_decay=settings.weight_decay,
            use_ema=True,
            ema_momentum=settings.ema_momentum,
        )
        self._optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        # the loss is computed from logits, which is exact where a softmax has saturated
        self._model = networks.until_logits(self.network)
        self._model.compile(
            self._optimizer,
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=False,
        )
        self._optimizer.build(self._model.trainable_variables)

    @property
    def _variables(self) -> list[Any]:
        return [*self._model.variables, *self._optimizer.variables]

    def run_epoch(self, epoch: int) -> float:
        """Train for one epoch (from 0); returns the mean loss.

        Order and changes depend on seed and epoch only, so a resumed training
        sees the same images.
        """
        rng = np.random.default_rng([self._settings.seed, epoch])
        size = self._settings.batch_size
        repeats = np.floor(self._shown + rng.random(len(self._shown))).astype(np.int64)
        order = np.repeat(self._data.training, repeats)
        rng.shuffle(order)
        # every epoch has the same number of full batches, which the schedule counts on
        order = np.resize(order if len(order) else self._data.training, self._steps * size)
        total = 0.0
        for images, numbers in tqdm(
            ahead(self._changed(order, rng)),
            total=self._steps,
            desc=f"epoch {epoch + 1}/{self._settings.epochs}",
            unit="batch",
            disable=None,
        ):
            total += float(
                self._model.train_on_batch(
                    images, self._data.store.label[numbers], sample_weight=self._counts[numbers]
                )
            )
        return total / self._steps

    def _changed(
        self, order: NDArray[np.int64], rng: np.random.Generator
    ) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        """Batches of training images, changed, with their numbers."""
        for images, numbers in self._data.store.batches(order, self._settings.batch_size):
            self._augment(
                images, self._data.store.length[numbers], self._data.store.type[numbers], rng
            )
            yield images, numbers

    def logits(self) -> NDArray[np.float32]:
        """What the network says of the images that validate; float32 [n, classes]."""
        return _logits(self._model, self._data, self._settings.batch_size)

    def calibrate(self, logits: NDArray[np.float32], label: NDArray[np.int8]) -> Scaling:
        """Scale the network's logits so that these, of held-out images, are calibrated.

        To be called within `averaged`, which takes it back.
        """
        scaling = fit_scaling(label, logits)
        networks.scale_logits(self.network, scaling)
        return scaling

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within it the network has the running averages of its weights."""
        trained = self._model.trainable_variables
        raw = [variable.numpy() for variable in trained]
        self._optimizer.finalize_variable_values(trained)
        for variable in trained:
            # JAX would share the average's memory, and give it up when it predicts
            variable.assign(np.array(variable.numpy()))
        try:
            yield
        finally:
            for variable, value in zip(trained, raw, strict=True):
                variable.assign(value)

    def save(self, path: Path, signature: str, progress: _Progress) -> None:
        """Write the whole state, atomically."""
        arrays = [variable.numpy() for variable in self._variables]
        write_state(path, signature, {"progress": dataclasses.asdict(progress)}, arrays)

    def restore(
        self, path: Path, state: Mapping[str, Any], values: Sequence[NDArray[Any]]
    ) -> _Progress:
        """Take a state over that was read from `path`; returns the progress."""
        wanted = [tuple(variable.shape) for variable in self._variables]
        if [value.shape for value in values] != wanted:
            raise damaged(path, "its arrays are not the network's")
        try:
            progress = _Progress(**state["progress"])
        except (KeyError, TypeError) as error:
            raise damaged(path, error) from error
        for variable, value in zip(self._variables, values, strict=True):
            variable.assign(value)
        return progress
