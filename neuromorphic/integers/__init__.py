"""The integers of a program: number formats, primitives, proven ranges, the words of a reset."""
