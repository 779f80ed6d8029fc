"""Settings of the training, saved with the project."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from napari_weakseg.core.presets import PRESETS, Preset

#: Planes on either side of one that can be seen beside it.
MOST_NEIGHBOURS = 4


class TrainConfig(BaseModel):
    """How the network is trained. Every default works; ``None`` means chosen from the data and the device.

    Attributes
    ----------
    downsample : int or None
        Pixels along an axis that become one before the network sees them. None: by the thickness of the marks.
    neighbours : int
        Planes above and below, along Z, that are seen beside each plane where a project has two spatial axes.
    patch_px : int or None
        Side of the square or cubic training patches, in pixels as the network sees them.
    batch : int or None
        Patches in one optimiser step.
    width : int or None
        Feature channels at the finest level of the network.
    learning_rate : float
        Peak step size of the optimiser.
    ema : float
        Share of the old weights that the averaged teacher keeps at each step; fewer steps in the beginning.
    orientation : {"any", "fixed"}
        ``"any"``: the sample may be seen from any side, flips and quarter turns are made.
        ``"fixed"``: it has an up and a down, no flips or turns.
    growth : {"monotone", "regrow", "off"}
        ``"monotone"``: blobs only ever grow. ``"regrow"``: each round starts from the blob again. ``"off"``:
        no growth.
    rounds : int
        Rounds of growth at most.
    tau : float
        Least probability at which an object grows over a pixel, unless exact marks show that less will do.
    outline_weight : float
        Weight of outlines taken from the image's edges, where these are trusted fully; 0 leaves them out.
    box_shapes : bool
        Whether it is claimed of boxes without other marks that their objects fill them as exact objects of the class
        fill theirs.
    forest : bool
        Whether a pixel forest answers in the first seconds.
    prior_correction : float
        How far predictions are corrected for classes being marked more or less often than they occur, 0 (not at all)
        to 1.
    weighting : {"certain", "violation", "balanced", "plain"}
        How the set loss is spread over the known pixels, see `engine.losses.set_loss`.
    dice_weight, exact_dice_weight : float
        Weight of the overlap (Dice) beside the set loss, for classes that are marked in part and for those that are
        annotated completely (all classes, in images that are exact for the most part); 0 leaves it out.
    dice_warm_up : float
        How many times its weight the overlap counts in addition at the first step; it fades within some hundred steps.
    claim_weight, approximation_weight, separation_weight : float
        Weights of further terms: grown masks, how the partial masks look, borders between touching objects; 0 leaves a
        term out.
    inwardness_weight : float
        Weight of how far inside its object a pixel lies, by which touching objects are told apart.
    rough_weight : float
        Weight of masks that were given as rough, imported or machine-made.
    trust : bool
        Whether each of their objects has a weight that is learned; else all count half.
    doubt_background : bool
        Whether the background of such masks counts only as far as the network agrees: it has no objects that could be
        weighed one by one, and people forget objects more often than they invent them.
    multiscale_weight : float
        Weight of the deep supervision of the decoder levels.
    level_targets : {"pooled", "nearest"}
        What a coarse pixel is taught: every class in its window, or the class of one pixel of it.
    bag_weight : float
        Weight of what boxes and tags say: every line across a box meets its object, a class that is present is seen.
    tag_weight : float
        Weight of a classifier of whole patches, taught by tags.
    consistency_weight : float
        Weight of the pseudo-labels of the averaged teacher.
    confidence : float
        From which the teacher is believed.
    class_confidence : bool
        Whether less will do for classes that it is less sure of.
    second : {"off", "decoder", "network"}
        What gives a second opinion, for co-regularisation.
    second_weight : float
        Weight of what the two teach each other on mixed patches.
    presence : {"set", "base", "or", "plus"}
        How classes are treated that nobody looked for in an image: by the set loss, or by presence masking as
        published.
    presence_dice : {"none", "soft", "log"}
        Dice loss beside published presence masking.
    zoom : float or None
        Patches of three batches in ten are made larger or smaller by up to this. None: of more batches and by more
        where few images are painted.
    intensity : float or None
        Strength of the augmentation of grey values, 0 to 1. None: stronger where few images are painted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    downsample: int | None = Field(default=None, ge=1, le=8)
    neighbours: int = Field(default=0, ge=0, le=MOST_NEIGHBOURS)
    patch_px: int | None = Field(default=None, ge=16)
    batch: int | None = Field(default=None, ge=1)
    width: int | None = Field(default=None, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0)
    ema: float = Field(default=0.99, ge=0, lt=1)
    orientation: Literal["any", "fixed"] = "any"
    growth: Literal["monotone", "regrow", "off"] = "monotone"
    rounds: int = Field(default=5, ge=0)
    tau: float = Field(default=0.85, gt=0, lt=1)
    outline_weight: float = Field(default=1.0, ge=0, le=1)
    box_shapes: bool = True
    forest: bool = True
    prior_correction: float = Field(default=0.75, ge=0, le=1)
    weighting: Literal["certain", "violation", "balanced", "plain"] = "certain"
    dice_weight: float = Field(default=0.5, ge=0)
    exact_dice_weight: float = Field(default=3.0, ge=0)
    dice_warm_up: float = Field(default=4.0, ge=0)
    claim_weight: float = Field(default=0.5, ge=0)
    approximation_weight: float = Field(default=0.1, ge=0)
    separation_weight: float = Field(default=0.1, ge=0)
    inwardness_weight: float = Field(default=0.5, ge=0)
    rough_weight: float = Field(default=0.5, ge=0)
    trust: bool = True
    doubt_background: bool = True
    multiscale_weight: float = Field(default=0.0, ge=0)
    level_targets: Literal["pooled", "nearest"] = "pooled"
    bag_weight: float = Field(default=0.0, ge=0)
    tag_weight: float = Field(default=0.0, ge=0)
    consistency_weight: float = Field(default=0.0, ge=0)
    confidence: float = Field(default=0.9, ge=0, lt=1)
    class_confidence: bool = True
    second: Literal["off", "decoder", "network"] = "off"
    second_weight: float = Field(default=1.0, ge=0)
    presence: Literal["set", "base", "or", "plus"] = "set"
    presence_dice: Literal["none", "soft", "log"] = "log"
    zoom: float | None = Field(default=None, ge=1, le=4)
    intensity: float | None = Field(default=None, ge=0, le=1)

    @property
    def learns_from_tags(self) -> bool:
        """Whether some term learns from a class that is said to be present; that one is absent is always learned."""
        return self.tag_weight > 0 or self.bag_weight > 0

    @property
    def learns_from_boxes(self) -> bool:
        """Whether some term learns from a box that holds no paint; what lies outside all boxes is always learned."""
        return (self.box_shapes and self.claim_weight > 0) or self.bag_weight > 0

    @classmethod
    def preset(cls, name: Preset, **settings: Any) -> Self:
        """Give settings that stand for a published method; see `docs/methods.md` for what they are faithful to.

        Parameters
        ----------
        name : {"partial-masks", "every-annotation-counts", "presence-masking", "hybrid-supervision", "tags-and-masks"}
        **settings
            Put on top.

        Raises
        ------
        ValueError
            If there is no such preset, or a setting makes no sense.

        Examples
        --------
        >>> TrainConfig.preset("presence-masking").presence
        'plus'
        """
        if name not in PRESETS:
            raise ValueError(f"there is no preset “{name}”; there are {', '.join(PRESETS)}")
        return cls(**{**PRESETS[name], **settings})
