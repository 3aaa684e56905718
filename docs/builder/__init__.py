"""The docs' site: pages by hand, a reference from signatures and docstrings, one notebook; built by Zensical."""
