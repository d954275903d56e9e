"""Tokenizers from scratch: byte-level BPE and WordPiece, read from files or trained.

`load_tokenizer(path)` in `load.py` gives the reference `Tokenizer`; `fast.py` gives the Rust
library behind the same methods. Both return the same ids for the same text.
"""
