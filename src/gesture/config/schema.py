"""Every setting with its type, meaning and range: one dataclass for each choice of a group.

The values stand in configs/*.yaml, each default once. Nothing here imports torch, so a refused configuration answers at
once.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gesture.config.names import (
    BACKBONES,
    LARGEST_SEED,
    MONITORS,
    NORMALISATIONS,
    PRECISIONS,
    PROFILERS,
    STRATEGIES,
)

MISSING: Any = "???"
"""What YAML says, as OmegaConf reads it, where a value must be given."""


def setting(
    meaning: str,
    *,
    one_of: Sequence[str] | None = None,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    example: str | None = None,
) -> Any:
    """A field of a configuration: what it means, its range, and how to write it where that is not obvious."""
    limits = {"above": above, "at_least": at_least, "below": below, "at_most": at_most}
    return dataclasses.field(
        default=MISSING, metadata={"meaning": meaning, "one_of": one_of, "limits": limits, "example": example}
    )


def group(meaning: str, schema: Any = None) -> Any:
    """A field that holds a group's settings; which dataclass they are is told by `CHOICES`, or is `schema`."""
    return dataclasses.field(default=MISSING, metadata={"meaning": meaning, "schema": schema})


def part(meaning: str) -> Any:
    """A field that holds a group's settings as far as they are given; the others are those of a run, known later."""
    return dataclasses.field(default=MISSING, metadata={"meaning": meaning, "schema": None, "is_part": True})


@dataclass
class DataConfig:
    name: str = setting("Which kind of data set this is.")
    root: str = setting("Folder or zip archive that holds the images; for synthetic, where they are rendered.")
    cache_dir: str = setting("Folder for decoded images; may be deleted at any time.")
    cache_gb: float = setting("Decoded sets used longest ago are deleted beyond so many GB.", above=0)
    image_size: list[int] = setting("Height and width the network sees, pixels, 32 or more.", example="[224,224]")
    batch_size: int = setting("Images of a training step in each process.", at_least=1)
    stride: int = setting("Takes every n-th frame of each recorded sequence.", at_least=1)
    depth: int = setting(
        "Bits of a gray level that the camera used in 16-bit images; with 8 deeper images are refused.",
        at_least=8,
        at_most=16,
    )
    on_bad_image: str = setting(
        "What images that cannot be decoded do: stop before training, or be left out and counted.",
        one_of=("error", "skip"),
    )
    exclude: list[str] = setting(
        "Images left out: paths or patterns below root, or a .txt or .json file that lists them.",
        example="[fist/007.png,blurred/*]",
    )
    balance: str = setting(
        "Draw people, not images, equally often in training: subject, or none.", one_of=("none", "subject")
    )
    resident: bool = setting("Keep the whole uint8 set in an accelerator's memory when it fits.")


@dataclass
class LeapGestRecog(DataConfig):
    download: bool = setting("Fetch the data set from Kaggle when it is not there (extra `data`).")


@dataclass
class Folder(DataConfig):
    pattern: str | None = setting(
        "Regular expression searched in each path below root; its groups subject, frame and gesture, where named, say "
        "whose and what image it is.",
        example=r"(?P<subject>s\d+)_",
    )


@dataclass
class Synthetic(DataConfig):
    subjects: int = setting("How many people are rendered.", at_least=1, at_most=99)
    frames: int = setting("Frames of each person's sequence of each gesture.", at_least=1, at_most=9999)
    seed: int = setting("Seed of people and sequences.", at_least=0, at_most=LARGEST_SEED)


@dataclass
class SplitConfig:
    name: str = setting("How people or images are dealt to train, val and test.")
    seed: int = setting("Seed of whatever is drawn.", at_least=0, at_most=LARGEST_SEED)
    keeps_copies_together: bool = setting(
        "Identical images stay on one side; false lets them fall where they fall, as published work does."
    )


@dataclass
class RandomSplit(SplitConfig):
    val_fraction: float = setting("Part of the images that validates.", above=0, below=1)
    test_fraction: float = setting("Part of the images that tests.", above=0, below=1)


