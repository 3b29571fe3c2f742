"""HTML pages that need nothing but themselves: templates, figures inside of them, and settings as text."""

import base64
import importlib.resources
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tf_lottery.utils.optional import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Inches above which a figure takes the whole width of a page.
WIDE = 12.0


def fill_page(template: str, **values: Any) -> str:
    """Return a page of this package as text; a missing value is an error, and text from outside is escaped.

    Args:
        template: the name of a template in this package, e.g. "report.html".
        **values: what its names stand for.

    Raises:
        UsageError: Jinja2 is not installed.
    """
    jinja2 = require("jinja2", "Pages")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return str(environment.get_template(template).render(**values))


def _template(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def page_figure(name: str, caption: str, figure: "Figure", files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return a figure as a page shows it, with its SVG inside of the page.

    Args:
        name: the name of its files, without their ending.
        caption: what it shows, and how to read it.
        figure: the figure, for its size.
        files: contents by file name, among them `<name>.svg`.
    """
    return {
        "title": name.replace("_", " "),
        "caption": caption,
        "wide": figure.get_figwidth() > min(2 * figure.get_figheight(), WIDE),
        "source": "data:image/svg+xml;base64," + base64.b64encode(files[f"{name}.svg"]).decode("ascii"),
    }


def settings(mapping: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return keys and values as text, by key; nested values and numbers as JSON, so that they can be copied back."""
    return [
        (str(key), value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str))
        for key, value in sorted(mapping.items(), key=lambda item: str(item[0]))
    ]
