"""Files that are whole or not there: guarded reading, atomic writing, tensors with a checksum."""
