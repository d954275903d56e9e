"""Cut documents into passages: by structure (the default), sentences, characters or tokens."""

from retrievers.chunking.passages import Chunker
from retrievers.chunking.structure import TARGET, StructureChunker, chunk

__all__ = ["TARGET", "Chunker", "StructureChunker", "chunk"]
