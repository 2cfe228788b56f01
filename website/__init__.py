"""The documentation as a site, for people who change it: ``make docs``.

It is built by Zensical, because Material for MkDocs calls itself inactive and names it as its successor, and MkDocs had
its last release in 2024; Zensical reads MkDocs's configuration, so that nothing is lost with it. What is written by
hand stands in ``docs/`` and is read there, too; what the code knows better (keys, flags, docstrings) is generated here.
"""
