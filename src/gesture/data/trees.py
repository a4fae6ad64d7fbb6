"""Which kind of tree of files a root is."""

from pathlib import Path

from gesture.data.files import Archive, FileTree, Folder
from gesture.data.manifest import SUFFIX, Manifest


def open_tree(root: Path) -> FileTree:
    """The folder, archive or manifest at `root`."""
    if root.is_file():
        return Manifest(root) if root.suffix.lower() == SUFFIX else Archive(root)
    return Folder(root)