@dataclass
class SubjectSplit(SplitConfig):
    val_subjects: list[str] | None = setting(
        "People by name or number who validate; null takes a tenth of them, at least one, by seed.", example="[8]"
    )
    test_subjects: list[str] | None = setting("People who test, likewise.", example="[9]")


@dataclass
class FoldSplit(SplitConfig):
    folds: int = setting("Groups of people; as many as there are people is leave-one-subject-out.", at_least=3)
    fold: int = setting("The fold that tests, from 0; the next one validates.", at_least=0)


@dataclass
class LeaveOneOut(FoldSplit):
    """A fold for each person: data of another number of people than `folds` are refused."""


@dataclass
class FolderSplit(SplitConfig):
    """The folders train/, val/ (or valid/, validation/) and test/ below data.root say who stands where."""


@dataclass
class BackboneConfig:
    name: str = setting("A torchvision classification network.", one_of=BACKBONES)
    weights: str = setting(
        "none, a torchvision name (DEFAULT, IMAGENET1K_V1), a .pth file, or the .ckpt of a run of the same backbone."
    )
    freeze_epochs: int = setting("The backbone is frozen for so many epochs.", at_least=0)
    lr_factor: float = setting("The backbone's learning rate as a multiple of optimizer.lr.", above=0)


@dataclass
class NoAugment:
    name: str = setting("none: training images stay as they are.")


@dataclass
class NetworkConfig:
    normalisation: str = setting(
        "data: pixels by the training images' mean and deviation, and batch normalisation's running averages of real "
        "batches only; plain: pixels divided by 255, and averages that start at 0 and 1, as the reference has them.",
        one_of=NORMALISATIONS,
    )


@dataclass
class AugmentConfig:
    name: str = setting("The name of a recipe of random changes.")
    rotation: float = setting("Largest angle, degrees, either way.", at_least=0, at_most=180)
    scale: float = setting("Largest change of size, as a fraction.", at_least=0, below=1)
    shift: float = setting("Largest shift, as a fraction of height and width.", at_least=0, at_most=1)
    gamma: float = setting(
        "Largest change of the brightness curve: images are raised to exp(-gamma) ... exp(gamma).", at_least=0, below=1
    )


@dataclass
class LossConfig:
    label_smoothing: float = setting("Share of the target spread over all gestures.", at_least=0, below=1)
    on_probabilities: bool = setting(
        "Feed softmax outputs to cross-entropy, as the reference does; it slows learning down."
    )
    class_weights: str = setting(
        "balanced weighs each gesture by the inverse of its share of the training images.", one_of=("none", "balanced")
    )


@dataclass
class OptimizerConfig:
    name: str = setting("How weights are updated.")
    lr: float = setting("Learning rate.", above=0)
    weight_decay: float = setting("Decay of the weights.", at_least=0)


@dataclass
class SGD(OptimizerConfig):
    momentum: float = setting("Share of the last update kept in the next.", at_least=0, below=1)


@dataclass
class SchedulerConfig:
    name: str = setting("How the learning rate changes: none, cosine (to zero over all steps), onecycle, plateau.")


@dataclass
class OneCycle(SchedulerConfig):
    warmup_fraction: float = setting("Part of the steps in which the rate rises to optimizer.lr.", above=0, below=1)


@dataclass
class Plateau(SchedulerConfig):
    monitor: str = setting("What must improve.", one_of=MONITORS)
    factor: float = setting("What the rate is multiplied with when it does not.", above=0, below=1)
    patience: int = setting("Epochs without a better value before that.", at_least=0)


@dataclass
class AcceleratorConfig:
    name: str = setting("cuda, mps or cpu.")
    precision: str = setting(
        "Precision of training steps; auto on a CPU is bf16 where the processor gains by it.",
        one_of=PRECISIONS,
    )
    channels_last: bool = setting("Keep the channels of each pixel together in memory.")
    compile: bool = setting("torch.compile the network.")
    graphs: bool = setting("Replay training steps as CUDA graphs; not with 16-mixed or several processes.")


