"""The schema of all settings: name, type, default and meaning. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
)

from tutelage.errors import ConfigError

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Layers = tuple[str, ...]


def _rising(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] >= pair[1]:
        raise ValueError("the second number must be the larger one")
    return pair


Range = Annotated[tuple[float, float], AfterValidator(_rising)]


class Section(BaseModel):
    """A frozen group of settings that refuses unknown names."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelConfig(Section):
    """The student model."""

    arch: str | None = Field(
        default=None,
        description="Architecture name or path of a model yaml (none: that of the weights, else yolov7-tiny)",
    )
    weights: str | None = Field(
        default=None,
        description="Start from these weights: run folder, .safetensors or published .pt",
    )
    autoanchor: bool = Field(
        default=True,
        description="Search anchors if the model's reach less than 98 % of the training boxes",
    )


class TrainConfig(Section):
    """The training loop."""

    epochs: Annotated[int, Field(ge=1)] = 100
    batch: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default=16,
        description="Images per step, over all processes (auto: the largest part of nominal_batch that fits into memory)",
    )
    nominal_batch: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default="auto",
        description="Gradients accumulate to this many images (auto: 64, or 16 under 1,000 training images)",
    )
    image_size: Annotated[int, Field(ge=32)] = 640
    image_range: Range | None = Field(
        default=None,
        description="The values that are black and white in images of more than 8 bits, e.g. 0,4095 (none: 0,65535 in 16 bits)",
    )
    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    device: str = Field(default="auto", description="auto | cpu | cuda | cuda:N | mps")
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        default="auto", description="Loader processes (auto: the cores not used by the network)"
    )
    threads: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default="auto",
        description="CPU threads of the network (auto: the fastest number, measured)",
    )
    max_norm: NonNegative = Field(
        default=10.0,
        description="Clip the gradient to this norm, with and without a teacher (0: off)",
    )
    ema_decay: Fraction = 0.9999
    ema_ramp: Positive = Field(default=2000.0, description="Steps over which the EMA decay rises")
    ema_share: Fraction = Field(
        default=0.0, description="The EMA spans at least this share of the steps so far"
    )
    multi_scale: bool = Field(
        default=False, description="Vary the image size by half from step to step"
    )
    patience: Annotated[int, Field(ge=0)] = Field(
        default=100, description="Stop after this many epochs without a better AP (0: never)"
    )
    freeze: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(), description="Rows to freeze; one number N means rows 0..N-1"
    )
    single_cls: bool = Field(default=False, description="Treat all classes as one")
    classes: tuple[str, ...] = Field(
        default=(),
        description="Train on these classes of the data only, in this order; objects of others are background (none: all)",
    )
    sync_bn: bool = Field(
        default=False, description="Synchronise BatchNorm statistics over all GPUs"
    )
    rect: bool = Field(default=False, description="Batches of similar shape, no mosaic, no shuffle")
    cache_images: Literal["none", "ram"] = Field(
        default="none", description="Keep decoded images in RAM"
    )
    cache_gib: Positive = Field(default=4.0, description="Budget of the image cache in GiB")
    unreadable: Fraction = Field(
        default=0.01,
        description="Allowed share of unreadable training images; ten are always allowed",
    )
    save_minutes: NonNegative = Field(
        default=10.0,
        description="Save also within an epoch, every so many minutes (0: between epochs only)",
    )
    eval_every: Annotated[int, Field(ge=1)] = Field(
        default=1, description="Evaluate on val every so many epochs (and after the last)"
    )
    validate_runs: bool = Field(
        default=True, description="Evaluate during training (off: only after the last epoch)"
    )

    @property
    def images(self) -> int:
        """``batch`` as a number.

        Raises:
            ConfigError: It is ``auto``, which only ``tutelage train`` resolves.
        """
        if self.batch == "auto":
            what = "--batch-size auto is found by tutelage train; here a number is needed."
            raise ConfigError(what, fix="For example  --batch-size 16", code="C25")
        return self.batch


class OptimConfig(Section):
    """Optimizer and schedule (hyp file: lr0, lrf, momentum, ...)."""

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: Positive = 0.01
    lrf: Fraction = Field(default=0.1, description="Final learning rate as a fraction of lr")
    momentum: Fraction = Field(default=0.937, description="SGD momentum, or Adam's beta1")
    weight_decay: NonNegative = 0.0005
    warmup_epochs: NonNegative = 3.0
    warmup_momentum: Fraction = 0.8
    warmup_bias_lr: NonNegative = 0.1
    schedule: Literal["cosine", "linear", "yolox"] = "cosine"


