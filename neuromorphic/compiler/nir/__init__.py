"""Compile NIR graphs, and write networks and programs as NIR graphs."""