@dataclass
class AutoAccelerator:
    name: str = setting("auto: the first of cuda, mps and cpu that is present, with its own settings.")
    precision: str = setting("auto: the settings of what is found.", one_of=PRECISIONS)
    channels_last: bool | None = setting("null: the settings of what is found.")
    compile: bool | None = setting("null: the settings of what is found.")
    graphs: bool | None = setting("null: the settings of what is found.")
    cuda: AcceleratorConfig = group("Settings for CUDA.", AcceleratorConfig)
    mps: AcceleratorConfig = group("Settings for Apple's MPS.", AcceleratorConfig)
    cpu: AcceleratorConfig = group("Settings for a CPU.", AcceleratorConfig)


@dataclass
class UseConfig:
    """What a finished run is used on; its choices stand in configs/use/, since a run says how it computed."""

    name: str = setting("auto: the first of cuda, mps and cpu that is present.", one_of=("auto", "cuda", "mps", "cpu"))
    precision: str = setting("Precision; auto: the run's, where what is found has it.", one_of=PRECISIONS)
    channels_last: bool | None = setting("Keep the channels of each pixel together in memory; null: as the run did.")


@dataclass
class TrainerConfig:
    max_epochs: int = setting("Epochs of training.", at_least=1)
    half_size_fraction: float = setting(
        "This part of the steps comes first and sees images of half the height and width, a quarter of the work.",
        at_least=0,
        below=1,
    )
    devices: str = setting("auto or a number of devices; under torchrun the processes it starts.", example="2")
    num_nodes: int = setting("Hosts of one run; under torchrun those it starts on.", at_least=1)
    strategy: str = setting("How Lightning spreads a run over several devices.", one_of=STRATEGIES)
    sync_batchnorm: bool = setting("Batch normalisation is over the images of all processes, not of each by itself.")
    precision: str = setting("Precision of training steps; accelerator.precision unless given.", one_of=PRECISIONS)
    gradient_clip_val: float | None = setting("Largest norm of the gradient; null: any.", above=0)
    accumulate_grad_batches: int = setting("Batches whose gradients make one step.", at_least=1)
    limit_train_batches: float = setting("Part of each epoch's batches, or with 2 and more their number.", above=0)
    limit_val_batches: float = setting("The same for validation.", above=0)
    check_val_every_n_epoch: int = setting("Validate after every n-th epoch.", at_least=1)
    fast_dev_run: bool = setting("One batch of training, validation and test, to see that everything works.")
    deterministic: bool = setting("Use only operations that give the same result each time.")
    profiler: str | None = setting("Lightning's profiler; its report goes into the run directory.", one_of=PROFILERS)
    log_every_n_steps: int = setting("Steps between points of training curves.", at_least=1)
    ema_decay: float | None = setting(
        "Average the weights over steps with this decay, validate and keep the averages; null: none.", above=0, below=1
    )


@dataclass
class EarlyStoppingConfig:
    patience: int | None = setting(
        "Validations without a better checkpoint.monitor that end training; null: never.", at_least=0
    )


@dataclass
class CheckpointConfig:
    monitor: str = setting("What the best epoch is best at; its best value is the run's score.", one_of=MONITORS)
    every_n_steps: int | None = setting(
        "Optimizer steps between two savings of last.ckpt within an epoch; null: only at its end.", at_least=1
    )
    every_minutes: float | None = setting(
        "Minutes between two savings of last.ckpt within an epoch; null: only at its end.", above=0
    )


@dataclass
class TensorBoardConfig:
    """Curves, pictures and HPARAMS in <run>/tensorboard."""


@dataclass
class WandbConfig:
    project: str = setting("Weights & Biases' project.")
    mode: str = setting("online, or offline: kept in the run directory.", one_of=("online", "offline"))


@dataclass
class MLFlowConfig:
    experiment: str = setting("MLflow's experiment.")
    tracking_uri: str | None = setting("MLflow's server or store; null: below the run directory.")


@dataclass
class LoggerConfig:
    """logger=tensorboard, wandb, mlflow, [tensorboard,wandb] or none."""

    tensorboard: TensorBoardConfig | None = group("TensorBoard, if chosen.", TensorBoardConfig)
    wandb: WandbConfig | None = group("Weights & Biases, if chosen (extra `wandb`).", WandbConfig)
    mlflow: MLFlowConfig | None = group("MLflow, if chosen (extra `mlflow`).", MLFlowConfig)


