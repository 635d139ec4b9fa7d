"""A static site of what is published: plain files with relative links, for any web server or none.

It is made of published folders, the page beside them, and the page of methods, each given as plain
data; it runs no script and asks nothing of the network. The interactive pages in it are those of
:mod:`prunebench.results.report`.
"""
