"""The live viewer in a browser: what is shown and what a control does (no browser needed), and the page (viser).

``sight`` says what is shown of a moment, ``player`` and ``watcher`` what a page of play.py and of train.py can do,
``access`` who may open it; ``page`` draws.
"""
