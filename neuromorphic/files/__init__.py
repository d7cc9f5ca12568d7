"""Files that nobody has to trust: sizes and types are checked before anything is used."""
