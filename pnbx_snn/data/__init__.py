"""Data sets: one module each, the user's own arrays, event files, augmentation and encoding."""
