"""Templates: values are escaped, and a value that is missing is a fault."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest

from gateway.config.settings import Settings
from gateway.pages.look import Look
from gateway.pages.templates import TEMPLATES, _environment, render
from tests.support.rows import each_row

VALUES = {
    "look": Look.of(Settings.model_validate({"seller_name": "<b>Me & you\u202e</b>"})),
    "prefix": "/my",
    "asset": lambda name: f"/my/static/{name}",
    "has_logo": False,
    "logo": "logo",
    "languages": ("en", "de"),
    "fault": "address",
    "email": '"><script>',
    "wait": 0,
    "minutes": 15,
}


def test_values_are_escaped() -> None:
    page = render("portal/sign_in.html", "en", VALUES)
    assert "&lt;b&gt;Me &amp; you[U+202E]&lt;/b&gt;" in page
    assert "<b>" not in page
    assert 'value="&#34;&gt;&lt;script&gt;"' in page


def test_a_missing_value_is_a_fault() -> None:
    with pytest.raises(jinja2.UndefinedError):
        render("portal/sign_in.html", "en", {**VALUES, "prefix": jinja2.StrictUndefined("prefix")})


def test_the_language() -> None:
    assert '<html lang="de">' in (page := render("portal/sign_in.html", "de", VALUES))
    assert "Zum Inhalt" in page


@each_row("template", sorted(str(each.relative_to(TEMPLATES)) for each in TEMPLATES.rglob("*.*")))
def test_every_template_can_be_read(template: str) -> None:
    _environment("en").get_template(template)
    text = Path(TEMPLATES / template).read_text()
    for part in ("|safe", "style=", "onclick", "javascript:", "{% autoescape"):
        if part == "style=" and template.startswith("mail/"):
            continue  # mail programs know no style sheets
        assert part not in text, f"{template} has {part}: pages have nothing inline and escape every value"


def test_an_address_breaks_where_people_would_and_stays_escaped() -> None:
    breakable = _environment("en").filters["breakable"]
    assert breakable("ann@example.com") == "ann<wbr>@example.com"
    assert breakable("https://a.example/hooks/in") == "https://a.example/<wbr>hooks/<wbr>in"
    assert breakable("<b>@</b>") == "&lt;b&gt;<wbr>@&lt;/<wbr>b&gt;"


def test_what_a_part_said_in_english_is_marked_as_english() -> None:
    said = "no delivery <was> refused\u202e"
    escaped = "no delivery &lt;was&gt; refused[U+202E]"
    assert _environment("en").filters["translated"](said) == escaped
    assert _environment("de").filters["translated"](said) == f'<span lang="en">{escaped}</span>'
    assert _environment("de").filters["translated"]("Go to the content") == "Zum Inhalt"
    assert _environment("de").filters["translated"]("") == ""
