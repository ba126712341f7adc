"""One HTML file with everything in it: data, scripts, styles, and a policy that forbids the rest.

What comes from a dataset (class names, ids, texts) enters the page in two ways only: escaped by the
template, or as JSON that the script writes with ``textContent``. The browser itself refuses any
other script, style, picture or request.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

CHARTS = "plot.min.js"


@cache
def asset(name: str) -> str:
    """The text of a file in ``report/assets``."""
    return files("labelfix.report").joinpath("assets", name).read_text("utf-8")


def page(
    template: str,
    *,
    data: Mapping[str, Any],
    scripts: Sequence[str],
    styles: Sequence[str],
    inline_styles: Sequence[str] = (),
    **context: Any,  # noqa: ANN401
) -> str:
    """A whole page as text.

    Args:
        template: its file in ``report/assets``.
        data: what the scripts draw, as JSON can express it; NaN is not allowed.
        scripts, styles: files in ``report/assets``, in their order.
        inline_styles: texts of style elements that a script may add.
        context: what the template names.
    """
    script_texts = [asset(name).replace("</script", "<\\/script") for name in scripts]
    style_texts = [asset(name) for name in styles]
    environment = Environment(
        loader=PackageLoader("labelfix.report", "assets"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["share"] = lambda value: "–" if value is None else f"{value:.1%}"
    policy = content_policy(script_texts, [*style_texts, *inline_styles])
    return environment.get_template(template).render(
        policy=policy,
        data=json_island(data),
        scripts=script_texts,
        styles=style_texts,
        **context,
    )


def content_policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """A Content-Security-Policy: these very scripts and styles, embedded pictures, nothing else."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(map(_hash, scripts))}",
            f"style-src {' '.join(map(_hash, styles))}",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def json_island(data: Mapping[str, Any]) -> str:
    """JSON that cannot end the element it stands in, nor be read as markup."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