class LossConfig(Section):
    """The detection loss of anchor heads (hyp file: box, obj, cls, ...)."""

    box: NonNegative = 0.05
    obj: NonNegative = 0.7
    cls: NonNegative = 0.3
    cls_pw: Positive = 1.0
    obj_pw: Positive = 1.0
    anchor_t: Annotated[float, Field(gt=1.0)] = 4.0
    fl_gamma: NonNegative = Field(default=0.0, description="Focal loss gamma (0: off)")
    scaling: Literal["auto", "reference", "none"] = Field(
        default="auto",
        description="How obj follows the image size and cls the number of classes (reference: as YOLOv7 and YOLOv5, by (size/640)² and classes/80; auto: never below 1, cls (classes/10)² for fewer than ten; none: not at all)",
    )
    label_smoothing: Fraction = 0.0
    assigner: Literal["auto", "ota", "anchor"] = Field(
        default="auto", description="auto: OTA for YOLOv7 heads, anchor-ratio for YOLOv5 heads"
    )


class AugmentConfig(Section):
    """Augmentation (hyp file: hsv_h, degrees, ..., mosaic, mixup)."""

    hsv_h: Fraction = 0.015
    hsv_s: Fraction = 0.7
    hsv_v: Fraction = 0.4
    degrees: Annotated[float, Field(ge=0, le=180)] = 0.0
    translate: Fraction = 0.2
    scale: Fraction = 0.5
    scale_up: NonNegative = Field(
        default=0.1,
        description="Added to the upper end of the scale range (0.1 in YOLOv7, 0 in YOLOv5)",
    )
    shear: Annotated[float, Field(ge=0, le=89)] = 0.0
    perspective: Annotated[float, Field(ge=0, le=0.01)] = 0.0
    flipud: Fraction = 0.0
    fliplr: Fraction = 0.5
    mosaic: Fraction = 1.0
    mosaic9: Fraction = Field(
        default=0.2,
        description="Share of the mosaics that have nine tiles (0.2 in YOLOv7, 0 in YOLOv5)",
    )
    mixup: Fraction = 0.0
    mixup_beta: Positive = Field(
        default=8.0, description="Beta(b, b) of mixup (8 in YOLOv7, 32 in YOLOv5)"
    )
    max_aspect: Positive = Field(
        default=20.0,
        description="Drop boxes with a larger aspect ratio after the warp (20 in YOLOv7, 100 in YOLOv5)",
    )
    close_mosaic: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="Number of last epochs without mosaic and mixup; YOLOX has its L1 term in these",
    )


Fade = Literal["constant", "linear", "cosine"]


def _layers(value: Any) -> Any:
    """Convert ``75`` to ``["75"]``."""
    items = value if isinstance(value, list | tuple) else [value]
    return [str(item) if isinstance(item, int) else item for item in items]


def _built_in(name: Any) -> Any:
    """Convert ``FGD`` to ``fgd``, but not the path of a class, which has a colon."""
    return name.lower() if isinstance(name, str) and ":" not in name else name


class MethodConfig(Section):
    """One distillation method. Its own options are extra keys beside these settings.

    None: the setting of the same name in the section ``distill`` applies.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: Annotated[str, BeforeValidator(_built_in)]
    weight: Positive | Literal["auto"] = "auto"
    ratio: Positive | None = Field(
        default=None, description="distill.ratio of this method, not split with the others"
    )
    teacher: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Number of its teacher, from 1 on (none: all)"
    )
    student_kd_layers: Annotated[Layers, BeforeValidator(_layers)] | None = None
    teacher_kd_layers: Annotated[Layers, BeforeValidator(_layers)] | None = None
    schedule: Fade | None = None
    warmup_epochs: NonNegative | None = None
    stop_epoch: Annotated[int, Field(ge=1)] | None = None

    @field_validator("ratio")
    @classmethod
    def _measured(cls, ratio: float | None, info: ValidationInfo) -> float | None:
        if ratio is not None and info.data.get("weight", "auto") != "auto":
            raise ValueError("a method has a weight or a ratio, not both")
        return ratio

    @model_serializer(mode="wrap")
    def _given(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out settings that are None."""
        own = type(self).model_fields
        return {k: v for k, v in serialize(self).items() if v is not None or k not in own}

    @property
    def options(self) -> dict[str, Any]:
        """The method's own options."""
        return dict(self.model_extra or {})


TeacherRuntime = Literal["auto", "torch", "bf16", "compile", "openvino", "openvino-int8"]


