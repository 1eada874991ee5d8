"""MS-STS VIS: a transformer over the frames of a clip. See ../shared/spec/msts_reference.md."""
