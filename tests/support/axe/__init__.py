"""axe-core, which finds what keeps people with disabilities from using a page."""