@dataclass
class GridSweep:
    """What -m does: every combination of the values given with commas."""

    name: str = setting("grid: every combination of the values given; optuna: settings that a search proposes.")
    resume: str | None = setting(
        "A sweep's directory that is gone on with: what is done is kept, the rest trained; auto: the newest unfinished "
        "sweep of the same words, or a new one; null: a new one."
    )


@dataclass
class Search(GridSweep):
    trials: int = setting("Settings that are tried in all, earlier starts of the search counted.", at_least=1)
    seed: int = setting("Seed of what is proposed.", at_least=0, at_most=LARGEST_SEED)
    random_trials: int = setting("Settings drawn at random before the scores of others are learned from.", at_least=1)
    folds: int | None = setting(
        "Judge each setting by its mean over so many folds of people, and drop it early when it loses to the best one "
        "on the same folds; null: by one training, ended early when its curve is below the median.",
        at_least=3,
    )
    p_threshold: float = setting(
        "A setting is dropped when it loses to the best one on the same folds at this level (Wilcoxon's test).",
        above=0,
        below=1,
    )
    storage: str = setting(
        "Where the study is kept in the sweep's directory: auto is journal on network file systems, else sqlite.",
        one_of=("auto", "sqlite", "journal"),
    )
    space: dict[str, Any] = setting(
        "What is searched: each setting's low and high (log: true, step) or choices; when: for which choices of others."
    )


@dataclass
class LauncherConfig:
    name: str = setting("Where the trials of a sweep run: local (one after the other), joblib (side by side), slurm.")


@dataclass
class Joblib(LauncherConfig):
    at_once: int = setting("Trials at a time; -1: as many as there are cores.", at_least=-1)


@dataclass
class Slurm(LauncherConfig):
    partition: str | None = setting("Slurm's partition; null: its default.")
    account: str | None = setting("Slurm's account; null: your default.")
    minutes: int = setting("Time limit of a trial's job; one that reaches it goes on in its next turn.", at_least=1)
    requeues: int = setting("How often a job whose time was over is queued again.", at_least=0)
    cpus: int | None = setting("Cores of a job; null: Slurm's default.", at_least=1)
    memory_gb: int | None = setting("Memory of a job; null: Slurm's default.", at_least=1)
    gpus: int | None = setting("GPUs of a job; null: none.", at_least=1)
    at_once: int = setting("Jobs at a time.", at_least=1)


@dataclass
class TrainConfig:
    name: str = setting("Runs are kept under logs/<name>/.")
    seed: int = setting("Seed of weights, order and random changes.", at_least=0, at_most=LARGEST_SEED)
    resume: str | None = setting(
        "A run directory whose training goes on; auto: the newest unfinished run of the same settings, or a new one."
    )
    data: DataConfig = group("The images.")
    split: SplitConfig = group("Who trains, who validates, who tests.")
    backbone: BackboneConfig = group("The network between stem and head.")
    network: NetworkConfig = group("How the network sees pixels and batches.", NetworkConfig)
    augment: NoAugment | AugmentConfig = group("Random changes of training images.")
    loss: LossConfig = group("What training makes small.", LossConfig)
    optimizer: OptimizerConfig = group("How weights are updated.")
    scheduler: SchedulerConfig = group("How the learning rate changes.")
    accelerator: AutoAccelerator | AcceleratorConfig = group("What computes.")
    trainer: TrainerConfig = group("How long and how training goes; Lightning's own names.", TrainerConfig)
    early_stopping: EarlyStoppingConfig = group("When to end before max_epochs.", EarlyStoppingConfig)
    checkpoint: CheckpointConfig = group("What is kept of a training, and when.", CheckpointConfig)
    logger: LoggerConfig = group("Who is told of curves and plots.", LoggerConfig)
    sweep: GridSweep | None = group("How -m makes its trials.")
    launcher: LauncherConfig | None = group("Where the trials of a sweep run; of a recorded run, nothing.")


@dataclass
class RejectConfig:
    coverage: float = setting(
        "Share of the validation's images that must be answered; the surest ones are.", above=0, at_most=1
    )
    error: float | None = setting(
        "Share of wrong answers that may be left of the validation's, in place of reject.coverage; null: by coverage.",
        at_least=0,
        below=1,
    )


