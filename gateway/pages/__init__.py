"""What every page and every mail is made with: templates, texts in several languages, formats, a style.

- `templates/` are Jinja2 templates. Values are escaped. A name that is not given is a fault.
- `texts.py` reads the translations below `locales/`. The texts in templates and code are the English ones.
- `formats.py` writes moments, sizes and numbers as the reader's language does.
- `assets.py` has the files that pages load, each under an address that changes with its content.
- `look.py` is what the seller's settings say about the pages, and the colours that can be read.

Nothing here knows about requests, so that mails are made with it as well. `web/pages.py` answers requests.
"""
