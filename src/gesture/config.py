"""Every setting with its type, meaning and range, and every check on a configuration.

The values stand in configs/*.yaml. Nothing here imports torch, so a refused configuration answers at once.
"""

import dataclasses
import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gesture.refusals import explain

DATA_SETS = ("leapgestrecog", "folder", "synthetic")
SPLITS = ("random", "subject", "fold")
OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULERS = ("none", "cosine", "onecycle", "plateau")
ACCELERATORS = ("auto", "cuda", "mps", "cpu")
PRECISIONS = ("auto", "32-true", "16-mixed", "bf16-mixed")
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true", "fsdp")
MONITORS = ("val/accuracy", "val/f1", "val/precision", "val/recall", "val/loss")

# torchvision.models.list_models(module=torchvision.models), which a test compares: asking torchvision takes seconds.
BACKBONES = tuple(
    "alexnet convnext_base convnext_large convnext_small convnext_tiny densenet121 densenet161 densenet169 densenet201 "
    "efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5 efficientnet_b6 "
    "efficientnet_b7 efficientnet_v2_l efficientnet_v2_m efficientnet_v2_s googlenet inception_v3 maxvit_t mnasnet0_5 "
    "mnasnet0_75 mnasnet1_0 mnasnet1_3 mobilenet_v2 mobilenet_v3_large mobilenet_v3_small regnet_x_16gf regnet_x_1_6gf "
    "regnet_x_32gf regnet_x_3_2gf regnet_x_400mf regnet_x_800mf regnet_x_8gf regnet_y_128gf regnet_y_16gf "
    "regnet_y_1_6gf regnet_y_32gf regnet_y_3_2gf regnet_y_400mf regnet_y_800mf regnet_y_8gf resnet101 resnet152 "
    "resnet18 resnet34 resnet50 resnext101_32x8d resnext101_64x4d resnext50_32x4d shufflenet_v2_x0_5 "
    "shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0 squeezenet1_0 squeezenet1_1 swin_b swin_s swin_t "
    "swin_v2_b swin_v2_s swin_v2_t vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn vit_b_16 vit_b_32 "
    "vit_h_14 vit_l_16 vit_l_32 wide_resnet101_2 wide_resnet50_2".split()
)
FIXED_SIZE_BACKBONES = ("vit_b_16", "vit_b_32", "vit_h_14", "vit_l_16", "vit_l_32", "maxvit_t")
FIXED_SIZE = 224
LARGEST_SEED = 2**32 - 1
WEIGHT_FILES = (".pth", ".pt", ".ckpt")


class ConfigError(Exception):
    """A refusal: one sentence to the person at the keyboard that names the thing, the fault and the remedy."""


def setting(
    *,
    one_of: Sequence[str] | None = None,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    only_for: Sequence[str] | None = None,
    optional: bool = False,
) -> Any:
    """A configuration field with its range. `only_for` names the members of its group that read it."""
    limits = {"above": above, "at_least": at_least, "below": below, "at_most": at_most}
    return field(
        default=None if only_for or optional else MISSING,
        metadata={"one_of": one_of, "limits": limits, "only_for": only_for},
    )


@dataclass
class DataConfig:
    name: str = setting(one_of=DATA_SETS)
    root: str = setting()
    """Folder (or Kaggle's archive.zip) that holds the images; for synthetic, where they are rendered."""
    cache_dir: str = setting()
    """Folder for decoded images; may be deleted at any time."""
    image_size: list[int] = setting()
    """Height and width the network sees, pixels."""
    batch_size: int = setting(at_least=1)
    stride: int = setting(at_least=1)
    """Takes every n-th frame of each recorded sequence."""
    on_bad_image: str = setting(one_of=("error", "skip"))
    """What to do with images that cannot be decoded: stop before training, or leave them out and count them."""
    resident: bool = setting()
    """Keep the whole uint8 set in an accelerator's memory when it fits."""
    download: bool | None = setting(only_for=("leapgestrecog",))
    """Fetch the data set from Kaggle when it is not there (extra `data`)."""
    pattern: str | None = setting(only_for=("folder",))
    r"""Regular expression searched in each path below root; its groups subject, frame and gesture, where named, say
    whose and what image it is, as in '(?P<subject>s\d+)_'."""
    subjects: int | None = setting(only_for=("synthetic",), at_least=1, at_most=99)
    """How many people are rendered."""
    frames: int | None = setting(only_for=("synthetic",), at_least=1, at_most=9999)
    """Frames of each person's sequence of each gesture."""
    seed: int | None = setting(only_for=("synthetic",), at_least=0, at_most=LARGEST_SEED)
    """Seed of people and sequences."""