class DistillConfig(Section):
    """Distillation. Enabled by ``teacher``."""

    teacher: str | tuple[str, ...] | None = Field(
        default=None,
        description="Teacher: run folder, .safetensors, published .pt, or family:name of another library; turns distillation on. A list: several teachers",
    )
    combine: Literal["average", "pick"] = Field(
        default="average",
        description="Several teachers: average their losses, or for each image pick the one that detects its boxes best",
    )
    classes: dict[str, str] | Literal["equal", "by-name"] = Field(
        default="equal",
        description="Classes of the response methods: the same in both, those of the same name, or a map {student's: teacher's}",
    )
    student_kd_layers: Layers | None = Field(
        default=None, description="Student layers to tap, paired in order (none: p3, p4, p5)"
    )
    teacher_kd_layers: Layers | None = Field(
        default=None, description="Teacher layers to tap, paired in order (none: p3, p4, p5)"
    )
    methods: tuple[MethodConfig, ...] = (MethodConfig(name="auto"),)
    ratio: Positive | None = Field(
        default=None,
        description="weight: auto makes the KD gradients at the taps this many times the detection gradients (none: the default of the method, see tutelage methods)",
    )
    schedule: Fade = Field(default="constant", description="How the KD weight decays over the run")
    warmup_epochs: NonNegative = Field(
        default=0.0, description="Epochs over which the KD weight rises from 0"
    )
    stop_epoch: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="First epoch without KD"
    )
    teacher_runtime: TeacherRuntime = Field(
        default="torch",
        description="What runs YOLO teachers; auto: the fastest of torch, bf16 and openvino whose scores are the same to 0.01, measured",
    )
    every: Annotated[int, Field(ge=1)] = Field(
        default=1, description="Teach at every n-th step only; the teacher rests at the others"
    )
    resize: bool | Literal["student", "teacher"] = Field(
        default=False,
        description="Allow pairs of unequal stride by resizing the features of one (true: the student's)",
    )
    accept_teacher: bool = Field(
        default=False, description="Continue even if the teacher detects nothing on this data"
    )
    images: str | None = Field(
        default=None,
        description="Folder of unlabelled images, supervised by the teacher alone",
    )
    images_ratio: Positive = Field(
        default=0.5, description="Unlabelled images per labelled image of a batch"
    )
    pseudo_label: Fraction = Field(
        default=0.5,
        description="Minimum score of the teacher's detections on unlabelled images to be used as boxes (1: never)",
    )

    teacher_scale: Annotated[float, Field(ge=1, le=3, multiple_of=0.5)] = Field(
        default=1.0,
        description="Show the teacher the same views at so many times their size, from the original pixels",
    )
    views: Annotated[int, Field(ge=1)] | Literal["auto", "off"] = Field(
        default="auto",
        description="Augmented versions of each image that recur in turn, so that a teacher is asked once about each (off: a new one in every epoch)",
    )
    flips: Literal["auto", "fresh", "view"] = Field(
        default="auto",
        description="Flip views anew in every epoch, and what is stored of predictions with them (view: flips are a part of each view; auto: fresh where nothing but predictions is stored)",
    )
    view_seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = Field(
        default=0,
        description="Seed of the views: runs of other seeds share them, and what is stored",
    )
    store: str | None = Field(
        default=None,
        description="Folder for what teachers said about the views (none: store in run.project; off: nowhere)",
    )
    store_gib: Positive = Field(
        default=10.0, description="What this run may add to the stores, in GiB"
    )
    store_features: Literal["int8", "float16", "off"] = Field(
        default="int8", description="How maps are stored for methods of features (off: never)"
    )

    @property
    def teachers(self) -> tuple[str, ...]:
        """All teachers, in order."""
        if self.teacher is None:
            return ()
        return (self.teacher,) if isinstance(self.teacher, str) else self.teacher


TrackerName = Literal["tensorboard", "mlflow", "wandb", "trackio"]


class RunConfig(Section):
    """The folder of the results."""

    project: str = "runs"
    name: str | None = Field(
        default=None, description="Folder name (none: <data>-<arch>[-<method>])"
    )
    exist_ok: bool = False
    report: bool = Field(default=True, description="Write report.html at the end")
    track: tuple[TrackerName, ...] = Field(
        default=(), description="Trackers that get values, sample images and the report of the run"
    )


class Config(Section):
    """All settings of a training run."""

    data: str | None = None
    preset: str | None = Field(
        default=None,
        description="v7-p5 v7-p6 v7-tiny v7-custom v5-low v5-med v5-high yolox yolox-tiny yolox-nano d-fine (none: by architecture and weights), or small: a few hundred images, no mosaic",
    )
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    optim: OptimConfig = OptimConfig()
    loss: LossConfig = LossConfig()
    augment: AugmentConfig = AugmentConfig()
    distill: DistillConfig = DistillConfig()
    run: RunConfig = RunConfig()
