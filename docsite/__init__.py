"""The documentation site: what MkDocs is told beside mkdocs.yml. `make docs` builds it.

`hooks` is what MkDocs calls; each other module makes one kind of page or block.
"""
