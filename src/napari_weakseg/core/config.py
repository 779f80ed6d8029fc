"""Settings of the training, saved with the project."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TrainConfig(BaseModel):
    """How the network is trained. Every default works; ``None`` means chosen from the data and the device.

    Attributes
    ----------
    patch_px : int or None
        Side of the square or cubic training patches, in pixels.
    batch : int or None
        Patches in one optimiser step.
    width : int or None
        Feature channels at the finest level of the network.
    learning_rate : float
        Peak step size of the optimiser.
    ema : float
        Share of the old weights that the averaged teacher keeps at each step.
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
    forest : bool
        Whether a pixel forest answers in the first seconds.
    weighting : {"violation", "balanced", "plain"}
        How the set loss is spread over the known pixels.
    dice_weight, claim_weight, approximation_weight, separation_weight, consistency_weight : float
        Weights of the terms beside the set loss; 0 leaves a term out.
    intensity : float
        Strength of the augmentation of grey values, 0 to 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    forest: bool = True
    weighting: Literal["violation", "balanced", "plain"] = "plain"
    dice_weight: float = Field(default=0.5, ge=0)
    claim_weight: float = Field(default=0.5, ge=0)
    approximation_weight: float = Field(default=0.1, ge=0)
    separation_weight: float = Field(default=0.1, ge=0)
    consistency_weight: float = Field(default=0.0, ge=0)
    intensity: float = Field(default=0.2, ge=0, le=1)