@dataclass
class SplitConfig:
    name: str = setting(one_of=SPLITS)
    seed: int = setting(at_least=0, at_most=LARGEST_SEED)
    keeps_copies_together: bool = setting()
    """Identical images stay on one side; false lets them fall where they fall, as published work does."""
    val_fraction: float | None = setting(only_for=("random",), above=0, below=1)
    test_fraction: float | None = setting(only_for=("random",), above=0, below=1)
    val_subjects: list[str] | None = setting(only_for=("subject",))
    """People by name or number; null takes a tenth of them, at least one, by seed."""
    test_subjects: list[str] | None = setting(only_for=("subject",))
    folds: int | None = setting(only_for=("fold",), at_least=3)
    """How many groups of people; the number of people gives leave-one-subject-out."""
    fold: int | None = setting(only_for=("fold",), at_least=0)
    """The fold that tests, from 0; the next one validates."""


@dataclass
class BackboneConfig:
    name: str = setting(one_of=BACKBONES)
    """A torchvision classification network."""
    weights: str = setting()
    """none, a torchvision name (DEFAULT, IMAGENET1K_V1) or a local .pth file."""
    freeze_epochs: int = setting(at_least=0)
    """The backbone is frozen for this many epochs."""
    lr_factor: float = setting(above=0)
    """The backbone's learning rate as a multiple of optimizer.lr."""


@dataclass
class AugmentConfig:
    name: str = setting()
    """none, or the name of a recipe."""
    rotation: float | None = setting(optional=True, at_least=0, at_most=180)
    """Largest angle, degrees, either way."""
    scale: float | None = setting(optional=True, at_least=0, below=1)
    """Largest change of size, as a fraction."""
    shift: float | None = setting(optional=True, at_least=0, at_most=1)
    """Largest shift, as a fraction of height and width."""
    gamma: float | None = setting(optional=True, at_least=0, below=1)
    """Largest change of the brightness curve: images are raised to exp(-gamma) ... exp(gamma)."""


@dataclass
class LossConfig:
    label_smoothing: float = setting(at_least=0, below=1)
    on_probabilities: bool = setting()
    """Feed softmax outputs to cross-entropy, as the reference report does; it slows learning down."""


@dataclass
class OptimizerConfig:
    name: str = setting(one_of=OPTIMIZERS)
    lr: float = setting(above=0)
    weight_decay: float = setting(at_least=0)
    momentum: float | None = setting(only_for=("sgd",), at_least=0, below=1)


@dataclass
class SchedulerConfig:
    name: str = setting(one_of=SCHEDULERS)
    factor: float | None = setting(only_for=("plateau",), above=0, below=1)
    """What the rate is multiplied with when the loss stalls."""
    patience: int | None = setting(only_for=("plateau",), at_least=0)
    """Epochs without a better validation loss before that."""
    warmup_fraction: float | None = setting(only_for=("onecycle",), above=0, below=1)
    """Part of the steps in which the rate rises to optimizer.lr."""


@dataclass
class AcceleratorConfig:
    name: str = setting(one_of=ACCELERATORS)
    precision: str = setting(one_of=PRECISIONS)
    """auto: what the accelerator's group says; on a CPU bf16 where a measurement at the start finds it faster."""
    channels_last: bool | None = setting(optional=True)
    """null: what the accelerator's group says."""
    compile: bool | None = setting(optional=True)
    """torch.compile the network; null: what the accelerator's group says."""
    graphs: bool | None = setting(optional=True)
    """Replay training steps as CUDA graphs where there is CUDA, but not 16-mixed or several processes; null: what the
    accelerator's group says."""


@dataclass
class TrainerConfig:
    max_epochs: int = setting(at_least=1)
    half_size_fraction: float = setting(at_least=0, below=1)
    """This part of the steps comes first and sees images of half the height and width, a quarter of the work."""
    devices: str = setting()
    """auto or a number of devices."""
    strategy: str = setting(one_of=STRATEGIES)
    """How Lightning spreads a run over several devices."""
    precision: str = setting(one_of=PRECISIONS)


@dataclass
class CheckpointConfig:
    monitor: str = setting(one_of=MONITORS)
    """What the best epoch is best at; its best value is the run's score."""


@dataclass
class TrainConfig:
    name: str = setting()
    """Runs are kept under logs/<name>/."""
    seed: int = setting(at_least=0, at_most=LARGEST_SEED)
    data: DataConfig = field(default_factory=DataConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    accelerator: AcceleratorConfig = field(default_factory=AcceleratorConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)


@dataclass
class EvaluateConfig:
    run: str = setting()
    """A run directory or a checkpoint in one."""
    accelerator: str = setting(one_of=ACCELERATORS)
    root: str | None = setting(optional=True)
    """Where the data are now, if they moved since the run."""
    output: str | None = setting(optional=True)
    """JSON file for the result."""


@dataclass
class PredictConfig:
    run: str = setting()
    """A run directory or a checkpoint."""
    input: str = setting()
    """An image, or a folder of images at any depth."""
    output: str | None = setting(optional=True)
    """JSON Lines file, one line an image."""
    accelerator: str = setting(one_of=ACCELERATORS)
    batch_size: int = setting(at_least=1)


C = TypeVar("C")


def config_dir() -> Path:
    """configs/ of the source checkout, or its copy inside an installed package."""
    package = Path(__file__).resolve().parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parents[1] / "configs"


def parse(composed: DictConfig, schema: type[C]) -> C:
    """The composed configuration as a checked `schema` object.

    Merging it onto the schema once more refuses keys that were added with `+`.

    Raises:
        ConfigError: an unknown key, a wrong type, a value out of range, or one that nothing reads.
    """
    try:
        plain = OmegaConf.to_container(composed, resolve=True)
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), plain))
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error, schema)) from error
    assert isinstance(config, schema)
    _check_fields(config, "")
    if isinstance(config, TrainConfig):
        _check_training(config)
    return config


