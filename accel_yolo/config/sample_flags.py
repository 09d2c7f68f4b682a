"""The flags of what a training sample shows and how often."""

from __future__ import annotations

from accel_yolo.config.flag import Flag, switch, value

REPEAT_THRESHOLD = 0.01
"""What `--class-balanced` alone stands for."""


def sampling(group: str) -> tuple[Flag, ...]:
    """Return the flags under a heading of the help."""
    return (
        value("--close-mosaic", "no mosaics, hence no mixup and no copies, in the last N epochs", group, "N"),
        switch(
            "--image-weights",
            "draw images by the objects of rare classes and by what the last validation missed (--noval: by the "
            "objects alone)",
            group,
        ),
        Flag(
            ("--class-balanced",),
            "show images of classes that are in less than this share of the images more often; alone: "
            f"{REPEAT_THRESHOLD}",
            "class_balanced",
            group,
            nargs="?",
            const=REPEAT_THRESHOLD,
            metavar="T",
        ),
        switch("--quad", "four samples in one image of twice the size, or one of them enlarged", group),
        value(
            "--augment-with",
            "your own augmentation, called on each training sample: a torchvision.transforms.v2 callable by its import "
            "path, found from this folder or among installed packages",
            group,
            "MODULE:NAME",
        ),
    )