@dataclass
class EvaluateConfig:
    run: str | None = setting("A run directory or a checkpoint in one.")
    runs: list[str] = setting(
        "Several of them, sweeps' directories or patterns, whose probabilities are averaged; in place of run.",
        example="[logs/a/1,logs/a/2]",
    )
    data: dict[str, Any] | None = part(
        "Other images than the run's, all of which test unless a split is given. What is not said is as the run had it."
    )
    split: dict[str, Any] | None = part("Another split than the recorded one; its test is taken.")
    root: str | None = setting("Where the run's data are now, if they moved since the run.")
    cache_dir: str | None = setting("Folder for decoded images; null: the run's, or data/cache where that cannot be.")
    unknown: list[str] = setting(
        "Folders of images of no gesture, of which the share that is rejected is told.", example="[digits,rooms]"
    )
    groups: str | None = setting("CSV file of subject,group: how well each group of people is recognised.")
    reject: RejectConfig = group("When the network rather says nothing.", RejectConfig)
    explain: bool = setting("Show in the surest mistakes what was looked at, by Grad-CAM (extra `explain`).")
    output: str | None = setting("JSON file for the metrics, a pipe, or - for standard output.")
    accelerator: UseConfig = group("What computes.", UseConfig)


@dataclass
class PredictConfig:
    run: str = setting("A run directory or a checkpoint.")
    input: str = setting("An image, or a folder of images at any depth.")
    output: str | None = setting("JSON Lines file, one line an image; a pipe, or - for standard output.")
    batch_size: int = setting("Images named at a time.", at_least=1)
    accelerator: UseConfig = group("What computes.", UseConfig)


@dataclass
class AuditSettings:
    strict: bool = setting(
        "End with exit code 3 when identical images, near copies or frames of one sequence stand on several sides."
    )
    manifest: str | None = setting(
        "CSV file path,bytes,sha256 that is read in place of images and tells which are identical; null: the images."
    )
    queries: int = setting("Images compared with all others, drawn by split.seed; all if there are fewer.", at_least=1)
    pairs: int = setting("Pairs of images that each picture shows.", at_least=1)


@dataclass
class AuditConfig:
    """The groups are those of a training, so that a training's words for data and split can be audited as they are."""

    data: DataConfig = group("The images.")
    split: SplitConfig = group("Who trains, who validates, who tests.")
    audit: AuditSettings = group("What is looked for, and what then.", AuditSettings)


@dataclass
class CompareConfig:
    runs: list[str] = setting(
        "Run directories, sweeps' directories, folders that hold some at any depth, or patterns; without runs= too.",
        example="[logs/resnet18/<sweep>,logs/resnet18/<run>]",
    )
    level: float = setting("How often an interval holds what it is of, and 1 - level is a test's.", above=0.5, below=1)


OTHERS = "*"
"""Stands for every other name: such a group's choices differ in values only."""

CHOICES: dict[str, dict[str, type]] = {
    "data": {"leapgestrecog": LeapGestRecog, "folder": Folder, "synthetic": Synthetic},
    "split": {
        "random": RandomSplit,
        "subject": SubjectSplit,
        "fold": FoldSplit,
        "loso": LeaveOneOut,
        "folder": FolderSplit,
    },
    "backbone": {OTHERS: BackboneConfig},
    "augment": {"none": NoAugment, OTHERS: AugmentConfig},
    "optimizer": {"adam": OptimizerConfig, "adamw": OptimizerConfig, "sgd": SGD},
    "scheduler": {"none": SchedulerConfig, "cosine": SchedulerConfig, "onecycle": OneCycle, "plateau": Plateau},
    "accelerator": {
        "auto": AutoAccelerator,
        "cuda": AcceleratorConfig,
        "mps": AcceleratorConfig,
        "cpu": AcceleratorConfig,
    },
    "sweep": {"grid": GridSweep, "optuna": Search},
    "launcher": {"local": LauncherConfig, "joblib": Joblib, "slurm": Slurm},
}
"""Which dataclass a group's settings are, by its `name`."""