def _check_fields(config: Any, prefix: str) -> None:
    """Every field against the range it was declared with."""
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        key = prefix + item.name
        if dataclasses.is_dataclass(value):
            _check_fields(value, f"{key}.")
        elif value is not None:
            _check_owner(config, key, item.metadata["only_for"])
            _check_value(key, value, item.metadata["one_of"], item.metadata["limits"])


def _check_owner(config: Any, key: str, only_for: Sequence[str] | None) -> None:
    if only_for and config.name not in only_for:
        group = key.split(".")[0]
        wanted = " or ".join(f"{group}={name}" for name in only_for)
        raise ConfigError(f"{key} is read by {wanted} only, and this is {group}={config.name}: leave it out.")


def _check_value(key: str, value: Any, one_of: Sequence[str] | None, limits: dict[str, float | None]) -> None:
    if one_of and value not in one_of:
        order = difflib.get_close_matches(value, one_of, n=len(one_of), cutoff=0)
        raise ConfigError(f"{key}={value!r} is unknown: choose one of {', '.join(order)}.")
    if value == "" or (isinstance(value, float) and not math.isfinite(value)):
        raise ConfigError(f"{key}={value} is no value: leave it out or give one.")
    tests = {
        "above": lambda limit: value > limit,
        "at_least": lambda limit: value >= limit,
        "below": lambda limit: value < limit,
        "at_most": lambda limit: value <= limit,
    }
    for name, limit in limits.items():
        if limit is not None and not tests[name](limit):
            raise ConfigError(f"{key}={value} is out of range: it must be {name.replace('_', ' ')} {limit}.")


def _check_training(config: TrainConfig) -> None:
    """What takes two settings to judge."""
    size, split, backbone = config.data.image_size, config.split, config.backbone
    if len(size) != 2 or min(size) < 32:
        raise ConfigError(f"data.image_size={size} must be [height,width] with 32 or more pixels each.")
    if backbone.name in FIXED_SIZE_BACKBONES and (size != [FIXED_SIZE] * 2 or config.trainer.half_size_fraction):
        raise ConfigError(
            f"backbone.name={backbone.name} takes 224x224 images only: give data.image_size=[224,224] and "
            "trainer.half_size_fraction=0."
        )
    weights = backbone.weights
    if weights.endswith(WEIGHT_FILES) and not Path(weights).expanduser().is_file():
        raise ConfigError(f"backbone.weights='{weights}' does not exist: give a .pth file, a torchvision name or none.")
    if split.name == "random" and (split.val_fraction or 0) + (split.test_fraction or 0) >= 1:
        raise ConfigError(
            "split.val_fraction and split.test_fraction leave nothing to train on: their sum must be < 1."
        )
    if split.name == "fold" and split.folds is not None and split.fold is not None and split.fold >= split.folds:
        raise ConfigError(f"split.fold={split.fold} must be below split.folds={split.folds}: folds count from 0.")
    devices = config.trainer.devices
    if devices != "auto" and not (devices.isdigit() and int(devices) > 0):
        raise ConfigError(f"trainer.devices={devices} must be auto or a number above 0.")
    if backbone.freeze_epochs and (devices not in ("auto", "1") or config.trainer.strategy.startswith("ddp")):
        # DDP registers the parameters that train when it starts; unfrozen ones would silently drift apart.
        raise ConfigError("backbone.freeze_epochs works on one device only: give trainer.devices=1 or freeze_epochs=0.")
    if config.accelerator.graphs and config.accelerator.name in ("cpu", "mps"):
        raise ConfigError(f"accelerator.graphs=true needs CUDA, and this is accelerator={config.accelerator.name}.")
    if config.augment.name == "none":
        given = [
            item.name for item in dataclasses.fields(AugmentConfig) if getattr(config.augment, item.name) is not None
        ]
        if len(given) > 1:
            raise ConfigError(
                f"augment.{given[1]} is read with a recipe only, and this is augment=none: add augment=light."
            )
    if any(sep in config.name for sep in "/\\") or config.name in ("", ".", ".."):
        raise ConfigError(f"name={config.name!r} must be a plain folder name: runs are kept under logs/<name>/.")
