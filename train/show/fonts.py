"""A font that has the characters which a figure shows."""

import contextlib
import functools

from matplotlib import font_manager

# Fonts with Chinese characters, as Linux, macOS and Windows have them.
_FAMILIES = (
    "Noto Sans CJK TC",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans TC",
    "Noto Sans SC",
    "Noto Serif CJK TC",
    "Noto Serif CJK SC",
    "Noto Serif CJK JP",
    "Source Han Sans TC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "AR PL UMing TW",
    "AR PL UMing CN",
    "PingFang TC",
    "PingFang SC",
    "PingFang HK",
    "Heiti TC",
    "Songti SC",
    "STHeiti",
    "Arial Unicode MS",
    "Microsoft JhengHei",
    "Microsoft YaHei",
    "PMingLiU",
    "MingLiU",
    "SimSun",
    "SimHei",
)
_USUAL = "DejaVu Sans"  # which comes with matplotlib


def families_for(text: str) -> list[str]:
    """The fonts for a text: the usual one, and one for what that lacks.

    Raises:
      ValueError: if no font that we know has these characters.
    """
    lacking = {each for each in text if each not in "\n" and not _has(_USUAL, each)}
    if not lacking:
        return [_USUAL]
    for look_again in (False, True):
        if look_again:
            _find_new_fonts()
        for family in _FAMILIES:
            if family in font_manager.get_font_names() and all(
                _has(family, each) for each in lacking
            ):
                return [_USUAL, family]
    some = "".join(sorted(lacking)[:8])
    raise ValueError(
        f"font: got none with the characters {some}, want one for Chinese, such as "
        "WenQuanYi Micro Hei (Debian, Ubuntu: apt install fonts-wqy-microhei) or Noto "
        "Sans CJK (Fedora: dnf install google-noto-sans-cjk-fonts)"
    )


def can_show(text: str) -> bool:
    """Whether there is a font for a text."""
    try:
        families_for(text)
    except ValueError:
        return False
    return True


def _has(family: str, character: str) -> bool:
    return ord(character) in _characters(font_manager.findfont(family))


@functools.lru_cache(maxsize=8)
def _characters(path: str) -> frozenset[int]:
    return frozenset(font_manager.get_font(path).get_charmap())


def _find_new_fonts() -> None:
    """Adds fonts that were installed after matplotlib made its list of them."""
    manager = font_manager.fontManager
    known = {entry.fname for entry in manager.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in known:
            with contextlib.suppress(Exception):  # a broken font is no font
                manager.addfont(path)
