"""The colours of a report, light and dark, and how well one is read on another."""

from __future__ import annotations

from collections.abc import Mapping

Palette = Mapping[str, str]

LIGHT: Palette = {
    "page": "#f6f7f9",
    "card": "#ffffff",
    "text": "#1a2027",
    "soft": "#545f6c",
    "rule": "#d5dbe2",
    "faint": "#e9edf1",
    "accent": "#0a5aa8",
    "good": "#1b6b37",
    "warn": "#8a4b00",
    "bad": "#b3261e",
    "cell": "#0a5aa8",
    "grey": "#8d99a6",
    # Okabe and Ito's colours, which colour-blind people tell apart; those too light for white paper are darkened.
    "series-0": "#0072b2",
    "series-1": "#d55e00",
    "series-2": "#00845f",
    "series-3": "#b5568d",
    "series-4": "#a97400",
    "series-5": "#2b8cc4",
    "series-6": "#1a2027",
    "series-7": "#857d00",
    # Parts of the time.
    "part-compute": "#0072b2",
    "part-wait": "#d55e00",
    "part-validate": "#00845f",
    "part-save": "#b5568d",
    "part-other": "#8d99a6",
}
DARK: Palette = {
    "page": "#0e1217",
    "card": "#161b22",
    "text": "#e4e9ee",
    "soft": "#9ca9b6",
    "rule": "#323b46",
    "faint": "#232a33",
    "accent": "#6db3f2",
    "good": "#6cc98a",
    "warn": "#f0b45a",
    "bad": "#ff8f85",
    "cell": "#6db3f2",
    "grey": "#74808d",
    "series-0": "#56b4e9",
    "series-1": "#f0803c",
    "series-2": "#2fbf94",
    "series-3": "#e08fbe",
    "series-4": "#e69f00",
    "series-5": "#4a9fe0",
    "series-6": "#e4e9ee",
    "series-7": "#f0e442",
    "part-compute": "#56b4e9",
    "part-wait": "#f0803c",
    "part-validate": "#2fbf94",
    "part-save": "#e08fbe",
    "part-other": "#74808d",
}
BLACK, WHITE = "#000000", "#ffffff"


def style_variables() -> str:
    """Return the style sheet's variables, for both themes."""
    light, dark = (";".join(f"--{name}:{colour}" for name, colour in palette.items()) for palette in (LIGHT, DARK))
    screen = f"@media screen and (prefers-color-scheme:dark){{:root{{color-scheme:dark;{dark}}}}}"
    return f":root{{color-scheme:light;{light}}}\n{screen}\n"


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, 1 to 21 (WCAG 2.2, section 1.4.3)."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def mixed(over: str, under: str, share: float) -> str:
    """Return the colour of `over` laid on `under` with an opacity of `share`."""
    pairs = zip(_channels(over), _channels(under), strict=True)
    return "#" + "".join(f"{round(255 * (share * a + (1 - share) * b)):02x}" for a, b in pairs)


def ink(palette: Palette, strength: float) -> str:
    """Return black or white, whichever is read better on a cell of this strength."""
    cell = mixed(palette["cell"], palette["card"], strength)
    return max((BLACK, WHITE), key=lambda colour: contrast(colour, cell))


def _channels(colour: str) -> list[float]:
    return [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]


def _luminance(colour: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in _channels(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
